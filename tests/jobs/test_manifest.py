from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mien.jobs.manifest import MANIFEST, ROWS, write_manifest
from mien.types import FaceOutcome


def outcome(file: str, **more: Any) -> FaceOutcome:
    return FaceOutcome(file, 0, (1.0, 2.0, 3.0, 4.0), [[1.0, 2.0]] * 5, 0.9, "anonymized", **more)


def test_the_manifest_says_nothing_of_who_people_are(tmp_path: Path) -> None:
    rows = [outcome("ä.png", person="Anna"), outcome(os.fsdecode(b"\xff.png"), similarity=0.1)]
    write_manifest(tmp_path / "m", rows, "hash")
    table = pq.read_table(tmp_path / "m")
    assert table.schema.names == MANIFEST.names
    assert not {"person", "latent", "codes", "embedding", "judged"} & set(table.schema.names)
    first, second = table.to_pylist()
    assert (first["file"], second["file"]) == ("ä.png", "\\xff.png")
    assert (first["x"], first["y"], first["width"], first["height"]) == (1, 2, 3, 4)
    assert first["similarity"] is None and second["similarity"] == pytest.approx(0.1)
    assert first["recipe"] == "hash" and b"Anna" not in (tmp_path / "m").read_bytes()


@pytest.mark.parametrize("count", [0, ROWS + 1])
def test_any_number_of_faces_is_written(tmp_path: Path, count: int) -> None:
    write_manifest(tmp_path / "m", (outcome(f"{number}.png") for number in range(count)), "hash")
    table = pq.read_table(tmp_path / "m")
    assert table.schema.names == MANIFEST.names
    assert table["file"].to_pylist() == [f"{number}.png" for number in range(count)]
