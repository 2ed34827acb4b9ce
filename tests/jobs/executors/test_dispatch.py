"""Giving tasks out: each is done, whoever dies or dawdles on the way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import FaceError, MienError
from mien.jobs.executors import dispatch as module
from mien.jobs.executors.dispatch import WorkerDied, dispatch
from mien.jobs.task import Task


def tasks(count: int) -> list[Task]:
    return [Task("anonymize", i, (f"{i}.png",)) for i in range(count)]


def answered(error: Exception | None = None) -> Future[None]:
    future: Future[None] = Future()
    if error:
        future.set_exception(error)
    else:
        future.set_result(None)
    return future


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 30), slots=st.integers(1, 5), deaths=st.sets(st.integers(0, 60), max_size=5))
def test_every_task_comes_back_once(count: int, slots: int, deaths: set[int]) -> None:
    """Whichever submissions end with the death of a worker."""
    given_out: Counter[Task] = Counter()
    revived = 0

    def submit(task: Task) -> Future[None]:
        given_out[task] += 1
        return answered(WorkerDied("gone") if given_out.total() - 1 in deaths else None)

    def revive() -> None:
        nonlocal revived
        revived += 1

    done = list(dispatch(tasks(count), submit, revive, slots))
    assert sorted(task.shard for task in done) == list(range(count))
    assert given_out.total() >= count + revived


def test_no_more_are_out_than_there_are_slots() -> None:
    out, most, lock = 0, 0, threading.Lock()

    def work(task: Task) -> None:
        nonlocal out, most
        with lock:
            out, most = out + 1, max(most, out + 1)
        time.sleep(0.01)
        with lock:
            out -= 1

    with ThreadPoolExecutor(8) as pool:
        assert len(list(dispatch(tasks(12), lambda task: pool.submit(work, task), lambda: None, 3))) == 12
    assert most == 3


def test_tasks_are_drawn_as_there_is_room() -> None:
    """The driver of a run of a million shards must not hold them all."""
    drawn = 0

    def counted() -> list[Task]:
        nonlocal drawn
        for task in tasks(100):
            drawn += 1
            yield task

    for number, _ in enumerate(dispatch(counted(), lambda task: answered(), lambda: None, 4), 1):
        assert drawn <= number + 8


def test_what_a_task_raises_ends_the_run() -> None:
    def submit(task: Task) -> Future[None]:
        return answered(FaceError("a face", "a hint") if task.shard == 3 else None)

    with pytest.raises(FaceError, match="a face"):
        list(dispatch(tasks(9), submit, lambda: None, 1))


def test_workers_that_only_die_end_the_run() -> None:
    with pytest.raises(MienError, match="keep dying") as caught:
        list(dispatch(tasks(3), lambda task: answered(WorkerDied("out of memory")), lambda: None, 2))
    assert "fewer --workers" in caught.value.hint


def test_a_straggler_is_given_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 0.2)
    given_out: list[int] = []
    stuck: Future[None] = Future()

    def submit(task: Task) -> Future[None]:
        given_out.append(task.shard)
        return stuck if task.shard == 1 and given_out.count(1) == 1 else answered()

    done = [task.shard for task in dispatch(tasks(4), submit, lambda: None, 2)]
    assert sorted(done) == [0, 1, 2, 3] and given_out.count(1) == 2
    assert not stuck.done() or stuck.cancelled()
