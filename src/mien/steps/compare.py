"""The compare command: faces of a folder in rows, station by station, for the owner's eyes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import typer

from mien.errors import UsageError
from mien.report.contact_sheet import ROWS, contact_sheet
from mien.steps.face_folder import (
    CROP,
    INVERSION_LOOK,
    PAIR_LOOK,
    RESULT_PICTURE,
    FaceFolder,
    read_picture,
    write_picture,
)
from mien.types import Pixels

STATIONS = {"original": CROP, "inversion": INVERSION_LOOK, "nearest": PAIR_LOOK, "new face": RESULT_PICTURE}
SHEET = re.compile(r"sheet-\d+\.png")
MISSING: Pixels = np.full((16, 16, 3), 226, np.uint8)


def compare_tray(folder: Path, out: Path, every: int) -> None:
    """Write sheets of every n-th face to OUT/sheet-001.png and so on; a station that is not there yet stays gray.

    Raises:
        UsageError: no faces there, or OUT is a folder of something else. OutputError: OUT cannot be written.
    """
    tray = FaceFolder(folder)
    names = tray.names()[::every]
    if not any(tray.has(name, RESULT_PICTURE) or tray.has(name, INVERSION_LOOK) for name in names):
        raise UsageError(f"nothing in {folder} to compare the crops with", f"run: mien invert {folder}")
    if out.is_dir() and any(not SHEET.fullmatch(path.name) for path in out.iterdir()):
        raise UsageError(f"{out} holds other things than sheets, which show originals", "give a folder of its own")
    FaceFolder(out).create()
    for number, first in enumerate(range(0, len(names), ROWS), 1):
        page = names[first : first + ROWS]
        rows = [[_picture(tray, name, kind) for kind in STATIONS.values()] for name in page]
        path = out / f"sheet-{number:03d}.png"
        write_picture(path, contact_sheet(rows, list(STATIONS), [_caption(tray, name) for name in page]))
        typer.echo(str(path))


def _picture(tray: FaceFolder, name: str, kind: str) -> Pixels:
    return read_picture(tray.path(name, kind)) if tray.has(name, kind) else MISSING


def _caption(tray: FaceFolder, name: str) -> str:
    record = tray.record(name)
    parts = [name]
    if record.pair and record.pair.distance is not None:
        parts.append(f"pair {record.pair.index} at {record.pair.distance:.2f}")
    if record.similarity is not None:
        parts.append(f"cosine {record.similarity:.2f}")
    if record.judge_distance is not None:
        parts.append(f"judge {record.judge_distance:.2f}")
    return ", ".join(parts)
