"""Ranks that a scheduler starts: each does its own shards in a pass, and knows nothing of the others."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import mien
from helpers import fake_run
from helpers.fake_run import ANNA, TINY, album, call, photos_in, rows_in, save, squares
from mien.errors import OutputError, UsageError
from mien.jobs.executors.workers import Workers
from mien.jobs.face_index import FaceIndex
from mien.jobs.job import Job
from mien.jobs.task import Task
from mien.jobs.worker import Worker

pytestmark = pytest.mark.usefixtures("brush", "many_shards")

KEYED = {"key": b"k" * 16}
PEOPLE = TINY.with_changes({"identity": "per-person"})


@pytest.fixture
def many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)


def ranks(src: Path, dst: Path, one_pass: str, size: int = 3, **asked: Any) -> dict[int, Any]:
    """All ranks of a pass at once: what comes of each, a summary or an error. A rank's thread bears its number."""
    came: dict[int, Any] = {}

    def rank(number: int) -> None:
        try:
            came[number] = fake_run.run(src, dst, workers=Workers(rank=number, world_size=size), passes=(one_pass,),
                                        **asked)
        except BaseException as error:
            came[number] = error

    threads = [threading.Thread(target=rank, args=(i,), name=str(i), daemon=True) for i in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "it waits and waits"
    return came


def assign(src: Path, dst: Path, **asked: Any) -> None:
    fake_run.run(src, dst, passes=("assign",), **asked)


def all_passes(src: Path, dst: Path, **asked: Any) -> Any:
    """As a scheduler's script does it; the summary of the call that ends it."""
    indexed = ranks(src, dst, "index", **asked)
    assign(src, dst, **asked)
    done = ranks(src, dst, "anonymize", **asked)
    for came in (indexed, done):
        assert [error for error in came.values() if isinstance(error, BaseException)] == []
        assert not any(summary.complete for summary in came.values())
    return fake_run.run(src, dst, **asked)


def starts(dst: Path) -> dict[str, Any]:
    """The pool face that each face started from, as WORK says it: quick runs paint the same face whichever it was."""
    work = dst.with_name(f"{dst.name}.work")
    pairs = {f"{file.stem}/{name}": int(value) for file in sorted((work / "latents").iterdir())
             for name, value in load_file(file).items() if name.endswith(".pair")}
    return {"assignment": (work / "assignment.safetensors").read_bytes(), "pairs": pairs}


def same(one: Path, other: Path) -> bool:
    return photos_in(one) == photos_in(other) and rows_in(one) == rows_in(other) and starts(one) == starts(other)


def all_well(came: dict[int, Any]) -> bool:
    return not any(isinstance(one, BaseException) for one in came.values())


def before_each(monkeypatch: pytest.MonkeyPatch, act: Callable[[Task, int], None]) -> None:
    really = Worker.do

    def do(self: Worker, task: Task, *tell: Any) -> None:
        act(task, int(threading.current_thread().name))
        really(self, task, *tell)

    monkeypatch.setattr(Worker, "do", do)


@pytest.mark.parametrize("identity", ["per-photo", "per-person"])
def test_ranks_leave_what_one_process_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str) -> None:
    src, asked = album(tmp_path / "src", 14), {"recipe": TINY.with_changes({"identity": identity}), **KEYED}
    alone = fake_run.run(src, tmp_path / "alone", **asked)
    did: list[tuple[str, int, int]] = []
    before_each(monkeypatch, lambda task, rank: did.append((task.what, task.shard, rank)))
    summary = all_passes(src, tmp_path / "shared", **asked)
    assert same(tmp_path / "alone", tmp_path / "shared")
    assert (summary.photos, summary.faces, summary.statuses) == (alone.photos, alone.faces, alone.statuses)
    # Each shard once in each pass, by the rank that it is left to: the last call has nothing to do.
    assert sorted(did) == sorted((what, shard, shard % 3) for what in ("index", "anonymize") for shard in range(7))


