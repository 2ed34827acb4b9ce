"""The results of a job as sequences that are read from WORK when asked for, so that a million take little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import overload

from mien.jobs.shard import ShardResult
from mien.types import FaceOutcome


class Outcomes(Sequence[FaceOutcome]):
    """What became of all faces, shard by shard; they are read from WORK each time, and none is kept.

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


class Outputs(Mapping[str, str]):
    """Mapping from source name to output name. Only renamed photos are stored; all others map to themselves.

    Attributes:
        names: all photos of the run. renamed: those written under another name. absent: those not written.
    """

    def __init__(self, names: Sequence[str], renamed: dict[str, str], absent: set[str]) -> None:
        self.names, self.renamed, self.absent = names, renamed, absent

    def __len__(self) -> int:
        return len(self.names) - len(self.absent)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.names if name not in self.absent)

    def __getitem__(self, name: str) -> str:
        if name in self.absent:
            raise KeyError(name)
        return self.renamed.get(name, name)  # nobody asks for photos of other runs

    def among(self, names: Iterable[str]) -> dict[str, str]:
        """Those of some of the run's photos."""
        return {name: self[name] for name in names if name not in self.absent}

    def claimed(self, written: str) -> bool:
        """Whether a photo was written under a name."""
        return written in self._new or (written in self._known and self.get(written) == written)

    def clash(self) -> str:
        """A name that two photos were written under, or "": one of them came when the other was done."""
        return next((new for new in self.renamed.values() if new in self._known and self.get(new) == new), "")

    def others(self, as_png: Callable[[str], str]) -> Iterator[str]:
        """Names that photos could have been written under, and were not; those of other photos may be among them."""
        for name in self.names:
            yield from (one for one in (name, as_png(name)) if self.get(name) != one)

    @cached_property
    def _new(self) -> set[str]:
        return set(self.renamed.values())

    @cached_property
    def _known(self) -> set[str]:
        return set(self.names)
