"""Reads a finished run back from what it left in DST: mien.json and mien.parquet."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from mien.errors import UsageError
from mien.images.formats import printable
from mien.jobs.manifest import MANIFEST
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.types import FaceOutcome, Skipped, Status

RECORD = "the record of a run (JSON)"
MANIFEST_FILE = "the manifest of a run (Parquet, one row a face)"
_AS_RECORDED = ("file", "face", "score", "status", "reason", "attempts", "steps", "seconds", "similarity",
                "judge_distance", "attribute_distance")
_MAY_BE_EMPTY = {"similarity", "judge_distance", "attribute_distance"}


class _Record(BaseModel):
    """The fields of mien.json that are read."""

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
    """Reads what the run in DST did, and its recipe.

    Raises:
        UsageError: mien.parquet or mien.json is missing or damaged, they are not of one run, or another version of mien
            wrote them.
    """
    if not dst.is_dir():
        raise UsageError(f"{dst} is not a folder", "give the DST of a finished run")
    record, rows = _read_record(dst / "mien.json"), read_manifest(dst / "mien.parquet")
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


def check_recipe_names(path: Path, recipe: dict[str, Any]) -> None:
    """Refuses a recorded recipe with tables or fields that this version's recipe does not have.

    Args:
        path: the mien.json that has it.

    Raises:
        UsageError: there is one.
    """
    known, unknown = Recipe().model_dump(), list[str]()
    for name, value in recipe.items():
        if name not in known:
            unknown.append(name)
        elif isinstance(known[name], dict) and isinstance(value, dict):
            unknown += [f"{name}.{field}" for field in value if field not in known[name]]
    if unknown:
        raise _other_version(path, f"its recipe has {', '.join(map(printable, unknown))}")


def _read_record(path: Path) -> _Record:
    try:
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict) and isinstance(found.get("recipe"), dict):
            check_recipe_names(path, found["recipe"])
        record = _Record.model_validate(found)
    except FileNotFoundError as error:
        raise _missing(path, RECORD) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, RECORD, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, RECORD, str(error)) from error
    if record.recipe.hash != record.recipe_hash:
        raise UsageError(f"{path}: its recipe does not have the hash that is recorded beside it",
                         f"it was changed by hand, or written by another version (mien {record.mien})")
    return record


def read_manifest(path: Path, points: bool = False) -> list[dict[str, Any]]:
    """Reads a mien.parquet: one row per face.

    Args:
        points: whether the faces' points are read too.

    Raises:
        UsageError: it is missing or damaged, or another version of mien wrote it.
    """
    wanted = [name for name in MANIFEST.names if points or name != "points"]
    schema = pa.schema([MANIFEST.field(name) for name in wanted])
    try:
        with pq.ParquetFile(path) as file:
            lacking = [name for name in wanted if name not in file.schema_arrow.names]
            if lacking:
                raise _damaged(path, MANIFEST_FILE, f"no column {', '.join(lacking)}")
            table = file.read(columns=wanted).select(wanted).cast(schema)
            rows: list[dict[str, Any]] = table.to_pylist()
    except FileNotFoundError as error:
        raise _missing(path, MANIFEST_FILE) from error
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, MANIFEST_FILE, str(error)) from error
    for number, row in enumerate(rows):
        if any(row[name] is None for name in wanted if name not in _MAY_BE_EMPTY):
            raise _damaged(path, MANIFEST_FILE, f"row {number} is incomplete")
        if row["status"] not in get_args(Status):
            raise _other_version(path, f"row {number} has the status {printable(row['status'])}")
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


def _other_version(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} was written by another version of mien: {what}, which this version does not know",
                      "use that version for this folder, or anonymize the photographs again into a new one")
