from __future__ import annotations

import json
from typing import Any

import pytest

from mien.jobs.shard import ShardResult, shard_size
from mien.types import FaceOutcome, Skipped


@pytest.fixture
def result() -> ShardResult:
    face = FaceOutcome("a.png", 0, (1.0, 2.0, 3.0, 4.0), [[1.0, 2.0]] * 5, 0.9, "anonymized", similarity=0.1)
    return ShardResult([face], [Skipped("b", "why")], {"a.png": "a.png"}, [5], {"a.png": "0f"}, "here:1",
                       {"read": 0.5}, 1.5)


def marker(result: ShardResult) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(vars(result), default=vars))
    return data


@pytest.mark.parametrize(("batch", "size"), [(1, 8), (8, 8), (9, 16), (64, 64)])
def test_a_shard_fills_a_batch(batch: int, size: int) -> None:
    assert shard_size(batch) == size


def test_a_marker_says_what_was_done(result: ShardResult) -> None:
    read = ShardResult.from_marker(marker(result))
    assert read is not None and marker(read) == marker(result)


@pytest.mark.parametrize("change", [{"sizes": [5, 5]}, {"outcomes": [{"file": "a.png"}]}, {"outputs": 1},
                                    {"stages": None}, {"wall": "soon"}])
def test_what_is_no_marker_is_no_result(result: ShardResult, change: dict[str, Any]) -> None:
    assert ShardResult.from_marker(marker(result) | change) is None


def test_photos_that_could_not_be_read_are_those_without_a_digest(result: ShardResult) -> None:
    assert result.unread == ["b"]
    result.digests["b"] = "1f"  # it was read, and is no photograph
    assert result.unread == []
