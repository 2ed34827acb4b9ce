"""Does tasks in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mien.jobs.task import ShardProgressFn, Task
from mien.jobs.worker import Worker


class LocalExecutor:
    """An executor without processes of its own; see `mien.jobs.task.Executor`."""

    workers = 1

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        """Does all tasks and yields each one when it is done; `tell` hears of every group of photos."""
        for task in tasks:
            self.worker.do(task, tell)
            yield task

    def close(self) -> None:
        """Does nothing: there is nothing to end."""
