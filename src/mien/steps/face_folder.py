"""A face folder is a private folder of aligned face crops on which the commands of `mien steps` work in turn.

Each step reads the files of earlier steps and adds its own, so that they can be inspected or replaced in between. The
faces of a dataset are in the dataset's subfolders, those of a single photo at the top:

<photo's stem>.<i>.png                      the aligned crop, 256 px
<photo's stem>.<i>.json                     where the face comes from, and what the steps measured (`Record`)
<photo's stem>.<i>.inversion.safetensors    the latent codes of the real face; .inversion.png: the codes rendered
<photo's stem>.<i>.pair.png                 the pool face that the face is paired with
<photo's stem>.<i>.result.safetensors       the latent codes of the new face; .result.png: the codes rendered at 1024 px
embeddings.safetensors, pairs.csv           embeddings of all faces in the pairing space, and the pairs
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
from mien.images.formats import printable
from mien.jobs.published import refuse_published
from mien.types import Crop, Face, Pixels
from mien.util.files import write_file

Point = tuple[FiniteFloat, FiniteFloat]

FACE = re.compile(r"(.+)\.(0|[1-9]\d*)\.json")
RECORD, CROP = ".json", ".png"
INVERSION, INVERSION_PREVIEW = ".inversion.safetensors", ".inversion.png"
PAIR_PREVIEW = ".pair.png"
RESULT, RESULT_PICTURE = ".result.safetensors", ".result.png"
EMBEDDINGS = "embeddings.safetensors"
PAIRS = "pairs.csv"


class Pairing(BaseModel):
    """The pool face of a real face: its index in the pool named `pool`, and its distance in the pairing space."""

    index: int = Field(ge=0)
    distance: float | None = None
    pool: str = ""


class Record(BaseModel):
    """The JSON file of one face. Fields that other programs added are kept.

    Attributes:
        file, sha256, photo_size: path and hash of the source photo, and its (width, height) upright, in pixels.
        face: number of the face in the photo, from 0. box, points, score: see `mien.types.Face`.
        quad: see `mien.types.Crop`.
        similarity, attribute_distance, steps: see `mien.anonymizer.optimize.Optimized`.
        drawn: SHA-256 of the result's codes file and of the picture rendered from it.
        judge_distance: the judge's distance between the result's picture and the crop.
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
        """Gives the detection of this face in its photo."""
        return Face(self.box, np.array(self.points, dtype=np.float32), self.score)


