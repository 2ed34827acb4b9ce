"""Makes the assignment of finished shards again from what they left in WORK, where its file is gone or damaged.

To assign anew would give their pool faces to other people too, and their people other faces in new photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pool import Pool
from mien.errors import OutputError
from mien.jobs.assignment.assign import assign_shards
from mien.jobs.assignment.assignment import ShardAssignment
from mien.jobs.face_index import FaceIndex
from mien.jobs.shard import ShardResult
from mien.recipe import Recipe
from mien.types import Match

UNKNOWN = float("nan")  # distance of a match that was made once and is not known any more


@dataclass(frozen=True)
class Leftover:
    """What a finished shard left of its faces to be anonymized.

    Attributes:
        matches: pool face of each; None for faces that were blurred, whose pool faces are free.
        people: who each is; "" where people are not told apart.
    """

    matches: list[Match | None]
    people: list[str]

    @property
    def known(self) -> dict[str, Match]:
        """Person -> pool face."""
        return {person: match for person, match in zip(self.people, self.matches, strict=True) if match and person}


def what_is_left(face_index: FaceIndex, result: ShardResult, latents: Path) -> Leftover:
    """Reads the matches of a finished shard's faces from their codes, and their people from its results.

    Raises:
        OutputError: an anonymized face's match is not known any more.
    """
    pairs, names = _pairs(latents), list(face_index.states)
    rows = {(row.file, row.face): row for row in result.outcomes}
    matches, people = list[Match | None](), list[str]()
    for place, number in face_index.numbers():
        row, index = rows.get((names[place], number)), pairs.get((place, number))
        if index is None and row is not None and row.status == "anonymized":
            raise OutputError(f"the assignment and {latents} are gone or damaged: which face has which pool face is "
                              "not known any more", "start anew with another DST and --work")
        matches.append(None if index is None else Match(index, UNKNOWN))
        # A face of a photo that was skipped has no row.
        people.append(row.person if row is not None else f"nobody {face_index.digest} {place} {number}")
    return Leftover(matches, people)


def fill(pool: Pool, recipe: Recipe, face_indexes: Iterator[FaceIndex], lefts: Sequence[Leftover],
         secret: bytes) -> Iterator[ShardAssignment]:
    """Yields the assignments of shards: the matches that are left, and new ones, by the secret, for other faces."""
    free = AvailableFaces(len(pool), (match.index for left in lefts for match in left.matches if match))
    for face_index, left in zip(face_indexes, lefts, strict=True):
        gaps = torch.tensor([match is None for match in left.matches], dtype=torch.bool)
        some = replace(face_index, chosen=face_index.chosen[gaps], traits=face_index.traits.rows(gaps))
        ((new, _),) = assign_shards(pool, recipe, [some], free, secret)
        others = iter(new)
        yield [match or next(others) for match in left.matches], []


def _pairs(latents: Path) -> dict[tuple[int, int], int]:
    """Photo's place and face's number -> pool face; empty where no readable file is there."""
    pairs = {}
    try:
        with safe_open(latents, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                place, number, what = name.split(".")
                if what == "pair":
                    pairs[int(place), int(number)] = int(file.get_tensor(name))
    except (OSError, SafetensorError, ValueError):
        return {}
    return pairs
