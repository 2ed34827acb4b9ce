"""Draws untouched and changed faces of a run in random order, so that readers can be asked which are photographs."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from mien.datasets.registry import open_dataset
from mien.errors import PhotoError, UsageError
from mien.images.recompress import recompressed
from mien.jobs.published import refuse_published
from mien.jobs.summary import Summary
from mien.report.before_after import read_original_and_result
from mien.report.templating import template
from mien.types import FaceOutcome, Pixels
from mien.util.files import write_errors, write_file

SMALLEST, LARGEST = 512, 1024  # sides of a picture, pixels
AROUND = 1.9  # side of the shown square, in face boxes
EMPTY = 226  # gray level beyond a photograph's edge
QUALITY = 95  # of the JPEG that both kinds pass through, where original and result are stored in different formats
HEADINGS = ("number", "file", "face", "kind")

Kind = Literal["untouched", "changed"]
KINDS: tuple[Kind, Kind] = ("untouched", "changed")
Queues = dict[Kind, list[FaceOutcome]]


@dataclass(frozen=True)
class BlindFace:
    """One face that is shown, and what a reader has to find out about it."""

    outcome: FaceOutcome
    kind: Kind


def write_blind_sheets(src: Path, dst: Path, out: Path, summary: Summary, count: int, key: Path | None = None,
                       seed: int | None = None) -> tuple[Path, Path]:
    """Writes `count` untouched and as many changed faces to OUT/001.png and so on, an index page, and the key.

    Faces are drawn from those that were anonymized. No face is shown twice, and no person is shown in both kinds, as
    long as there are enough people: those that the dataset names, else each photograph counts as one. Both kinds are
    read from files, cut out by the original's box and stored alike, without names, metadata or times of their own.
    Pixels are those of the photograph, unless a face with its surroundings is larger than 1024 px. Faces whose
    photographs cannot be read, or differ in size, are skipped.

    Args:
        out: a new or empty folder. summary: the run's, as `read_run` returns it.
        key: a new CSV file outside of OUT, by default OUT.key.csv, which only its owner can read: number, file, face
            and kind of each picture.
        seed: draws the same faces and the same order again; whoever knows it can tell which are which.

    Returns:
        the index page and the key.

    Raises:
        UsageError: there are fewer faces, or OUT or the key would be in SRC, in a published folder, or in the way of
            files that are there. OutputError: they cannot be written.
    """
    key = out.with_name(f"{out.name}.key.csv") if key is None else key
    _refuse_places(src, dst, out, key)
    faces = [row for row in summary.outcomes if row.status == "anonymized"]
    _require(count, len(faces))
    rng = np.random.default_rng(seed)
    order: list[Kind] = [KINDS[i] for i in rng.permutation([0, 1] * count)]
    queues, side = draw_queues(faces, _owners(src, faces, summary.layout), rng), _side(faces)
    digits = max(3, len(str(2 * count)))
    with write_errors(out):
        out.mkdir(mode=0o700, parents=True, exist_ok=True)  # it shows originals
    with _all_or_nothing() as written:
        shown = []
        for face, pixels in _faces(src, dst, order, queues, side):
            shown.append(face)
            _write(out / f"{len(shown):0{digits}d}.png", _png(pixels), written)
        _require(count, len(shown), "that can be compared")
        page = template("blind_sheets").render(names=[path.name for path in written], side=side)
        _write(out / "index.html", page.encode(), written)
        _write_key(key, [path.stem for path in written[:-1]], shown, written)
        for path in written:
            os.utime(path, (written[0].stat().st_mtime,) * 2)
    return out / "index.html", key


def draw_queues(faces: Sequence[FaceOutcome], owners: Sequence[str], rng: np.random.Generator) -> Queues:
    """Shares people out among the two kinds at random, and puts the faces of each kind in the order of showing.

    First comes one face of each person, then a second one of those who have one, and so on.

    Args:
        owners: who is on each face.
    """
    people = rng.permutation(sorted(set(owners))).tolist()
    side = {owner: KINDS[place % 2] for place, owner in enumerate(people)}
    queues: Queues = {kind: [] for kind in KINDS}
    turns: Counter[str] = Counter()
    ranked: list[tuple[int, int]] = []
    for place in rng.permutation(len(faces)).tolist():
        ranked.append((turns[owners[place]], place))
        turns[owners[place]] += 1
    for _, place in sorted(ranked, key=lambda one: one[0]):
        queues[side[owners[place]]].append(faces[place])
    return queues


def cut_face(photo: Pixels, box: tuple[float, float, float, float], side: int) -> Pixels:
    """Cuts a face (x, y, width, height) and its surroundings out of a photo, as [side, side, 3].

    The window is `window_side` wide, moved into the photo; gray is what the photo is too small for. Pixels stay as
    they are, unless the window is larger than the side: then it is shrunk.
    """
    size = window_side(box)
    x, y, width, height = box
    part = photo[_span(y + height / 2, size, photo.shape[0]), _span(x + width / 2, size, photo.shape[1])]
    longest = max(part.shape[:2])
    if longest > side:
        tall, wide = (max(1, round(one * side / longest)) for one in part.shape[:2])
        part = np.asarray(cv2.resize(part, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)
    picture = np.full((side, side, 3), EMPTY, np.uint8)
    top, left = ((side - one) // 2 for one in part.shape[:2])
    picture[top : top + part.shape[0], left : left + part.shape[1]] = part
    return picture


def window_side(box: tuple[float, float, float, float]) -> int:
    """Side of the square that is shown of a photo, in its pixels: 1.9 times the face's box, at least 512."""
    return max(SMALLEST, math.ceil(max(box[2:]) * AROUND))


