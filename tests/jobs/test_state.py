from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.datasets.storage.base import FolderReader
from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError, UsageError
from mien.jobs.shard import ShardResult
from mien.jobs.state import FileStates, JobState
from mien.recipe import Recipe
from mien.types import FaceOutcome, Skipped
from mien.util.files import part_name

NOTHING = ContentCheck(FolderReader(Path("nowhere")))  # knows no photo again
QUESTION = {"source": "/photos", "recipe": {"seed": 0}}


@pytest.fixture
def store(tmp_path: Path) -> JobState:
    return JobState(tmp_path / "dst", tmp_path / "dst.work")


def outcome(file: str = "a.png", **more: Any) -> FaceOutcome:
    return FaceOutcome(file, 0, (1.0, 2.0, 3.0, 4.0), [[1.0, 2.0]] * 5, 0.9, "anonymized", **more)


def sources(*names: str) -> FileStates:
    return {name: [5, 1_700_000_000_123_456_789] for name in names}


def finished(store: JobState, *names: str) -> ShardResult:
    """A finished shard whose photos are in DST."""
    for name in names:
        (store.dst / os.fsdecode(name)).write_bytes(b"photo")
    result = ShardResult([outcome(name, person="person-1") for name in names], [Skipped("b", "why")],
                         {name: name for name in names}, [5] * len(names), {},
                         "here:1", {"read": 0.5}, 1.5)
    store.finish_shard(0, sources(*names), result)
    return result


def test_both_folders_are_made_and_work_is_private(store: JobState) -> None:
    before = os.umask(0)
    try:
        with store.opened(QUESTION):
            pass
    finally:
        os.umask(before)
    assert store.dst.is_dir()
    assert stat.S_IMODE(store.work.stat().st_mode) == 0o700


def test_work_is_made_private_again(store: JobState) -> None:
    store.work.mkdir(mode=0o755)
    with store.opened(QUESTION):
        assert stat.S_IMODE(store.work.stat().st_mode) == 0o700


def test_folders_may_lie_deep_in_missing_ones(tmp_path: Path) -> None:
    with JobState(tmp_path / "a" / "b", tmp_path / "c" / "d").opened(QUESTION):
        pass
    assert (tmp_path / "a" / "b").is_dir()


def test_files_that_no_run_put_there_are_never_touched(store: JobState) -> None:
    store.dst.mkdir()
    (store.dst / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match="not empty") as caught, store.opened(QUESTION):
        pytest.fail("must not open")
    assert caught.value.exit_code == 4 and caught.value.hint
    assert not store.work.exists()
    assert (store.dst / "holiday.jpg").read_bytes() == b"mine"


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    folders = ((file, tmp_path / "work"), (tmp_path / "dst", file), (file / "x", tmp_path / "w"))
    for one in [JobState(dst, work) for dst, work in folders]:
        with pytest.raises(OutputError), one.opened(QUESTION):
            pytest.fail("must not open")
    assert file.read_bytes() == b"mine"


def test_a_work_answers_one_question(store: JobState) -> None:
    with store.opened(QUESTION):
        pass
    (store.dst / "a.png").write_bytes(b"photo")
    with store.opened(dict(QUESTION)):
        pass
    other = QUESTION | {"recipe": {"seed": 1}}
    with pytest.raises(UsageError, match="another recipe") as caught, store.opened(other):
        pytest.fail("must not open")
    assert "same arguments" in caught.value.hint
    with store.opened(QUESTION):  # and the refusal has spoilt nothing
        pass


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_work_whose_question_cannot_be_read_is_not_guessed(store: JobState, damage: bytes) -> None:
    with store.opened(QUESTION):
        pass
    (store.work / "run.json").write_bytes(damage)
    with pytest.raises(UsageError, match="damaged"), store.opened(QUESTION):
        pytest.fail("must not open")


def test_one_run_at_a_time(store: JobState) -> None:
    with store.opened(QUESTION):
        with pytest.raises(OutputError, match="another run is at work"), store.opened(QUESTION):
            pytest.fail("must not open")
        # Being refused must not let go of the first one's lock.
        with pytest.raises(OutputError, match="another run is at work"), store.opened(QUESTION):
            pytest.fail("must not open")
    with store.opened(QUESTION):
        pass


