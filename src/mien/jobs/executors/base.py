"""Who does a run's tasks: this process, several, or several machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from mien.jobs.worker import ShardProgressFn, Task, Worker


class Executor(Protocol):
    """Does tasks, in any order.

    Attributes:
        workers: how many tasks are done at once. leads: whether this process sees to all tasks, and to what comes
            after them.
    """

    workers: int
    leads: bool

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        """Do all tasks; gives each one back as soon as its files are there.

        Args:
            tasks: drawn as there is room for them. tell: hears of photos and faces of the task at hand, where one
                task is done at a time.

        Raises:
            MienError: a task could not be done; the others are given up.
        """

    def close(self) -> None:
        """Let go of workers."""


class LocalExecutor:
    """In this process, one after another."""

    workers, leads = 1, True

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        for task in tasks:
            self.worker.do(task, tell)
            yield task

    def close(self) -> None:
        pass
