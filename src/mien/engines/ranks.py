"""Processes that somebody else starts, as Slurm and torchrun do: each knows its rank, and takes every n-th task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from mien.engines import Engine
from mien.worker import Task, Tell

POLL = 0.5  # seconds between two looks at what the others have done


class Ranks:
    """This rank's share by an engine of its own; of the others' shares it waits for the files.

    Args:
        there: whether a task's files are there.
        patience: seconds without anything new by the others after which this rank does what they left.
    """

    def __init__(self, engine: Engine, rank: int, size: int, there: Callable[[Task], bool],
                 patience: float) -> None:
        self.engine, self.rank, self.size = engine, rank, size
        self.there, self.patience = there, patience
        self.workers, self.leads = engine.workers, rank == 0

    def run(self, tasks: Iterable[Task], tell: Tell) -> Iterator[Task]:
        every = list(tasks)
        mine = [task for task in every if task.shard % self.size == self.rank]
        others = [task for task in every if task.shard % self.size != self.rank]
        yield from self.engine.run(mine, tell)
        if not self.leads and all(task.what == "anonymise" for task in every):
            return  # the first waits for all
        last = time.monotonic()
        while others:
            new = {task for task in others if self.there(task)}
            yield from new
            others = [task for task in others if task not in new]
            last = time.monotonic() if new else last
            if others and time.monotonic() - last > self.patience:
                yield from self.engine.run(others, tell)
                return
            if others:
                time.sleep(POLL)

    def close(self) -> None:
        self.engine.close()
