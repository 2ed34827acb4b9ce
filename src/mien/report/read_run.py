"""Reads a finished run back from what it left: mien.json and mien.parquet in DST, faces.parquet in WORK."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from mien.errors import UsageError
from mien.images.formats import printable
from mien.jobs.manifest import FACES, MANIFEST
from mien.jobs.privacy_band import BANDS, PublishedFace
from mien.jobs.published import RECORD as RECORD_FILE
from mien.jobs.state import FACES_FILE, MANIFEST_FILE
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.types import FaceOutcome, Skipped, Status

RECORD = "the record of a run (JSON)"
TABLES = {MANIFEST_FILE: "the manifest of a run (Parquet, one row a face)",
          FACES_FILE: "the private table of a run's faces (Parquet, one row a face)"}
_MAY_BE_EMPTY = {"similarity", "judge_distance", "attribute_distance", "privacy_band"}


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
    """Reads what the run in DST did, and its recipe without the seed. Its outcomes are `PublishedFace`s.

    Raises:
        UsageError: mien.parquet or mien.json is missing or damaged, they are not of one run, or another version of mien
            wrote them.
    """
    if not dst.is_dir():
        raise UsageError(f"{dst} is not a folder", "give the DST of a finished run")
    record, rows = _read_record(dst / RECORD_FILE), read_manifest(dst / MANIFEST_FILE)
    if record.faces != len(rows) or any(row["recipe"] != record.recipe_hash for row in rows):
        raise UsageError(f"{dst / MANIFEST_FILE} and {dst / RECORD_FILE} are not of one run",
                         "run mien anonymize again with the same arguments: it writes both anew")
    outcomes = [_published_face(row) for row in rows]
    summary = Summary(
        photos=record.photos, faces=len(outcomes), statuses=Counter(row.status for row in outcomes),
        reasons=Counter(row.reason for row in outcomes if row.reason), skipped=record.skipped,
        stages=dict(record.stages), outcomes=outcomes, wall=record.wall,
        layout=record.layout, notes=record.notes)
    return summary, record.recipe


def read_outcomes(work: Path, published: Sequence[FaceOutcome]) -> list[FaceOutcome]:
    """Reads the outcomes of a run, with their distances, from its WORK.

    Args:
        published: what DST says of the same faces.

    Raises:
        UsageError: WORK is another run's, or the table in it is missing or damaged.
    """
    outcomes = [_outcome(row) for row in read_faces(work)]
    here, there = ([(row.file, row.face, row.status) for row in rows] for rows in (outcomes, published))
    if here != there:
        raise UsageError(f"{work / FACES_FILE} is not of the run that wrote {MANIFEST_FILE}",
                         "give the WORK of this run")
    return outcomes


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


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Reads a mien.parquet: one row per face.

    Raises:
        UsageError: it is missing or damaged, or another version of mien wrote it.
    """
    return _read_table(path, MANIFEST)


def read_faces(work: Path) -> list[dict[str, Any]]:
    """Reads the private table of a run's faces from its WORK: one row per face, with distances and points.

    Raises:
        UsageError: it is missing or damaged, or another version of mien wrote it.
    """
    return _read_table(work / FACES_FILE, FACES)


def _read_table(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    what = TABLES.get(path.name, TABLES[MANIFEST_FILE])
    try:
        with pq.ParquetFile(path) as file:
            lacking = [name for name in schema.names if name not in file.schema_arrow.names]
            if lacking:
                raise _damaged(path, what, f"no column {', '.join(lacking)}")
            rows: list[dict[str, Any]] = file.read(columns=schema.names).select(schema.names).cast(schema).to_pylist()
    except FileNotFoundError as error:
        raise _missing(path, what) from error
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, what, str(error)) from error
    for number, row in enumerate(rows):
        if any(row[name] is None for name in schema.names if name not in _MAY_BE_EMPTY):
            raise _damaged(path, what, f"row {number} is incomplete")
        if row["status"] not in get_args(Status) or row.get("privacy_band") not in (None, *BANDS):
            raise _other_version(path, f"row {number} has the status {printable(row['status'])}")
    return rows


def _outcome(row: dict[str, Any]) -> FaceOutcome:
    known = {name: value for name, value in row.items() if name not in ("x", "y", "width", "height", "recipe")}
    return FaceOutcome(box=_box(row), **known)


def _published_face(row: dict[str, Any]) -> PublishedFace:
    return PublishedFace(row["file"], row["face"], _box(row), [], 0.0, row["status"], row["reason"], row["attempts"],
                         privacy_band=row["privacy_band"] or "")


def _box(row: dict[str, Any]) -> tuple[float, float, float, float]:
    return row["x"], row["y"], row["width"], row["height"]


def _missing(path: Path, what: str) -> UsageError:
    folder = "WORK" if path.name == FACES_FILE else "DST"
    return UsageError(f"{path} is missing: {what}, which a finished run leaves in {folder}",
                      f"give the {folder} of a run that came to its end")


def _damaged(path: Path, what: str, why: str) -> UsageError:
    return UsageError(f"{path} is not {what}: {why.partition(chr(10))[0][:200] or 'damaged'}",
                      "run mien anonymize again with the same arguments: it writes the file anew")


def _other_version(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} was written by another version of mien: {what}, which this version does not know",
                      "use that version for this folder, or anonymize the photographs again into a new one")
