"""A shard: some photographs of a run that are done together, and what was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from mien.types import FaceOutcome, Skipped

SHARD = 8  # photos
SHARD_SIZE = "number of photos in a shard"  # in run.json, where it is another


@dataclass
class ShardResult:
    """What one shard did.

    Attributes:
        outputs: source name -> name in DST of every photo written. sizes: of these, in bytes. digests: of the photos'
            files, by source name. Markers of earlier versions have neither. worker: who did it, machine and process.
        stages: seconds by stage; wall: of all.
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
        """The photos whose files could not be read; of earlier versions' markers nobody knows."""
        known = bool(self.digests) or not self.outputs
        return [one.file for one in self.skipped if one.file not in self.digests] if known else []

    @classmethod
    def from_marker(cls, data: dict[str, Any]) -> Self | None:
        """What a shard's marker says, or None where it does not hold a result."""
        try:
            outputs, sizes = dict(data["outputs"]), [int(size) for size in data.get("sizes", ())]
            if sizes and len(sizes) != len(outputs):
                return None
            return cls([FaceOutcome(**row) for row in data["outcomes"]], [Skipped(**row) for row in data["skipped"]],
                       outputs, sizes, dict(data.get("digests", {})), str(data["worker"]), dict(data["stages"]),
                       float(data["wall"]))
        except (KeyError, TypeError, ValueError):
            return None


def shard_size(batch: int, least: int = SHARD) -> int:
    """Photos of a shard: as many times `least` as let those with a face each fill a recipe's batch."""
    return least * -(-batch // SHARD)