def shared(store: JobState, rank: int) -> Any:
    return JobState(store.dst, store.work).opened(QUESTION, rank)


def test_ranks_share_a_run_with_each_other_alone(store: JobState) -> None:
    with shared(store, 0), shared(store, 1):
        with pytest.raises(OutputError, match="ranks of this run are at work"), store.opened(QUESTION):
            pytest.fail("must not open")
        with pytest.raises(OutputError, match="another run is at work"), shared(store, 1):
            pytest.fail("must not open")
    with store.opened(QUESTION):
        pass


def test_a_rank_waits_for_a_whole_run_only_so_long(store: JobState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.state.RANKS_START", 0.1)
    with store.opened(QUESTION), pytest.raises(OutputError, match="another run is at work"), shared(store, 0):
        pytest.fail("must not open")
    with shared(store, 0):
        pass


def test_of_ranks_that_start_together_and_differ_the_second_is_refused(store: JobState) -> None:
    """As where the machines of a cluster are not alike: each would write its own question over the others'."""
    with shared(store, 0):
        other = JobState(store.dst, store.work).opened(QUESTION | {"recipe": {"seed": 0, "precision": "bfloat16"}}, 1)
        with pytest.raises(UsageError, match=r"another recipe\.precision \(which the run that began it did not have\)"):
            other.__enter__()
        with shared(store, 1):  # and the refusal has spoilt nothing
            pass


@pytest.mark.parametrize(("before", "now", "words"), [
    ({"seed": 0}, {"seed": 1}, r"another recipe\.seed \(0 before, 1 now\)$"),
    ({"pair": {"k": 1}, "seed": 0}, {"pair": {"k": 2}, "seed": 1},
     r"another recipe\.pair\.k \(1 before, 2 now\); recipe\.seed \(0 before, 1 now\)$"),
    ({"seed": 0}, {"seed": 0, "new": 3}, r"another recipe\.new \(which the run that began it did not have\)$"),
    ({"seed": 0, "old": 3}, {"seed": 0}, r"another recipe\.old \(which this version of mien does not have\)$"),
    ({"layers": [1]}, {"layers": [1, 2]}, r"another recipe\.layers \(\[1\] before, \[1, 2\] now\)$"),
    ({"layers": [1]}, {"layers": ["x" * 50]}, r"another recipe\.layers$")])
def test_a_refusal_names_the_fields_that_differ(store: JobState, before: dict[str, Any], now: dict[str, Any],
                                                words: str) -> None:
    with store.opened({"recipe": before}):
        pass
    with pytest.raises(UsageError, match=words):
        store.opened({"recipe": now}).__enter__()


@pytest.mark.parametrize("found", [{"recipe": {"optimise": {"margin": 0}}}, {"format": 1, "recipe": {}},
                                   {"format": 99, "recipe": {}}])
def test_a_work_of_another_version_is_refused_by_its_format(store: JobState, found: dict[str, Any]) -> None:
    store.work.mkdir()
    (store.work / "run.json").write_text(json.dumps(found))
    with pytest.raises(UsageError, match=f"has format {found.get('format', 1)}, this version's has format") as caught:
        store.opened(QUESTION).__enter__()
    assert "the version that began it" in caught.value.hint
    fields = caught.value.message.partition("it differs in ")[2]
    assert ("recipe.optimise" in fields) == ("optimise" in found["recipe"]) and "recipe.seed" in fields


def test_equal_settings_are_the_same_after_json(store: JobState) -> None:
    with store.opened({"recipe": {"layers": (1, 2)}}):
        pass
    with store.opened({"recipe": {"layers": (1, 2)}}):
        pass


def test_a_machine_that_would_choose_another_precision_hears_how_to_go_on(store: JobState) -> None:
    asked = {"recipe": {"precision": "float32", "seed": 0}}
    with store.opened(asked):
        pass
    with pytest.raises(UsageError, match=r"another recipe\.precision \(float32 before, bfloat16 now\)") as caught:
        store.opened({"recipe": {"precision": "bfloat16", "seed": 0}}).__enter__()
    assert "--set precision=float32" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"recipe\.seed \(0 before, 1 now\)") as caught:
        store.opened({"recipe": {"precision": "bfloat16", "seed": 1}}).__enter__()
    assert "--set precision" not in str(caught.value.hint)


