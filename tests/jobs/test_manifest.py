from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mien.jobs.manifest import FACES, MANIFEST, ROWS, write_manifest
from mien.types import FaceOutcome


def outcome(file: str, distance: float | None = 0.7, **more: Any) -> FaceOutcome:
    return FaceOutcome(file, 0, (1.4, 2.6, 3.0, 4.0), [[1.0, 2.0]] * 5, 0.9, "anonymized", judge_distance=distance,
                       **more)


def test_the_manifest_says_nothing_of_who_people_are(tmp_path: Path) -> None:
    rows = [outcome("ä.png", person="Anna"), outcome(os.fsdecode(b"\xff.png"), similarity=0.1)]
    write_manifest(tmp_path / "m", tmp_path / "f", rows, ("public", "private"), 0.6)
    table, faces = pq.read_table(tmp_path / "m"), pq.read_table(tmp_path / "f")
    assert table.schema.names == MANIFEST.names and faces.schema.names == FACES.names
    assert not [kind for kind in table.schema.types if "float" in str(kind) or "double" in str(kind)]
    first, second = table.to_pylist()
    assert (first["file"], second["file"]) == ("ä.png", "\\xff.png")
    assert (first["x"], first["y"], first["width"], first["height"]) == (1, 3, 3, 4)
    assert first["privacy_band"] == "clear" and (first["recipe"], faces["recipe"][0].as_py()) == ("public", "private")
    assert not [path for path in (tmp_path / "m", tmp_path / "f") if b"Anna" in path.read_bytes()]


def test_work_keeps_all_numbers_for_the_owner_alone(tmp_path: Path) -> None:
    row = outcome("a.png", 0.75, similarity=0.1, attribute_distance=0.3, attempts=2, steps=9, seconds=1.5)
    write_manifest(tmp_path / "m", tmp_path / "f", [row], ("public", "private"), 0.6)
    (face,) = pq.read_table(tmp_path / "f").to_pylist()
    assert face["points"] == row.points and (face["x"], face["y"]) == pytest.approx((1.4, 2.6))
    numbers = ("score", "attempts", "steps", "seconds", "similarity", "judge_distance", "attribute_distance")
    assert [face[name] for name in numbers] == pytest.approx([0.9, 2, 9, 1.5, 0.1, 0.75, 0.3])
    assert (tmp_path / "f").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("distance", "band"), [
    (0.0, "not past"), (0.5999, "not past"), (0.6, "just past"), (0.6899, "just past"), (0.6901, "clear"),
    (0.839, "clear"), (0.841, "far"), (9.0, "far"), (None, None), (float("nan"), None)])
def test_a_distance_is_published_as_a_band(tmp_path: Path, distance: float | None, band: str | None) -> None:
    write_manifest(tmp_path / "m", tmp_path / "f", [outcome("a.png", distance)], ("", ""), 0.6)
    assert pq.read_table(tmp_path / "m")["privacy_band"].to_pylist() == [band]


def test_only_new_faces_have_a_band(tmp_path: Path) -> None:
    row = outcome("a.png", 0.7)
    row.status = "dropped"
    write_manifest(tmp_path / "m", tmp_path / "f", [row], ("", ""), 0.6)
    assert pq.read_table(tmp_path / "m")["privacy_band"].to_pylist() == [None]


@pytest.mark.parametrize("count", [0, ROWS + 1])
def test_any_number_of_faces_is_written(tmp_path: Path, count: int) -> None:
    rows = (outcome(f"{number}.png") for number in range(count))
    write_manifest(tmp_path / "m", tmp_path / "f", rows, ("", ""), 0.6)
    for name, schema in (("m", MANIFEST), ("f", FACES)):
        table = pq.read_table(tmp_path / name)
        assert table.schema.names == schema.names
        assert table["file"].to_pylist() == [f"{number}.png" for number in range(count)]
