from __future__ import annotations

import pytest

from mien.jobs.results import Outcomes
from mien.jobs.shard import ShardResult
from mien.types import FaceOutcome

SHARDS = [["a", "b"], [], ["c"]]


def outcome(file: str) -> FaceOutcome:
    return FaceOutcome(file, 0, (1.0, 2.0, 3.0, 4.0), [[1.0, 2.0]] * 5, 0.9, "anonymized")


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes(lambda index: ShardResult([outcome(file) for file in SHARDS[index]]), len(SHARDS), 3)


def test_they_are_a_sequence_of_all_shards(outcomes: Outcomes) -> None:
    assert [row.file for row in outcomes] == ["a", "b", "c"] and len(outcomes) == 3
    assert (outcomes[0].file, outcomes[2].file, outcomes[-2].file) == ("a", "c", "b")
    assert [row.file for row in outcomes[1:]] == ["b", "c"]
    for place in (3, -4):
        with pytest.raises(IndexError):
            outcomes[place]
