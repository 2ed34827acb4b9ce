"""Gives tasks to workers that may die or stall, of any kind, and gives a task out again until its result is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from statistics import median

from mien.errors import MienError
from mien.images.formats import printable
from mien.jobs.task import Task

log = logging.getLogger(__name__)

DEATHS = 5  # of workers in a row, without a task done between them, that are put up with
PATIENCE = 4.0  # times the median time of a task, before a task is given out a second time
LEAST = 60.0  # seconds that every task may take before that


class WorkerDied(Exception):
    """Means that a worker died before its task was done."""


Submit = Callable[[Task], "Future[None]"]


def dispatch(tasks: Iterable[Task], submit: Submit, revive: Callable[[], None], slots: int) -> Iterator[Task]:
    """Gives out tasks, `slots` at once, and yields each one when it is done.

    Where no task is left to give out, one that takes far longer than the others is given out a second time: the first
    result counts. Doing a task twice does no harm, since it leaves the same files.

    Args:
        submit: gives a task out; its future fails with `WorkerDied` where the worker dies.
        revive: opens new workers after a death.

    Raises:
        MienError: a task raised it, or workers keep dying.
    """
    waiting, running = iter(tasks), dict[Future[None], tuple[Task, float]]()
    again, durations, done, deaths = list[Task](), list[float](), set[Task](), 0
    try:
        while True:
            while len(running) < slots:
                task = again.pop() if again else next(waiting, None) or _straggler(running, durations)
                if task is None:
                    break
                running[submit(task)] = task, time.monotonic()
            if not running:
                return
            finished, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            died, photo = "", ""  # one death may fail all tasks that are running
            for future in finished:
                task, begun = running.pop(future)
                error = future.exception()
                if isinstance(error, WorkerDied):
                    died, photo = str(error), printable(task.names[0]) if task.names else ""
                    if task not in done and all(task != other for other, _ in running.values()):
                        again.append(task)
                elif error is not None:
                    raise error
                elif task not in done:
                    deaths = 0
                    done.add(task)
                    durations.append(time.monotonic() - begun)
                    yield task
            if died:
                deaths += 1
                log.warning("%s, among the photographs from %s on; its shard is done again", died, photo)
                if deaths > DEATHS:
                    raise MienError(f"workers keep dying: {died}, the last among the photographs from {photo} on",
                                    "give fewer --workers, since memory may be short; the same command goes on where "
                                    "it stopped")
                revive()
            for future in [one for one, (task, _) in running.items() if task in done]:
                del running[future]  # the second run of a task whose result is there
    finally:
        for future in running:
            future.cancel()


def _straggler(running: dict[Future[None], tuple[Task, float]], durations: list[float]) -> Task | None:
    """Finds the task that has run longest, if that is too long and it runs only once."""
    tasks = [task for task, _ in running.values()]
    once = [(begun, task) for task, begun in running.values() if tasks.count(task) == 1]
    if not once or not durations:
        return None
    begun, task = min(once, key=lambda row: row[0])
    return task if time.monotonic() - begun > max(LEAST, PATIENCE * median(durations[-100:])) else None
