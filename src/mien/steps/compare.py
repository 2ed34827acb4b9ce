"""The compare step: contact sheets of a face folder, one row a face and one column a stage. They show originals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import typer

from mien.errors import UsageError
from mien.report.contact_sheet import write_contact_sheets
from mien.steps.face_folder import (
    CROP,
    INVERSION_PREVIEW,
    PAIR_PREVIEW,
    RESULT_PICTURE,
    FaceFolder,
    read_picture,
)
from mien.types import Pixels

COLUMNS = {"original": CROP, "inversion": INVERSION_PREVIEW, "nearest": PAIR_PREVIEW, "new face": RESULT_PICTURE}
SHEET = re.compile(r"sheet-\d+\.png")
MISSING: Pixels = np.full((16, 16, 3), 226, np.uint8)


def compare_folder(folder: Path, out: Path, every: int) -> None:
    """Writes sheets of every n-th face to OUT/sheet-001.png and so on. Missing pictures are gray.

    Raises:
        UsageError: the folder has no faces, or OUT holds other files. OutputError: OUT cannot be written.
    """
    face_folder = FaceFolder(folder)
    names = face_folder.names()[::every]
    if not any(face_folder.has(name, RESULT_PICTURE) or face_folder.has(name, INVERSION_PREVIEW) for name in names):
        raise UsageError(f"nothing in {folder} to compare the crops with",
                         f"run: mien steps invert {folder}")
    if out.is_dir() and any(not SHEET.fullmatch(path.name) for path in out.iterdir()):
        raise UsageError(f"{out} holds other files than sheets, and sheets show originals", "give a new folder as OUT")
    FaceFolder(out).create()
    rows = (([_picture(face_folder, name, kind) for kind in COLUMNS.values()], _caption(face_folder, name))
            for name in names)
    for path in write_contact_sheets(out, rows, list(COLUMNS)):
        typer.echo(str(path))


def _picture(face_folder: FaceFolder, name: str, kind: str) -> Pixels:
    return read_picture(face_folder.path(name, kind)) if face_folder.has(name, kind) else MISSING


def _caption(face_folder: FaceFolder, name: str) -> str:
    record = face_folder.record(name)
    parts = [name]
    if record.pair and record.pair.distance is not None:
        parts.append(f"pair {record.pair.index} at {record.pair.distance:.2f}")
    if record.similarity is not None:
        parts.append(f"cosine {record.similarity:.2f}")
    if record.judge_distance is not None:
        parts.append(f"judge {record.judge_distance:.2f}")
    return ", ".join(parts)
