"""A shard: photographs of a job that are done together, and the record of what was done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from mien.types import FaceOutcome, Skipped

SHARD = 8  # photos
SHARD_SIZE = "number of photos in a shard"  # its name in run.json


@dataclass
class ShardResult:
    """The record of one finished shard.

    Attributes:
        outputs: source name -> name in DST of every photo written. sizes: their sizes in bytes.
        digests: source name -> content digest of every photo that could be read.
        worker: machine and process that did it. stages: seconds by stage. wall: seconds in all.
    """

    outcomes: list[FaceOutcome] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    worker: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0

    @property
    def unread(self) -> list[str]:
        """The photos whose files could not be read."""
        return [one.file for one in self.skipped if one.file not in self.digests]

    @classmethod
    def from_marker(cls, data: dict[str, Any]) -> Self | None:
        """Reads a shard's marker; gives None where it does not hold a result."""
        try:
            outputs, sizes = dict(data["outputs"]), [int(size) for size in data["sizes"]]
            if len(sizes) != len(outputs):
                return None
            return cls([FaceOutcome(**row) for row in data["outcomes"]], [Skipped(**row) for row in data["skipped"]],
                       outputs, sizes, dict(data["digests"]), str(data["worker"]), dict(data["stages"]),
                       float(data["wall"]))
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Shards:
    """The photos of a job, cut into shards of `size` photos; the last one may be smaller."""

    names: list[str]
    size: int

    @property
    def photos(self) -> int:
        """How many photos there are in all."""
        return len(self.names)

    def __len__(self) -> int:
        return -(-len(self.names) // self.size)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> tuple[str, ...]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return tuple(self.names[index * self.size : (index + 1) * self.size])


def shard_size(batch: int, least: int = SHARD) -> int:
    """Photos of a shard: as many times `least` as let those with a face each fill a recipe's batch."""
    return least * -(-batch // SHARD)
