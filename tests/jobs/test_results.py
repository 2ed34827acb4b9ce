from __future__ import annotations

import pytest

from mien.jobs.results import Outcomes, Outputs
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


@pytest.fixture
def outputs() -> Outputs:
    """One kept its name, one became a PNG, one was not written."""
    return Outputs(["a.jpg", "b.gif", "c.jpg"], {"b.gif": "b.gif.png"}, {"c.jpg"})


def test_they_are_a_mapping_of_what_was_written(outputs: Outputs) -> None:
    assert dict(outputs) == {"a.jpg": "a.jpg", "b.gif": "b.gif.png"} and len(outputs) == 2
    assert "c.jpg" not in outputs and outputs.get("c.jpg") is None
    assert outputs.among(["c.jpg", "b.gif"]) == {"b.gif": "b.gif.png"}


def test_names_are_claimed_by_what_was_written_under_them_alone(outputs: Outputs) -> None:
    assert [name for name in ("a.jpg", "b.gif", "b.gif.png", "c.jpg", "d.jpg") if outputs.claimed(name)] == [
        "a.jpg", "b.gif.png"]


def test_two_photos_that_were_written_under_one_name(outputs: Outputs) -> None:
    assert outputs.clash() == ""
    assert Outputs([*outputs.names, "b.gif.png"], outputs.renamed, outputs.absent).clash() == "b.gif.png"
    assert Outputs([*outputs.names, "b.gif.png"], outputs.renamed, {"b.gif.png"}).clash() == ""


def test_other_names_that_an_earlier_call_may_have_written(outputs: Outputs) -> None:
    assert list(outputs.others(lambda name: f"{name}.png")) == ["a.jpg.png", "b.gif", "c.jpg", "c.jpg.png"]