@pytest.mark.parametrize("recipe", [None, [], "default"])
def test_a_question_without_a_recipe_is_damaged(store: JobState, recipe: Any) -> None:
    with store.opened(QUESTION):
        pass
    asked = json.loads((store.work / "run.json").read_text()) | {"recipe": recipe}
    (store.work / "run.json").write_text(json.dumps(asked))
    with pytest.raises(UsageError, match="is damaged"):
        store.opened(QUESTION).__enter__()


def test_options_are_not_taken_for_versions(store: JobState) -> None:
    with store.opened(QUESTION | {"files": {"only": "1f"}}):
        pass
    with pytest.raises(UsageError, match=r"another files\.except \(not given before\); "
                                         r"files\.only \(given before, not now\)$"):
        store.opened(QUESTION | {"files": {"except": "2e"}}).__enter__()


def test_a_rank_leaves_what_others_are_just_writing(store: JobState) -> None:
    left = store.dst / ".mien-123-0a1b2c3d"
    with shared(store, 0) as first:
        left.write_bytes(b"being written")
        first.sweep()
        assert left.exists()
    with store.opened(QUESTION):
        assert not left.exists()


def test_the_lock_is_free_after_a_failure(store: JobState) -> None:
    with pytest.raises(ZeroDivisionError), store.opened(QUESTION):
        raise ZeroDivisionError
    with store.opened(QUESTION):
        pass


def test_photos_keep_their_places_and_new_ones_come_last(store: JobState) -> None:
    with store.opened(QUESTION):
        assert store.files(["b.png", "d.png"], store.known_files()) == ["b.png", "d.png"]
        assert store.files(["a.png", "b.png", "d.png"], store.known_files()) == ["b.png", "d.png", "a.png"]
        assert store.files(["a.png", "b.png", "d.png"], store.known_files()) == ["b.png", "d.png", "a.png"]


@pytest.fixture
def opened(store: JobState) -> Iterator[JobState]:
    with store.opened(QUESTION):
        yield store


def test_a_finished_shard_comes_back_as_it_was(opened: JobState) -> None:
    names = ["a.png", "ä\n.png", os.fsdecode(b"\xff.png")]
    assert opened.shard(0, sources(*names)) is None
    result = finished(opened, *names)
    back = opened.shard(0, sources(*names))
    assert back is not None and back.outputs == result.outputs and back.skipped == result.skipped
    assert [list(row.box) for row in back.outcomes] == [list(row.box) for row in result.outcomes]
    assert (back.wall, back.stages) == (result.wall, result.stages)
    assert opened.finished(0) == back


def test_a_shard_of_other_photos_is_done_again(opened: JobState) -> None:
    finished(opened, "a.png")
    assert opened.shard(0, sources("a.png")) is not None
    assert opened.shard(1, sources("a.png")) is None
    assert opened.shard(0, sources("a.png", "b.png")) is None


@pytest.mark.parametrize("stamp", [[6, 1_700_000_000_123_456_789], [5, 1_700_000_000_123_456_790], None])
def test_what_was_made_of_a_photo_that_is_no_longer_the_same_leaves_dst(
    opened: JobState, stamp: list[int] | None
) -> None:
    finished(opened, "a.png", "b.png")
    assert opened.shard(0, sources("a.png") | {"b.png": stamp}) is None
    assert (opened.dst / "b.png").exists(), "whoever only asks changes nothing"
    assert opened.shard(0, sources("a.png") | {"b.png": stamp}, NOTHING) is None
    assert not (opened.dst / "b.png").exists()


def test_a_damaged_marker_reaches_nothing_outside_dst(opened: JobState, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    finished(opened, "a.png")
    file = opened.work / "shards" / "000000.json"
    outputs = {"a.png": "../mine.png", "b.png": str(tmp_path / "mine.png")}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"outputs": outputs}))
    assert opened.shard(0, sources("b.png"), NOTHING) is None
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_a_shard_whose_photo_is_gone_is_done_again(opened: JobState) -> None:
    finished(opened, "a.png", "b.png")
    (opened.dst / "b.png").unlink()
    assert opened.shard(0, sources("a.png", "b.png")) is None
    (opened.dst / "b.png").mkdir()
    assert opened.shard(0, sources("a.png", "b.png")) is None


