"""What a job did, in numbers and lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mien.jobs.shard import ShardResult
from mien.types import FaceOutcome, Skipped


@dataclass
class Summary:
    """What a job did, for scripts, the closing table and `mien.json`.

    Attributes:
        photos: photographs in DST. faces: faces found in all photographs.
        statuses: how many faces have which status. reasons: how many have which reason.
        skipped: files that are not in DST, and why.
        stages: seconds by stage. wall: seconds of all shards.
        outcomes: one row per face, with distances and points, so that they are private like WORK, from which they are
            read each time they are asked for.
        outputs: source name -> name in DST.
        layout: of the dataset, as "folder" or "celebahq". notes: sentences for the owner.
        complete: whether the job is finished; False where only some of its passes were asked for.
    """

    photos: int = 0
    faces: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    outcomes: Sequence[FaceOutcome] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    wall: float = 0.0
    layout: str = "folder"
    notes: list[str] = field(default_factory=list)
    complete: bool = True

    def add(self, shard: ShardResult) -> None:
        """Adds the counts of one shard."""
        self.skipped += shard.skipped
        self.photos += len(shard.outputs)
        self.faces += len(shard.outcomes)
        self.statuses.update(outcome.status for outcome in shard.outcomes)
        self.reasons.update(outcome.reason for outcome in shard.outcomes if outcome.reason)
        for stage, value in shard.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + value
        self.wall += shard.wall
