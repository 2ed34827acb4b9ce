"""What the first of several ranks does with the others' shares."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_run
from helpers.fake_run import ANNA, TINY, album, photos_in, rows_in, save, squares
from mien.api import make_request
from mien.errors import OutputError
from mien.jobs.assignment.assign import Assignment
from mien.jobs.assignment.face_index import FaceIndex, FileStates
from mien.jobs.executors import ranks as module
from mien.jobs.executors.config import Workers
from mien.jobs.executors.rank_registry import Look, Peers, State
from mien.jobs.executors.ranks import Ranks
from mien.jobs.run import Progress, Run
from mien.jobs.state import JobState
from mien.jobs.worker import Task, Worker

FOREVER = 1e9


def tasks(count: int) -> list[Task]:
    return [Task("anonymize", i, (f"{i}.png",)) for i in range(count)]


class Notebook:
    """An engine that only notes what it is to do."""

    workers, leads = 1, True

    def __init__(self) -> None:
        self.done: list[int] = []

    def run(self, tasks: Iterable[Task], tell: Any) -> Iterator[Task]:
        for task in tasks:
            self.done.append(task.shard)
            yield task

    def close(self) -> None:
        pass


class Told:
    """Of two peers the other, who is as it is told to be, look by look; the last answer stays."""

    rank = 0

    def __init__(self, states: Sequence[State], looks: dict[int, Sequence[Look]]) -> None:
        self.states, self.looks = list(states), {key: list(rows) for key, rows in looks.items()}
        self.waits: list[list[int]] = []
        self.asked: Counter[int] = Counter()

    def whose(self, shard: int) -> int:
        return shard % 2

    def state(self, rank: int, what: str) -> State:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def look(self, task: Task) -> Look:
        self.asked[task.shard] += 1
        rows = self.looks[task.shard]
        return rows.pop(0) if len(rows) > 1 else rows[0]

    def wait(self, ranks: list[int]) -> None:
        self.waits.append(ranks)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr("mien.jobs.assignment.driver.POLL", 0.01)


def shared(peers: Told, patience: float = FOREVER, rank: int = 0) -> tuple[list[int], list[int]]:
    """The shards that came back, and those that this rank did itself; of six shards by two ranks."""
    engine, peers.rank = Notebook(), rank
    ranks = Ranks(engine, peers, patience)  # type: ignore[arg-type]
    return [task.shard for task in ranks.run(tasks(6), lambda photos, faces: None)], engine.done


def test_the_first_waits_for_all_and_the_others_for_nobody() -> None:
    peers = Told(["at it"], {1: ["done"], 3: ["as before", "as before", "done"], 5: ["as before", "done"]})
    assert shared(peers) == ([0, 2, 4, 1, 5, 3], [0, 2, 4])
    assert peers.waits == [[1], [1], []] and peers.asked == {1: 1, 3: 3, 5: 2}
    assert shared(peers, rank=1) == ([1, 3, 5], [1, 3, 5])


def test_what_is_stale_is_done_at_once() -> None:
    assert shared(Told(["at it"], {1: ["done"], 3: ["stale"], 5: ["as before", "done"]}))[1] == [0, 2, 4, 3]


@pytest.mark.parametrize("states", [["at it", "absent"], ["past it"]])
def test_what_a_rank_left_that_has_ended_is_done_at_once(states: list[State]) -> None:
    looks: dict[int, Sequence[Look]] = {1: ["as before", "done"], 3: ["as before"], 5: ["as before"]}
    came, did = shared(Told(states, looks))
    assert sorted(came) == list(range(6)) and {3, 5} <= set(did)
    assert (1 in did) == (states == ["past it"])


def test_a_rank_that_has_not_come_yet_is_waited_for() -> None:
    looks: dict[int, Sequence[Look]] = {1: ["as before"] * 9 + ["done"], 3: ["done"], 5: ["done"]}
    assert shared(Told(["absent"] * 5 + ["at it"], looks))[1] == [0, 2, 4]
    begun = time.monotonic()
    assert shared(Told(["absent"], {1: ["as before"], 3: ["done"], 5: ["done"]}), patience=0.2)[1] == [0, 2, 4, 1]
    assert 0.2 < time.monotonic() - begun < 20


def test_photos_are_looked_at_only_when_a_shard_s_file_is_new(tmp_path: Path) -> None:
    store, stamps = JobState(tmp_path / "dst", tmp_path / "work"), Counter[str]()

    def ask(names: Sequence[str]) -> FileStates:
        stamps.update(names)
        return {name: [1, 1] for name in names}

    task, peers = tasks(1)[0], Peers(store, 0, 2, ask)
    with store.opened({}, rank=0, size=2):
        store.write_json("shards/000000.json", {"sources": {"0.png": [1, 0]}})
        peers.remember("anonymize", 0)
        assert [peers.look(task) for _ in range(5)] == ["as before"] * 5 and not stamps
        store.write_json("shards/000000.json", {"sources": {"0.png": [1, 2]}})
        assert [peers.look(task) for _ in range(5)] == ["stale"] + ["as before"] * 4 and stamps == {"0.png": 1}
        whole = {"outcomes": [], "skipped": [], "outputs": {}, "worker": "", "stages": {}, "wall": 0.0}
        store.write_json("shards/000000.json", {"sources": {"0.png": [1, 1]}} | whole)
        assert peers.look(task) == "done"


@pytest.fixture
def many_shards(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    monkeypatch.setattr("mien.jobs.run.PATIENCE", 1000)


def together(src: Path, dst: Path, size: int = 2, seconds: float = 120, **asked: Any) -> dict[int, Any]:
    """What comes of each rank: a summary or an error. A rank's thread bears its number."""
    came: dict[int, Any] = {}

    def rank(number: int) -> None:
        try:
            came[number] = fake_run.run(src, dst, crew=Workers(rank=number, size=size), **asked)
        except BaseException as error:
            came[number] = error

    threads = [threading.Thread(target=rank, args=(i,), name=str(i), daemon=True) for i in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "it waits and waits"
    return came


def doing(monkeypatch: pytest.MonkeyPatch, before: Callable[[Task, int], None] = lambda task, rank: None,
          after: Callable[[Task, int], None] = lambda task, rank: None) -> None:
    really = Worker.do

    def do(self: Worker, task: Task, *tell: Any) -> None:
        number = int(threading.current_thread().name)
        before(task, number)
        really(self, task, *tell)
        after(task, number)

    monkeypatch.setattr(Worker, "do", do)


@pytest.mark.parametrize("identity", ["per-photo", "per-person"])
def test_one_rank_alone_decides_who_starts_from_which_pool_face(
    many_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    src, writers, really = album(tmp_path / "src", 12), list[str](), Assignment.write
    asked = {"recipe": TINY.with_changes({"identity": identity}), "key": b"k" * 16}
    fake_run.run(src, tmp_path / "alone", **asked)

    def write(self: Assignment, path: Path) -> None:
        writers.append(threading.current_thread().name)
        time.sleep(0.3)
        really(self, path)

    monkeypatch.setattr(Assignment, "write", write)
    came = together(src, tmp_path / "shared", 3, **asked)
    assert came[0].photos == 12 and writers == ["0"]
    assert photos_in(tmp_path / "shared") == photos_in(tmp_path / "alone")
    assert rows_in(tmp_path / "shared") == rows_in(tmp_path / "alone")


@pytest.mark.parametrize("what", ["survey", "anonymize"])
def test_a_photo_that_is_touched_stops_no_rank(many_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               what: str) -> None:
    src, dst, touched, really = album(tmp_path / "src", 8), tmp_path / "dst", list[str](), Worker.do

    def touch(task: Task, rank: int) -> None:
        if rank == 1 and task.what == what and not touched:
            touched.append(task.names[0])
            os.utime(src / task.names[0])

    doing(monkeypatch, after=touch)
    came = together(src, dst)
    skipped = [one.file for one in came[0].skipped]
    assert skipped == ([] if what == "survey" else touched) and len(photos_in(dst)) == 8 - len(skipped)
    monkeypatch.setattr(Worker, "do", really)
    assert fake_run.run(src, dst).photos == 8


@pytest.mark.parametrize("what", ["survey", "anonymize"])
def test_the_first_does_what_a_rank_left_that_died(many_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   what: str) -> None:
    src, dst, met = album(tmp_path / "src", 12), tmp_path / "dst", threading.Progress()
    fake_run.run(src, tmp_path / "alone")
    really = Peers.state

    def state(self: Peers, rank: int, part: str) -> State:
        found = really(self, rank, part)
        if rank == 1 and found == "at it":
            met.set()
        return found

    def die(task: Task, rank: int) -> None:
        if rank == 1 and task.what == what and task.shard > 1:
            met.wait(60)
            raise KeyboardInterrupt

    monkeypatch.setattr(Peers, "state", state)
    doing(monkeypatch, before=die)
    came = together(src, dst)
    assert isinstance(came[1], KeyboardInterrupt) and came[0].photos == 12
    assert photos_in(dst) == photos_in(tmp_path / "alone") and rows_in(dst) == rows_in(tmp_path / "alone")


def test_a_rank_without_a_first_says_so(many_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.PATIENCE", 0.3)
    with pytest.raises(OutputError, match="rank 0 has not said"):
        fake_run.run(album(tmp_path / "src", 8), tmp_path / "dst", crew=Workers(rank=1, size=2))


def test_the_first_says_whom_it_waits_for(many_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.PATIENCE", 0.5)
    events, ready = list[Progress](), fake_run.square_ready()
    request = make_request(album(tmp_path / "src", 12), tmp_path / "dst", TINY, *[None] * 6)
    Run(request, ready.networks, ready.pool, Workers(rank=0, size=3)).execute(events.append)
    assert {event.note for event in events} == {"", "waiting for rank 1, 2"} and events[-1].note == ""
    log = (tmp_path / "dst.work" / "events.jsonl").read_text()
    assert '"waiting for ranks": [1, 2]' in log


def test_no_rank_goes_by_what_was_decided_before_where_others_are_new(
    many_shards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own shard was matched in an earlier call; which pool faces are free hangs on those of now."""
    src, dst, seen = album(tmp_path / "src", 8), tmp_path / "dst", list[bool]()
    fake_run.run(src, dst)
    lost = [row["file"] for row in rows_in(dst)]
    names = json.loads((tmp_path / "dst.work" / "files.json").read_text())
    own = next(name for name in names[2:4] if name in lost)
    (dst / own).unlink()  # of shard 1, rank 1's
    before = (tmp_path / "dst.work" / "matching.safetensors").read_bytes()
    save(src / "2" / "new.png", squares(ANNA, seed=99))  # of shard 4, rank 0's

    def decided(task: Task, rank: int) -> None:
        if rank == 0 and task.what == "survey":
            time.sleep(0.5)
        if rank == 1 and task.what == "anonymize":
            seen.append((tmp_path / "dst.work" / "matching.safetensors").read_bytes() != before)

    doing(monkeypatch, decided)
    came = together(src, dst)
    assert came[0].photos == 9 and seen == [True]


def test_a_rank_that_starts_late_has_nothing_to_wait_for(many_shards: None, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    fake_run.run(src, dst)
    name = fake_run.rows_in(dst)[-1]["file"]
    (dst / name).unlink()
    monkeypatch.setattr(FaceIndex, "write", lambda *_: pytest.fail("all was looked at"))
    for rank in (1, 0):
        fake_run.run(src, dst, crew=Workers(rank=rank, size=2))
    assert len(photos_in(dst)) == 8
