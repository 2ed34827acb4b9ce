"""Writes what became of each face, one row a face: a table with all numbers for WORK, and what is published of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.jobs.privacy_band import privacy_band
from mien.types import FaceOutcome

ROWS = 16_384  # rows that are written at once

# DST/mien.parquet. A distance to the original, or a point of it, would let anyone check a guess who the original is.
MANIFEST = pa.schema([
    ("file", pa.string()), ("face", pa.int32()), ("x", pa.int32()), ("y", pa.int32()), ("width", pa.int32()),
    ("height", pa.int32()), ("status", pa.string()), ("reason", pa.string()), ("attempts", pa.int32()),
    ("privacy_band", pa.string()), ("recipe", pa.string())])

# WORK/faces.parquet, which is private.
FACES = pa.schema([
    ("file", pa.string()), ("face", pa.int32()), ("x", pa.float32()), ("y", pa.float32()), ("width", pa.float32()),
    ("height", pa.float32()), ("points", pa.list_(pa.list_(pa.float32()))), ("score", pa.float32()),
    ("status", pa.string()), ("reason", pa.string()), ("attempts", pa.int32()), ("steps", pa.int32()),
    ("seconds", pa.float32()), ("similarity", pa.float32()), ("judge_distance", pa.float32()),
    ("attribute_distance", pa.float32()), ("recipe", pa.string())])


def write_manifest(published: Path, private: Path, outcomes: Iterable[FaceOutcome], recipes: tuple[str, str],
                   limit: float) -> None:
    """Writes the faces of a run as two Parquet files; few of a million rows are in memory at once.

    Args:
        published: the table for DST. private: the table for WORK, which its owner alone can read.
        recipes: the recipe's hash for either file. limit: the judge's, see `privacy_band`.

    Raises:
        OSError: a file cannot be written.
    """
    private.touch(mode=0o600)
    faces = iter(outcomes)
    with pq.ParquetWriter(published, MANIFEST) as manifest, pq.ParquetWriter(private, FACES) as table:
        while part := list(islice(faces, ROWS)):
            rows = [_published_row(one, recipes[0], limit) for one in part]
            manifest.write_table(pa.Table.from_pylist(rows, schema=MANIFEST))
            table.write_table(pa.Table.from_pylist([_private_row(one, recipes[1]) for one in part], schema=FACES))


def _published_row(outcome: FaceOutcome, recipe: str, limit: float) -> dict[str, Any]:
    """The box is rounded, since the detector's fractions of a pixel are the original's own."""
    x, y, width, height = (round(value) for value in outcome.box)
    return {"file": _name(outcome), "face": outcome.face, "x": x, "y": y, "width": width, "height": height,
            "status": outcome.status, "reason": outcome.reason, "attempts": outcome.attempts,
            "privacy_band": privacy_band(outcome, limit) or None, "recipe": recipe}


def _private_row(outcome: FaceOutcome, recipe: str) -> dict[str, Any]:
    row = {name: vars(outcome).get(name) for name in FACES.names}  # without the person: labels stay in the shards
    row["file"] = _name(outcome)
    row["x"], row["y"], row["width"], row["height"] = outcome.box
    return row | {"recipe": recipe}


def _name(outcome: FaceOutcome) -> str:
    return os.fsencode(outcome.file).decode("utf-8", "backslashreplace")