class FaceFolder:
    """Reads and writes a face folder. A face's name is "<photo's stem>.<i>", after the photo's subfolders if any."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Lists all faces, ordered by photo, then by number.

        Raises:
            UsageError: the folder does not exist or holds no faces.
        """
        hint = f"run: mien steps align PHOTO {self.folder}"
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not a folder", hint)
        found = self.by_photo()
        if not found:
            raise UsageError(f"no faces in {self.folder}", hint)
        return [name for names in found.values() for name in names]

    def by_photo(self) -> dict[str, list[str]]:
        """Lists the faces of each photo by the photo's stem ("people/anna"); empty if the folder does not exist."""
        matches = [FACE.fullmatch(path.relative_to(self.folder).as_posix()) for path in self.folder.rglob("*.json")]
        photos: dict[str, list[str]] = {}
        for stem, i in sorted((match[1], int(match[2])) for match in matches if match):
            photos.setdefault(stem, []).append(f"{stem}.{i}")
        return photos

    def path(self, name: str, kind: str) -> Path:
        """Gives the path of a face's file; `kind` is one of the suffixes above, such as `CROP`."""
        return self.folder / f"{name}{kind}"

    def has(self, name: str, kind: str) -> bool:
        """Tells whether a face has a file of this kind."""
        return self.path(name, kind).is_file()

    def create(self, stem: str = "") -> None:
        """Creates the folder and the subfolder of a photo's faces, mode 0700: they show faces of real people.

        Raises:
            UsageError: it is in a DST, which is published. OutputError: a folder cannot be created.
        """
        refuse_published(self.folder)
        try:
            for folder in (self.folder, (self.folder / stem).parent if stem else self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot create the folder {error.filename or self.folder}: {error.strerror}"
            raise OutputError(reason, "give another FOLDER") from error

    def clear(self, stem: str) -> None:
        """Deletes all files of the faces of one photo."""
        place = self.folder / stem
        pattern = re.compile(re.escape(place.name) + r"\.\d+(\.inversion|\.pair|\.result)?\.(png|json|safetensors)")
        for path in list(place.parent.iterdir()):
            if pattern.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    path.unlink()

    def record(self, name: str) -> Record:
        """Reads a face's JSON file.

        Raises:
            UsageError: the file is damaged; the message names the file and the field.
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
                         f"correct the file, or run: mien steps align --again PHOTO {self.folder}")

    def keep(self, name: str, record: Record) -> None:
        """Writes a face's JSON file atomically."""
        data = record.model_dump(mode="json", exclude_none=True)
        write_file(self.path(name, RECORD), (json.dumps(data, indent=1) + "\n").encode())

    def crop(self, name: str, record: Record) -> Crop:
        """Reads the aligned crop of a face.

        Raises:
            UsageError: the crop has another size. PhotoError: the file is missing or damaged.
        """
        path = self.path(name, CROP)
        pixels = read_picture(path)
        if pixels.shape[:2] != (SIZE, SIZE):
            raise UsageError(
                f"{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, a crop has {SIZE} x {SIZE}",
                f"resize it, or delete it and run: mien steps align PHOTO {self.folder}")
        quad, points = np.array(record.quad, dtype=np.float64), np.array(record.points, dtype=np.float32)
        return crop_of(pixels, quad, points, record.photo_size[::-1])

    def picture(self, name: str) -> Pixels:
        """Reads the rendered new face, [S, S, 3] uint8 RGB.

        Raises:
            UsageError: the picture is not square, or smaller than a crop. PhotoError: the file is missing or damaged.
        """
        path = self.path(name, RESULT_PICTURE)
        pixels = read_picture(path)
        height, width = pixels.shape[:2]
        if height != width or height < SIZE:
            raise UsageError(f"{path} has {width} x {height} pixels, not a square of {SIZE} or more",
                             f"run: mien steps render --again {self.folder}")
        return pixels

    def require(self, names: Iterable[str], kind: str, what: str, command: str) -> None:
        """Raises an error if faces lack a file that an earlier step writes.

        Args:
            kind: suffix of the file. what: its name in the message.
            command: the step that writes it, with the step's arguments before FOLDER.

        Raises:
            UsageError: some of `names` lack the file; the message names them, the hint names the step.
        """
        names = list(names)
        lacking = [name for name in names if not self.has(name, kind)]
        if not lacking:
            return
        hint = f"run: mien steps {command} {self.folder}"
        if len(lacking) == len(names):
            raise UsageError(f"no {what} in {self.folder}", hint)
        raise UsageError(f"{listed(lacking)} in {self.folder}: no {what}", hint)

    def older(self, name: str, kind: str, sources: Iterable[str]) -> bool:
        """Tells whether a file is older than any of the `sources` that it is made from."""
        made = self.path(name, kind).stat().st_mtime_ns
        there = [self.path(name, source) for source in sources if self.has(name, source)]
        return any(path.stat().st_mtime_ns > made for path in there)


def stem_of(photo: str) -> str:
    """Gives the name of a dataset's photo in the face folder: its path without the suffix."""
    return PurePosixPath(photo).with_suffix("").as_posix()


def listed(names: list[str]) -> str:
    """Formats the first three names and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(printable(name) for name in names[:3]) + more


def read_picture(path: Path) -> Pixels:
    """Reads a picture as [H, W, 3] uint8 RGB.

    Raises:
        PhotoError: the file is missing or damaged; the message names the path.
    """
    return read_photo(path, str(path)).pixels.copy()  # torch needs writable memory


def write_picture(path: Path, pixels: Pixels) -> None:
    """Writes [H, W, 3] uint8 RGB as PNG, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    write_file(path, buffer.getvalue())
