"""The photographs that a run has written, and under which names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property


class Outputs(Mapping[str, str]):
    """Source name -> name in DST of the photos written; those that kept their names take no room of their own.

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
