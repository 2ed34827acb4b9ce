"""Which pool faces finished shards have, from what they left in WORK, where the matching is gone or damaged.

To match them anew would give their pool faces to other people too, and their people other faces in new photos.
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
from mien.jobs.assignment.assign import UNKNOWN, ShardAssignment, match_shards
from mien.jobs.assignment.face_index import FaceIndex
from mien.jobs.shard import ShardResult
from mien.recipe import Recipe
from mien.types import Match


@dataclass(frozen=True)
class Leftover:
    """What a finished shard left of its faces to be anonymized.

    Attributes:
        matches: None of those that were blurred: nobody has their pool faces. people: "" where nobody asked.
    """

    matches: list[Match | None]
    people: list[str]

    @property
    def known(self) -> dict[str, Match]:
        """The matches of people."""
        return {person: match for person, match in zip(self.people, self.matches, strict=True) if match and person}


def what_is_left(survey: FaceIndex, result: ShardResult, latents: Path) -> Leftover:
    """Of a finished shard's faces their matches, as their codes say, and their people, as its results say.

    Raises:
        OutputError: an anonymized face's match is not known any more.
    """
    pairs, names = _pairs(latents), list(survey.sources)
    rows = {(row.file, row.face): row for row in result.outcomes}
    matches, people = list[Match | None](), list[str]()
    for place, number in survey.numbers():
        row, index = rows.get((names[place], number)), pairs.get((place, number))
        if index is None and row is not None and row.status == "anonymized":
            raise OutputError(f"the matching and {latents} are gone or damaged: nobody knows any more who has which "
                              "pool face", "start anew with another DST and --work")
        matches.append(None if index is None else Match(index, UNKNOWN))
        people.append(row.person if row is not None else f"nobody {survey.digest} {place} {number}")  # it was skipped
    return Leftover(matches, people)


def fill(pool: Pool, recipe: Recipe, surveys: Iterator[FaceIndex],
         lefts: Sequence[Leftover]) -> Iterator[ShardAssignment]:
    """The matches of shards, where each face has its own: those left, and new ones for faces that lack one."""
    free = AvailableFaces(len(pool), (match.index for left in lefts for match in left.matches if match))
    for survey, left in zip(surveys, lefts, strict=True):
        gaps = torch.tensor([match is None for match in left.matches], dtype=torch.bool)
        some = replace(survey, chosen=survey.chosen[gaps], traits=survey.traits.rows(gaps))
        ((new, _),) = match_shards(pool, recipe, [some], free)
        others = iter(new)
        yield [match or next(others) for match in left.matches], []


def _pairs(latents: Path) -> dict[tuple[int, int], int]:
    """Photo's place and face's number -> pool face; nothing where no readable file is there."""
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
