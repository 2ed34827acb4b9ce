"""Processes that somebody else starts, as Slurm and torchrun do: each knows its rank, and takes every n-th task."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from mien.jobs.executors.base import Executor
from mien.jobs.executors.rank_registry import Peers
from mien.jobs.worker import ShardProgressFn, Task

POLL = 0.5  # seconds between two looks at what the others have done


class Ranks:
    """This rank's share by an engine of its own; of the others' shares the first rank waits for the files.

    What is stale, because photos were changed since, and what a rank left that has ended, it does itself at once.

    Args:
        patience: seconds without anything new after which it also does what ranks left that never came.
    """

    def __init__(self, engine: Executor, peers: Peers, patience: float) -> None:
        self.engine, self.peers, self.patience = engine, peers, patience
        self.workers, self.leads = engine.workers, peers.rank == 0
        self.met: set[int] = set()

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        every = list(tasks)
        others = [task for task in every if self._whose(task) != self.peers.rank]
        yield from self.engine.run([task for task in every if self._whose(task) == self.peers.rank], tell)
        last = time.monotonic()
        while others and self.leads:
            begun = time.monotonic()
            ended = self._ended(others)  # before the look: what they did last must be seen
            looks = {task: self.peers.look(task) for task in others}
            done = [task for task in others if looks[task] == "done"]
            yield from done
            last = begun if done else last
            late = begun - last > self.patience
            mine = [task for task in others if looks[task] != "done"
                    and (late or looks[task] == "stale" or self._whose(task) in ended)]
            gone = {*done, *mine}
            others = [task for task in others if task not in gone]
            self.peers.wait(sorted(set(map(self._whose, others))))
            yield from self.engine.run(mine, tell)
            if others:
                tell(0, 0)
                time.sleep(max(POLL, time.monotonic() - begun))

    def _whose(self, task: Task) -> int:
        return self.peers.whose(task.shard)

    def _ended(self, tasks: Sequence[Task]) -> set[int]:
        """Ranks that have tasks and will not do them any more."""
        states = {rank: self.peers.state(rank, tasks[0].what) for rank in set(map(self._whose, tasks))}
        lost = {rank for rank in self.met if states.get(rank) == "absent"}
        self.met |= {rank for rank, state in states.items() if state != "absent"}
        return lost | {rank for rank, state in states.items() if state == "past it"}

    def close(self) -> None:
        self.engine.close()
