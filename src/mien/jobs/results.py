"""What became of all faces of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import overload

from mien.jobs.shard import ShardResult
from mien.types import FaceOutcome


class Outcomes(Sequence[FaceOutcome]):
    """What became of all faces, shard by shard, read from WORK each time anew: of a million faces none is held.

    Args:
        finished: reads a shard's results. length: of all shards' outcomes.
    """

    def __init__(self, finished: Callable[[int], ShardResult], shards: int, length: int) -> None:
        self.finished, self.shards, self.length = finished, shards, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[FaceOutcome]:
        for index in range(self.shards):
            yield from self.finished(index).outcomes

    @overload
    def __getitem__(self, which: int) -> FaceOutcome: ...

    @overload
    def __getitem__(self, which: slice) -> list[FaceOutcome]: ...

    def __getitem__(self, which: int | slice) -> FaceOutcome | list[FaceOutcome]:
        if isinstance(which, slice):
            return list(self)[which]
        place = range(self.length)[which]  # IndexError where there is none
        return next(islice(self, place, None))