def test_a_pass_asks_for_the_one_before(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    first = Workers(rank=0, world_size=2)
    for one in ("assign", "anonymize"):
        with pytest.raises(UsageError, match="nothing is indexed yet") as refused:
            fake_run.run(src, dst, passes=(one,))
        assert "--pass index" in refused.value.hint
    fake_run.run(src, dst, workers=first, passes=("index",))
    with pytest.raises(UsageError, match="the faces of 4 photographs are not indexed yet"):
        assign(src, dst)
    fake_run.run(src, dst, workers=Workers(rank=1, world_size=2), passes=("index",))
    with pytest.raises(UsageError, match="the faces of 4 photographs have no pool faces yet") as refused:
        fake_run.run(src, dst, workers=first, passes=("anonymize",))
    assert "--pass assign" in refused.value.hint and photos_in(dst) == {}
    assign(src, dst)
    assert fake_run.run(src, dst, workers=first, passes=("anonymize",)).photos == 4


@pytest.mark.parametrize("passes", [("index", "assign", "anonymize"), ("assign",), ("index", "assign")])
def test_ranks_share_no_pass_that_one_process_has_to_do(tmp_path: Path, passes: tuple[str, ...]) -> None:
    src = album(tmp_path / "src", 2)
    with pytest.raises(UsageError, match="ranks can share") as refused:
        Job.open(src, tmp_path / "dst", TINY, workers=Workers(rank=0, world_size=2), passes=passes)
    assert "--pass assign to one process" in refused.value.hint
    with pytest.raises(UsageError, match="there is no pass 'survey'"):
        mien.anonymize_dataset(src, tmp_path / "dst", TINY, passes=("survey",))


def test_the_command_refuses_the_same(tmp_path: Path) -> None:
    src = album(tmp_path / "src", 2)
    for options, words in ((["--rank", "1", "--world-size", "2"], "ranks can share"),
                           (["--pass", "survey"], "there is no pass 'survey'")):
        done = call("anonymize", src, tmp_path / "dst", *options)
        assert done.returncode == 2 and words in done.stderr and not (tmp_path / "dst").exists()


@pytest.mark.parametrize("what", ["index", "anonymize"])
def test_what_a_rank_left_that_died_is_done_by_the_last_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                             what: str) -> None:
    src, dst = album(tmp_path / "src", 12), tmp_path / "dst"
    fake_run.run(src, tmp_path / "alone")
    really = Worker.do

    def die(task: Task, rank: int) -> None:
        if rank == 1 and task.what == what and task.shard > 1:
            raise KeyboardInterrupt

    before_each(monkeypatch, die)
    came = ranks(src, dst, "index")
    if what == "index":
        with pytest.raises(UsageError, match="the faces of 2 photographs are not indexed yet"):
            assign(src, dst)
    else:
        assign(src, dst)
        came = ranks(src, dst, "anonymize")
    assert isinstance(came[1], KeyboardInterrupt) and not isinstance(came[0], BaseException)
    monkeypatch.setattr(Worker, "do", really)
    assert fake_run.run(src, dst).photos == 12 and same(tmp_path / "alone", dst)


@pytest.mark.parametrize("between", ["index", "assign"])
def test_photos_that_are_touched_between_passes_are_done_all_the_same(tmp_path: Path, between: str) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    fake_run.run(src, tmp_path / "alone")
    ranks(src, dst, "index")
    if between == "index":
        os.utime(src / "1" / "001.png")
    assign(src, dst)
    if between == "assign":
        for path in src.rglob("*.png"):
            os.utime(path)
    came = ranks(src, dst, "anonymize")
    assert all_well(came) and sum(summary.photos for summary in came.values()) == 8
    assert fake_run.run(src, dst).photos == 8 and same(tmp_path / "alone", dst)