def _side(faces: Sequence[FaceOutcome]) -> int:
    """Side of all pictures: that of the largest window, at most 1024."""
    return min(LARGEST, max(window_side(face.box) for face in faces))


def _span(middle: float, size: int, whole: int) -> slice:
    low = max(0, min(math.floor(middle - size / 2), whole - size))
    return slice(low, min(low + size, whole))


def _faces(src: Path, dst: Path, order: Sequence[Kind], queues: Queues, side: int
           ) -> Iterator[tuple[BlindFace, Pixels]]:
    """Yields the faces and their pictures in the order of showing; it ends early where there are too few."""
    for place, kind in enumerate(order):
        while face := _next_face(queues, kind, order[place:]):
            try:
                original, new = read_original_and_result(face.file, src, dst)
            except PhotoError:
                continue
            photo = original if kind == "untouched" else new
            pixels = cut_face(photo.pixels, face.box, side)
            alike = original.encoding.format == new.encoding.format
            yield BlindFace(face, kind), pixels if alike else recompressed(pixels, QUALITY)
            break
        else:
            return


def _next_face(queues: Queues, kind: Kind, rest: Sequence[Kind]) -> FaceOutcome | None:
    """Takes the next face of a kind, or one that the other kind does not need for the `rest` of the order."""
    if queues[kind]:
        return queues[kind].pop(0)
    other = KINDS[1 - KINDS.index(kind)]
    spare = rest.count(other)
    return queues[other].pop(spare) if len(queues[other]) > spare else None


def _owners(src: Path, faces: Sequence[FaceOutcome], layout: str) -> list[str]:
    """Who is on each face: the person whom the dataset names, else the photograph."""
    people = open_dataset(src, layout).people
    return [f"person {people[face.file]}" if face.file in people else f"photo {face.file}" for face in faces]


def _refuse_places(src: Path, dst: Path, out: Path, key: Path) -> None:
    for place in (out, key):
        refuse_published(place, dst)
        if src.resolve() in (place.resolve(), *place.resolve().parents):
            raise UsageError(f"{place} lies inside SRC", "give another folder")
    if out.resolve() in key.resolve().parents or out.resolve() == key.resolve():
        raise UsageError(f"the key {key} lies inside {out}, which is shown", "give a file that is elsewhere")
    if os.path.lexists(key):
        raise UsageError(f"{key} is there already: it may be the key of other sheets", "give a new file as --key")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} holds other files, and readers are to see these pictures alone",
                         "give a new folder as OUT")


def _require(count: int, found: int, which: str = "that were anonymized") -> None:
    if found < 2 * count:
        raise UsageError(f"{count:,} untouched and {count:,} changed faces are twice as many, and there are "
                         f"{found:,} faces {which}", f"give --blind {found // 2} or less" if found > 1 else "")


def _png(pixels: Pixels) -> bytes:
    """A PNG without compression: a smooth picture would have a smaller file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def _write(path: Path, data: bytes, written: list[Path]) -> None:
    write_file(path, data)
    written.append(path)


def _write_key(path: Path, numbers: Sequence[str], shown: Sequence[BlindFace], written: list[Path]) -> None:
    text = io.StringIO()
    rows = [(number, face.outcome.file, face.outcome.face, face.kind)
            for number, face in zip(numbers, shown, strict=True)]
    csv.writer(text, lineterminator="\n").writerows([HEADINGS, *rows])
    with write_errors(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        written.append(path)
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


@contextmanager
def _all_or_nothing() -> Iterator[list[Path]]:
    """Yields a list for the files that are written; after an error they are deleted."""
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise
