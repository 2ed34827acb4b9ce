"""Cuts faces out of originals and results, as small pictures for the pages that only the owner sees."""

from __future__ import annotations

import base64
import heapq
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
from PIL import Image

from mien.errors import PhotoError
from mien.images.decode import read_photo
from mien.images.formats import printable
from mien.jobs.privacy_band import BANDS, PublishedFace
from mien.types import FaceOutcome, Photo, Pixels

CLOSEST, BLURRED, MOST = 20, 10, 60  # faces shown
LONG_SIDE = 320  # pixels of an embedded picture
AROUND = 1.9  # side of the shown square, in face boxes
QUALITY = 85


@dataclass(frozen=True)
class BeforeAfter:
    """One face before and after, as data URIs; both empty where `problem` says why they cannot be shown."""

    outcome: FaceOutcome
    before: str = ""
    after: str = ""
    problem: str = ""


def likeness(outcome: FaceOutcome) -> tuple[float, float]:
    """Sort key: the face most like its original comes first; a face that was never judged comes before all."""
    if isinstance(outcome, PublishedFace):
        return BANDS.index(outcome.privacy_band) if outcome.privacy_band else -math.inf, 0.0
    distance, cosine = outcome.judge_distance, outcome.similarity
    return (-math.inf if distance is None or not math.isfinite(distance) else distance,
            -cosine if cosine is not None and math.isfinite(cosine) else 0.0)


def choose_faces(outcomes: Sequence[FaceOutcome]) -> list[FaceOutcome]:
    """Chooses at most 60 faces to show: those most like their originals, some blurred ones, others evenly spread."""
    closest = heapq.nsmallest(CLOSEST, (row for row in outcomes if row.status == "anonymized"), key=likeness)
    blurred = list(islice((row for row in outcomes if row.status == "blurred"), BLURRED))
    taken = {(row.file, row.face) for row in closest}
    rest = sum(1 for row in outcomes if row.status == "anonymized") - len(closest)
    room = min(MOST - len(closest) - len(blurred), rest)
    places = {i * rest // room for i in range(room)}
    others = (row for row in outcomes if row.status == "anonymized" and (row.file, row.face) not in taken)
    return closest + blurred + [row for place, row in enumerate(others) if place in places]


def cut_before_after(outcomes: Sequence[FaceOutcome], originals: Path, results: Path,
                     outputs: Mapping[str, str]) -> list[BeforeAfter]:
    """Cuts each face out of its original and of its result, the same window of both.

    Args:
        originals: SRC, a folder or one photo. results: DST. outputs: source name -> name in DST, where known.

    Returns:
        One pair per outcome, in their order. A photo that cannot be read gives a pair with a `problem`.
    """
    pairs: dict[tuple[str, int], BeforeAfter] = {}
    for file in dict.fromkeys(row.file for row in outcomes):  # each photo is decoded once
        rows = [row for row in outcomes if row.file == file]
        for pair in _of_photo(file, rows, originals, results, outputs):
            pairs[file, pair.outcome.face] = pair
    return [pairs[row.file, row.face] for row in outcomes]


def _of_photo(file: str, rows: list[FaceOutcome], originals: Path, results: Path,
              outputs: Mapping[str, str]) -> list[BeforeAfter]:
    try:
        before, after = read_original_and_result(file, originals, results, outputs)
    except PhotoError as error:
        return [BeforeAfter(row, problem=error.message) for row in rows]
    return [BeforeAfter(row, cut_out(before.pixels, row.box), cut_out(after.pixels, row.box)) for row in rows]


def read_original_and_result(file: str, originals: Path, results: Path,
                             outputs: Mapping[str, str] = MappingProxyType({})) -> tuple[Photo, Photo]:
    """Reads a photograph of the manifest and its result.

    Args:
        file: its name in the manifest. originals, results, outputs: as for `cut_before_after`.

    Raises:
        PhotoError: one cannot be read, they differ in size, or the name leads out of the folder.
    """
    root = originals if originals.is_dir() else originals.parent
    name = _real_name(root, file)
    output = outputs.get(file, name if (results / name).is_file() else f"{name}.png")
    before, after = read_photo(root / name, name), read_photo(results / output, output)
    if before.pixels.shape != after.pixels.shape:
        raise PhotoError(f"{printable(output)}: not of the original's size")
    return before, after


def _real_name(root: Path, file: str) -> str:
    """The name on disk: in the manifest bytes that are not UTF-8 are escaped, as in `\\xff`."""
    if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or "\0" in file:
        raise PhotoError(f"{printable(file)}: a name that leads out of the folder")
    if "\\x" not in file or (root / file).is_file():
        return file
    escaped = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), os.fsencode(file))
    return os.fsdecode(escaped)


def cut_out(photo: Pixels, box: tuple[float, float, float, float]) -> str:
    """Cuts a face (x, y, width, height) and some of its surroundings out of a photo, as a data URI of a small JPEG."""
    x, y, width, height = np.nan_to_num(box, posinf=0.0, neginf=0.0)
    half = max(width, height, 2.0) * AROUND / 2
    rows = _span(y + height / 2, half, photo.shape[0])
    columns = _span(x + width / 2, half, photo.shape[1])
    image = Image.fromarray(np.ascontiguousarray(photo[rows, columns]))
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _span(middle: float, half: float, size: int) -> slice:
    low = int(np.clip(math.floor(middle - half), 0, size - 1))
    return slice(low, int(np.clip(math.ceil(middle + half), low + 1, size)))
