"""Writes the manifest beside published photographs: a table with one row for each face."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.types import FaceOutcome

ROWS = 16_384  # rows that are written at once

MANIFEST = pa.schema([
    ("file", pa.string()), ("face", pa.int32()), ("x", pa.float32()), ("y", pa.float32()), ("width", pa.float32()),
    ("height", pa.float32()), ("points", pa.list_(pa.list_(pa.float32()))), ("score", pa.float32()),
    ("status", pa.string()), ("reason", pa.string()), ("attempts", pa.int32()), ("steps", pa.int32()),
    ("seconds", pa.float32()), ("similarity", pa.float32()), ("judge_distance", pa.float32()),
    ("attribute_distance", pa.float32()), ("recipe", pa.string())])


def write_manifest(path: Path, outcomes: Iterable[FaceOutcome], recipe: str) -> None:
    """Writes the faces of a run as Parquet; few of a million rows are in memory at once.

    Args:
        recipe: the recipe's hash.

    Raises:
        OSError: the file cannot be written.
    """
    rows = (_row(outcome, recipe) for outcome in outcomes)
    with pq.ParquetWriter(path, MANIFEST) as writer:
        while part := list(islice(rows, ROWS)):
            writer.write_table(pa.Table.from_pylist(part, schema=MANIFEST))


def _row(outcome: FaceOutcome, recipe: str) -> dict[str, Any]:
    row = dict(vars(outcome))
    row.pop("person")  # labels of people stay in WORK
    row["file"] = os.fsencode(row["file"]).decode("utf-8", "backslashreplace")
    row["x"], row["y"], row["width"], row["height"] = row.pop("box")
    return row | {"recipe": recipe}