def test_a_photo_that_is_changed_between_passes_gets_nothing_of_the_old_one(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    ranks(src, dst, "index")
    assign(src, dst)
    save(src / "1" / "001.png", squares(ANNA, ANNA, seed=77))
    came = ranks(src, dst, "anonymize")
    assert all_well(came)
    assert [one.file for summary in came.values() for one in summary.skipped] == ["1/001.png"]
    assert "1/001.png" not in photos_in(dst)
    assert fake_run.run(src, dst).photos == 8
    assert len([row for row in rows_in(dst) if row["file"] == "1/001.png"]) == 2


def test_photos_that_come_after_the_index_wait_for_the_next_call(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 7), tmp_path / "dst"
    ranks(src, dst, "index")
    save(src / "2" / "new.png", squares(ANNA, seed=99))
    assign(src, dst)
    assert sum(summary.photos for summary in ranks(src, dst, "anonymize").values()) == 7
    assert fake_run.run(src, dst).photos == 8


def test_a_rank_is_not_started_twice_and_nothing_runs_beside_it(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst, started, go_on = album(tmp_path / "src", 4), tmp_path / "dst", threading.Event(), threading.Event()
    really, first = FaceIndex.write, Workers(rank=0, world_size=2)

    def wait(self: FaceIndex, path: Path) -> None:
        started.set()
        go_on.wait(60)
        really(self, path)

    monkeypatch.setattr(FaceIndex, "write", wait)
    rank = threading.Thread(target=fake_run.run, args=(src, dst), kwargs={"workers": first, "passes": ("index",)})
    rank.start()
    assert started.wait(60)
    try:
        for asked, words in (({"workers": first, "passes": ("index",)}, "another run is at work"),
                             ({}, "ranks of this run are at work"),
                             ({"passes": ("assign",)}, "ranks of this run are at work")):
            with pytest.raises(OutputError, match=words):
                fake_run.run(src, dst, **asked)
    finally:
        go_on.set()
        rank.join(60)
    assert fake_run.run(src, dst).photos == 4


def test_a_rank_that_is_asked_something_else_is_refused(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 4), tmp_path / "dst"
    fake_run.run(src, dst, workers=Workers(rank=0, world_size=2), passes=("index",))
    with pytest.raises(UsageError, match=r"another recipe\.seed \(0 before, 5 now\)"):
        fake_run.run(src, dst, TINY.with_changes({"seed": 5}), workers=Workers(rank=1, world_size=2),
                     passes=("index",))


@pytest.mark.parametrize("passes", [("index",), ("assign",), ("anonymize",), ("index", "assign", "anonymize")])
def test_a_source_that_is_not_there_empties_nothing_in_any_pass(tmp_path: Path, passes: tuple[str, ...]) -> None:
    """A disk that is not mounted is an empty folder."""
    src, dst = album(tmp_path / "src", 4), tmp_path / "dst"
    fake_run.run(src, dst)
    before = photos_in(dst)
    src.rename(tmp_path / "away")
    src.mkdir()
    with pytest.raises(OutputError, match="holds none of the photographs"):
        fake_run.run(src, dst, passes=passes)
    assert photos_in(dst) == before


def test_an_index_that_is_missing_beside_an_old_assignment_is_asked_for(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    fake_run.run(src, dst)
    for i in range(4):
        save(src / "2" / f"new{i}.png", squares(ANNA, seed=90 + i))
    fake_run.run(src, dst, workers=Workers(rank=0, world_size=2), passes=("index",))
    with pytest.raises(UsageError, match="the faces of 2 photographs are not indexed yet") as refused:
        fake_run.run(src, dst, workers=Workers(rank=1, world_size=2), passes=("anonymize",))
    assert "--pass index" in refused.value.hint


def test_a_lost_index_of_a_finished_shard_is_built_by_its_rank(tmp_path: Path) -> None:
    """People are compared with those of finished shards, though nothing of that rank is to be done."""
    src, dst, asked = album(tmp_path / "src", 8), tmp_path / "dst", {"recipe": PEOPLE, **KEYED}
    fake_run.run(src, dst, **asked)
    (tmp_path / "dst.work" / "faces" / "000000.safetensors").unlink()
    save(src / "2" / "new.png", squares(ANNA, seed=90))  # of shard 4, another rank's
    assert all_well(ranks(src, dst, "index", **asked))
    assign(src, dst, **asked)
    assert all_well(ranks(src, dst, "anonymize", **asked)) and fake_run.run(src, dst, **asked).photos == 9


def test_a_finished_photo_that_changes_while_its_lost_index_is_built_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, dst, asked = album(tmp_path / "src", 6), tmp_path / "dst", {"recipe": PEOPLE, **KEYED}
    fake_run.run(src, dst, **asked)
    (tmp_path / "dst.work" / "faces" / "000001.safetensors").unlink()
    first = json.loads((tmp_path / "dst.work" / "files.json").read_text())[2]
    save(src / "2" / "new.png", squares(ANNA, seed=90))
    really = Worker.do

    def do(self: Worker, task: Task, *tell: Any) -> None:
        if task.what == "index" and task.shard == 1:
            save(src / first, squares(ANNA, ANNA, seed=91))
        really(self, task, *tell)

    monkeypatch.setattr(Worker, "do", do)
    assert fake_run.run(src, dst, **asked).photos == 7
    monkeypatch.setattr(Worker, "do", really)
    assert fake_run.run(src, dst, **asked).photos == 7
