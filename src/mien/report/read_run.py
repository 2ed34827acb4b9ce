"""A finished run, read back from what it left in DST."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from mien.errors import UsageError
from mien.jobs.manifest import MANIFEST
from mien.jobs.run import Summary
from mien.recipe import Recipe
from mien.types import FaceOutcome, Skipped, Status

RECORD = "the record of a run (JSON)"
ROWS = "the manifest of a run (Parquet, one row a face)"
_AS_RECORDED = ("file", "face", "score", "status", "reason", "attempts", "steps", "seconds", "similarity",
                "judge_distance", "attribute_distance")
_MAY_BE_EMPTY = {"similarity", "judge_distance", "attribute_distance"}


class _Record(BaseModel):
    """What the report needs of mien.json."""

    mien: str = "unknown"
    photos: int = Field(ge=0)
    faces: int = Field(ge=0)
    recipe: Recipe
    recipe_hash: str
    skipped: list[Skipped]
    stages: dict[str, float] = {}
    layout: str = "folder"
    notes: list[str] = []
    wall: float = 0.0


def read_run(dst: Path) -> tuple[Summary, Recipe]:
    """What the run in DST did, and how.

    Raises:
        UsageError: mien.parquet or mien.json is missing or damaged, or they are not of one run.
    """
    if not dst.is_dir():
        raise UsageError(f"{dst} is not a folder", "give the DST of a finished run")
    record, rows = _record(dst / "mien.json"), _rows(dst / "mien.parquet")
    if record.faces != len(rows) or any(row["recipe"] != record.recipe_hash for row in rows):
        raise UsageError(f"{dst / 'mien.parquet'} and {dst / 'mien.json'} are not of one run",
                         "run mien anonymize again with the same arguments: it writes both anew")
    outcomes = [_outcome(row) for row in rows]
    summary = Summary(
        photos=record.photos, faces=len(outcomes), statuses=Counter(row.status for row in outcomes),
        reasons=Counter(row.reason for row in outcomes if row.reason), skipped=record.skipped,
        stages=dict(record.stages), outcomes=outcomes, wall=record.wall,
        layout=record.layout, notes=record.notes)
    return summary, record.recipe


def _record(path: Path) -> _Record:
    try:
        record = _Record.model_validate(json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise _missing(path, RECORD) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, RECORD, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, RECORD, str(error)) from error
    if record.recipe.hash != record.recipe_hash:
        raise UsageError(f"{path}: its recipe is not the one whose hash stands beside it",
                         f"it was changed by hand, or written by another version (mien {record.mien})")
    return record


def _rows(path: Path) -> list[dict[str, Any]]:
    wanted = [name for name in MANIFEST.names if name != "points"]
    schema = pa.schema([MANIFEST.field(name) for name in wanted])
    try:
        with pq.ParquetFile(path) as file:
            lacking = [name for name in wanted if name not in file.schema_arrow.names]
            if lacking:
                raise _damaged(path, ROWS, f"no column {', '.join(lacking)}")
            table = file.read(columns=wanted).select(wanted).cast(schema)
            rows: list[dict[str, Any]] = table.to_pylist()
    except FileNotFoundError as error:
        raise _missing(path, ROWS) from error
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, ROWS, str(error)) from error
    for number, row in enumerate(rows):
        empty = any(row[name] is None for name in wanted if name not in _MAY_BE_EMPTY)
        if empty or row["status"] not in get_args(Status):
            raise _damaged(path, ROWS, f"row {number} is incomplete")
    return rows


def _outcome(row: dict[str, Any]) -> FaceOutcome:
    box = (row["x"], row["y"], row["width"], row["height"])
    return FaceOutcome(box=box, points=[], **{name: row[name] for name in _AS_RECORDED})


def _missing(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} is missing: {what}, which a finished run leaves in DST",
                      "give the DST of a run that came to its end")


def _damaged(path: Path, what: str, why: str) -> UsageError:
    return UsageError(f"{path} is not {what}: {why.partition(chr(10))[0][:200] or 'damaged'}",
                      "run mien anonymize again with the same arguments: it writes the file anew")
