"""The tray: a private folder where single faces lie between the stage commands, to be looked at and swapped.

A dataset's faces lie in its folders, a single photo's at the top:

<photo's stem>.<i>.png                      the aligned crop, 256 px
<photo's stem>.<i>.json                     where it comes from, and what the stages measured (`Record`)
<photo's stem>.<i>.inversion.safetensors    codes of the real face; .inversion.png: what they look like
<photo's stem>.<i>.pair.png                 the pool face it was paired with
<photo's stem>.<i>.result.safetensors       codes of the new face; .result.png: its picture at full resolution
embeddings.safetensors, pairs.csv           what the paper pairs by, and with whom, of all faces
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from mien.anonymizer.align import SIZE, crop_of
from mien.errors import OutputError, UsageError
from mien.images.decode import read_photo
from mien.images.encode import write_bytes
from mien.images.formats import printable
from mien.types import Crop, Face, Pixels

Point = tuple[FiniteFloat, FiniteFloat]

FACE = re.compile(r"(.+)\.(0|[1-9]\d*)\.json")
RECORD, CROP = ".json", ".png"
INVERSION, INVERSION_LOOK = ".inversion.safetensors", ".inversion.png"
PAIR_LOOK = ".pair.png"
RESULT, RESULT_PICTURE = ".result.safetensors", ".result.png"
EMBEDDINGS = "embeddings.safetensors"
PAIRS = "pairs.csv"


class Pairing(BaseModel):
    """The pool face of a real one: its place in the pool named `pool`, its distance in the pairing space."""

    index: int = Field(ge=0)
    distance: float | None = None
    pool: str = ""


class Record(BaseModel):
    """What is known about one face; fields that somebody else added are kept.

    Attributes:
        file, sha256, photo_size: the source photo, and (width, height) of it upright, in pixels.
        face: its number among the faces of the photo. box, points, score: see `mien.types.Face`.
        quad: see `mien.types.Crop`.
        similarity, attribute_distance, steps: see `mien.anonymizer.optimize.Optimized`.
        drawn: SHA-256 of the result's codes file and of the picture that was drawn of it.
        judge_distance: of the result's picture to the crop.
    """

    model_config = ConfigDict(extra="allow")

    file: str
    sha256: str
    photo_size: tuple[int, int]
    face: int = Field(ge=0)
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    points: tuple[Point, Point, Point, Point, Point]
    score: FiniteFloat
    quad: tuple[Point, Point, Point, Point]
    inversion_error: float | None = None
    pair: Pairing | None = None
    similarity: float | None = None
    attribute_distance: float | None = None
    steps: int | None = None
    drawn: tuple[str, str] | None = None
    judge_distance: float | None = None

    def as_face(self) -> Face:
        return Face(self.box, np.array(self.points, dtype=np.float32), self.score)


class FaceFolder:
    """The faces of one folder, by name ("<photo's stem>.<i>", with the folders that the photo lies in)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """All faces, in the order of photos and of faces in a photo.

        Raises:
            UsageError: the folder is not there or holds no faces.
        """
        hint = f"run: mien align PHOTO {self.folder}"
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not a folder", hint)
        found = self.by_photo()
        if not found:
            raise UsageError(f"no faces in {self.folder}", hint)
        return [name for names in found.values() for name in names]

    def by_photo(self) -> dict[str, list[str]]:
        """The faces of each photo, by its stem ("people/anna"); none where the folder is not there."""
        matches = [FACE.fullmatch(path.relative_to(self.folder).as_posix()) for path in self.folder.rglob("*.json")]
        photos: dict[str, list[str]] = {}
        for stem, i in sorted((match[1], int(match[2])) for match in matches if match):
            photos.setdefault(stem, []).append(f"{stem}.{i}")
        return photos

    def path(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}{kind}"

    def has(self, name: str, kind: str) -> bool:
        return self.path(name, kind).is_file()

    def create(self, stem: str = "") -> None:
        """Make the folder, and the one in it for a photo's faces, for its owner alone: it holds faces of real people.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            for folder in (self.folder, (self.folder / stem).parent if stem else self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot make {error.filename or self.folder}: {error.strerror}"
            raise OutputError(reason, "choose another folder") from error

    def clear(self, stem: str) -> None:
        """Delete everything about the faces of one photo."""
        place = self.folder / stem
        pattern = re.compile(re.escape(place.name) + r"\.\d+(\.inversion|\.pair|\.result)?\.(png|json|safetensors)")
        for path in list(place.parent.iterdir()):
            if pattern.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    path.unlink()

    def record(self, name: str) -> Record:
        """Read a face's JSON.

        Raises:
            UsageError: it is damaged; the message names the file and the field.
        """
        path = self.path(name, RECORD)
        try:
            return Record.model_validate(json.loads(path.read_text("utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            reason = f"{where}: {first['msg']}"
        except (OSError, ValueError) as error:
            reason = str(error)
        raise UsageError(f"{path} is damaged: {reason}",
                         f"mend it, or run: mien align --again PHOTO {self.folder}")

    def keep(self, name: str, record: Record) -> None:
        """Write a face's JSON, whole or not at all."""
        data = record.model_dump(mode="json", exclude_none=True)
        write_bytes(self.path(name, RECORD), (json.dumps(data, indent=1) + "\n").encode())

    def crop(self, name: str, record: Record) -> Crop:
        """The aligned crop of a face.

        Raises:
            UsageError: the picture has another size. PhotoError: it is missing or damaged.
        """
        path = self.path(name, CROP)
        pixels = read_picture(path)
        if pixels.shape[:2] != (SIZE, SIZE):
            raise UsageError(
                f"{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, a crop has {SIZE} x {SIZE}")
        quad, points = np.array(record.quad, dtype=np.float64), np.array(record.points, dtype=np.float32)
        return crop_of(pixels, quad, points, record.photo_size[::-1])

    def picture(self, name: str) -> Pixels:
        """The new face of a result, [S, S, 3] uint8 RGB.

        Raises:
            UsageError: it is no square, or smaller than a crop. PhotoError: it is missing or damaged.
        """
        path = self.path(name, RESULT_PICTURE)
        pixels = read_picture(path)
        height, width = pixels.shape[:2]
        if height != width or height < SIZE:
            raise UsageError(f"{path} has {width} x {height} pixels, not a square of {SIZE} or more",
                             f"run: mien render --again {self.folder}")
        return pixels

    def missing(self, names: Iterable[str], kind: str, what: str, command: str) -> None:
        """Refuse to go on without the files of an earlier command.

        Raises:
            UsageError: naming the first face that lacks one, and the command that makes them.
        """
        names = list(names)
        lacking = [name for name in names if not self.has(name, kind)]
        if not lacking:
            return
        hint = f"run: mien {command} {self.folder}"
        if len(lacking) == len(names):
            raise UsageError(f"no {what} in {self.folder}", hint)
        raise UsageError(f"{listed(lacking)} in {self.folder}: no {what}", hint)

    def older(self, name: str, kind: str, sources: Iterable[str]) -> bool:
        """Whether a file was made before one of those that it is made from."""
        made = self.path(name, kind).stat().st_mtime_ns
        there = [self.path(name, source) for source in sources if self.has(name, source)]
        return any(path.stat().st_mtime_ns > made for path in there)


def stem_of(photo: str) -> str:
    """Under which name a dataset's photo has its faces in a tray: its own without the suffix."""
    return PurePosixPath(photo).with_suffix("").as_posix()


def listed(names: list[str]) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(printable(name) for name in names[:3]) + more


def read_picture(path: Path) -> Pixels:
    """A picture as [H, W, 3] uint8 RGB.

    Raises:
        PhotoError: it is missing or damaged; the message names the path.
    """
    return read_photo(path, str(path)).pixels.copy()  # torch wants memory that it may write to


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write [H, W, 3] uint8 RGB as PNG, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
