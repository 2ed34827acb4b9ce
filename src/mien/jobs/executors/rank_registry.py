"""The other ranks of a run: whether they are at work, what they have done, and for which of them this one waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from mien.jobs.assignment.face_index import FaceIndex, FileStates
from mien.jobs.state import JobState
from mien.jobs.worker import Task
from mien.util.files import stamp

Look = Literal["as before", "done", "stale"]  # nothing new, what is asked for, or something else
State = Literal["at it", "past it", "absent"]


class Peers:
    """What one rank knows of the others; without others it knows nothing, and that costs nothing.

    Args:
        rank, size: this one's number, and how many there are. stamps: the states that photos are in now.

    Attributes:
        waiting: for whom, in words.
    """

    def __init__(self, store: JobState, rank: int, size: int, stamps: Callable[[Sequence[str]], FileStates]) -> None:
        self.store, self.rank, self.size, self.stamps = store, rank, size, stamps
        self.waiting = ""
        self._seen: dict[tuple[str, int], list[int] | None] = {}

    def remember(self, what: str, shard: int) -> None:
        """Note the state of a shard's file, before it is read: what changes later is another rank's work."""
        if self.size > 1:
            self._seen[what, shard] = stamp(self._file(what, shard))

    def whose(self, shard: int) -> int:
        """The rank that a shard is left to."""
        return shard % self.size

    def look(self, task: Task) -> Look:
        """What has become of a task's file since the last look. Its photos are looked at only when the file is new."""
        key = task.what, task.shard
        before = self._seen.get(key)
        self.remember(*key)
        if self._seen.get(key) == before:
            return "as before"
        sources = self.stamps(task.names)
        there = (FaceIndex.from_file(self._file(*key), sources) if task.what == "survey"
                 else self.store.shard(task.shard, sources))
        return "stale" if there is None else "done"

    def state(self, rank: int, what: str) -> State:
        """Whether another rank is at a part of the run, or will be."""
        said = self.store.hear(rank)
        return "absent" if said is None else "past it" if what in said.get("past", ()) else "at it"

    def wait(self, ranks: Sequence[int]) -> None:
        """Say whom this one waits for; nobody, when that is over."""
        waiting = f"waiting for rank {', '.join(map(str, ranks))}" if ranks else ""
        if waiting != self.waiting and self.rank == 0:
            self.store.note_waiting(ranks)
        self.waiting = waiting

    def _file(self, what: str, shard: int) -> Path:
        return self.store.path("surveys", shard) if what == "survey" else self.store.marker(shard)