def test_a_shard_whose_photo_was_cut_short_is_done_again(opened: JobState) -> None:
    finished(opened, "a.png", "b.png")
    (opened.dst / "b.png").write_bytes(b"phot")
    assert opened.shard(0, sources("a.png", "b.png")) is None


@pytest.mark.parametrize("change", [
    {"sizes": [5, 5]}, {"sizes": ["x"]},
    {"outcomes": None}, {"outcomes": [{"file": "a.png"}]}, {"outcomes": [1]}, {"skipped": [{"x": 1}]},
    {"outputs": None}, {"outputs": [1]}, {"wall": "absent"}])
def test_a_damaged_shard_is_done_again(opened: JobState, change: dict[str, Any]) -> None:
    finished(opened, "a.png")
    file = opened.work / "shards" / "000000.json"
    data = json.loads(file.read_text()) | change
    file.write_text(json.dumps({name: value for name, value in data.items() if value != "absent"}))
    assert opened.shard(0, sources("a.png")) is None


def test_no_part_of_a_shard_file_passes_for_the_whole(opened: JobState) -> None:
    finished(opened, "a.png")
    file = opened.work / "shards" / "000000.json"
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        assert opened.shard(0, sources("a.png")) is None


def test_what_a_killed_run_was_just_writing_is_cleared_away(store: JobState) -> None:
    with store.opened(QUESTION):
        (store.dst / "deep").mkdir()
        (store.dst / "deep" / "a.png").write_bytes(b"photo")
    left = [store.dst / "deep" / part_name(), store.dst / part_name(), store.work / part_name(),
            store.work / "shards" / part_name(), store.work / "latents" / part_name()]
    for path in left:
        path.write_bytes(b"half")
    with store.opened(QUESTION):
        pass
    assert [path for path in left if path.exists()] == []
    assert (store.dst / "deep" / "a.png").read_bytes() == b"photo"


def test_manifest_and_record_go_into_dst_and_name_nobody(opened: JobState) -> None:
    recipe = Recipe().with_changes({"seed": 12345})
    opened.write_manifest([outcome(person="Anna")], {"mien": "1", "recipe": recipe.model_dump(mode="json"),
                                                     "recipe_hash": recipe.hash}, recipe.hash)
    assert {path.name for path in opened.dst.iterdir()} == {"mien.parquet", "mien.json"}
    data = b"".join(path.read_bytes() for path in opened.dst.iterdir())
    assert b"Anna" not in data and b"12345" not in data and recipe.hash.encode() not in data
    record = json.loads((opened.dst / "mien.json").read_text())
    assert record["mien"] == "1" and "seed" not in record["recipe"] and record["seed"] == "kept private"
    assert Recipe.model_validate(record["recipe"]).hash == record["recipe_hash"] == Recipe().hash
    assert (opened.work / "faces.parquet").stat().st_mode & 0o077 == 0


def test_forgetting_deletes_work_alone(store: JobState) -> None:
    with store.opened(QUESTION):
        finished(store, "a.png")
        store.forget()
    assert not store.work.exists() and (store.dst / "a.png").exists()
    with pytest.raises(OutputError, match="not empty"), store.opened(QUESTION):
        pytest.fail("there is no run left that could go on")


def test_a_folder_of_somebody_else_is_no_work(store: JobState) -> None:
    store.work.mkdir()
    (store.work / "holiday.png").write_bytes(b"mine")
    before = store.work.stat().st_mode
    with pytest.raises(OutputError, match=r"holds holiday\.png and no run"), store.opened(QUESTION):
        pytest.fail("must not open")
    assert store.work.stat().st_mode == before and [path.name for path in store.work.iterdir()] == ["holiday.png"]


def test_what_a_run_that_was_killed_at_once_left_is_gone_on_with(store: JobState) -> None:
    (store.work / "shards").mkdir(parents=True)
    for name in ("lock", "lock.3", part_name()):
        (store.work / name).touch()
    with store.opened(QUESTION):
        pass


def test_forgetting_leaves_what_others_have_put_into_work(store: JobState) -> None:
    with store.opened(QUESTION):
        finished(store, "a.png")
        (store.work / "diary.txt").write_text("mine")
        (store.work / "notes").mkdir()
        store.forget()
    assert {path.name for path in store.work.iterdir()} <= {"diary.txt", "notes", "lock"}
    assert (store.work / "diary.txt").read_text() == "mine"
