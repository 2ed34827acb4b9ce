"""Tasks to workers that may die or dawdle, whoever they are: each task is given out until its result is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from statistics import median

from mien.errors import MienError
from mien.images.formats import printable
from mien.jobs.worker import Task

DEATHS = 5  # in a row, without a task done between them
PATIENCE = 4.0  # times the usual time of a task, before it is given out once more
LEAST = 60.0  # seconds that a task may always take


class WorkerDied(Exception):
    """A worker is gone, and its task is not done."""


Submit = Callable[[Task], "Future[None]"]


def dispatch(tasks: Iterable[Task], submit: Submit, revive: Callable[[], None], slots: int) -> Iterator[Task]:
    """Give out tasks, `slots` at once, and give each back when it is done.

    Where no task is left to give out, one that takes far longer than the others is given out a second time: whoever
    is done first counts. Doing a task twice does no harm, since it leaves the same files.

    Args:
        submit: gives a task out; its future fails with `WorkerDied` where the worker does. revive: makes new workers
            after a death.

    Raises:
        MienError: as the task raises it, or workers keep dying.
    """
    waiting, flying = iter(tasks), dict[Future[None], tuple[Task, float]]()
    again, taken, done, deaths = list[Task](), list[float](), set[Task](), 0
    try:
        while True:
            while len(flying) < slots:
                task = again.pop() if again else next(waiting, None) or _straggler(flying, taken)
                if task is None:
                    break
                flying[submit(task)] = task, time.monotonic()
            if not flying:
                return
            finished, _ = wait(flying, timeout=1.0, return_when=FIRST_COMPLETED)
            died, at = "", ""  # one death may fail all that are out
            for future in finished:
                task, begun = flying.pop(future)
                error = future.exception()
                if isinstance(error, WorkerDied):
                    died, at = str(error), printable(task.names[0]) if task.names else ""
                    if task not in done and all(task != other for other, _ in flying.values()):
                        again.append(task)
                elif error is not None:
                    raise error
                elif task not in done:
                    deaths = 0
                    done.add(task)
                    taken.append(time.monotonic() - begun)
                    yield task
            if died:
                deaths += 1
                if deaths > DEATHS:
                    raise MienError(f"workers keep dying: {died}, the last among the photographs from {at} on",
                                    "there may be too little memory: give fewer --workers; the same command goes on "
                                    "where it stopped")
                revive()
            for future in [one for one, (task, _) in flying.items() if task in done]:
                del flying[future]  # a straggler whose task another has done
    finally:
        for future in flying:
            future.cancel()


def _straggler(flying: dict[Future[None], tuple[Task, float]], taken: list[float]) -> Task | None:
    """The task that has been out longest, where that is too long and nobody else is at it."""
    tasks = [task for task, _ in flying.values()]
    alone = [(begun, task) for task, begun in flying.values() if tasks.count(task) == 1]
    if not alone or not taken:
        return None
    begun, task = min(alone, key=lambda row: row[0])
    return task if time.monotonic() - begun > max(LEAST, PATIENCE * median(taken[-100:])) else None
