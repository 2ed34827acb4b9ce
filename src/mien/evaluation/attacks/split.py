"""What every attack starts from: pairs of photographs, of people whom the attacker knows and of people he is after.

Half of the people, drawn at random, are known: the attacker has their originals and their new photographs, and knows
who is who. He is after the others, whose new photographs he wants to match with originals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import UsageError
from mien.evaluation.crops import Crops, crops_of
from mien.evaluation.pairs import PhotoPairs
from mien.evaluation.privacy import People, named
from mien.models.bundle import Detector

LEAST = 4  # people: two to learn of, two to tell apart


@dataclass(frozen=True)
class AttackSplit:
    """Row by row the same photograph before and after.

    Attributes:
        people: [N] who is on the original. known: [N] whom the attacker knows. published: the new
            photographs' folder, with all that lies beside them.
    """

    old: Crops
    new: Crops
    people: People
    known: npt.NDArray[np.bool_]
    published: Path

    def __len__(self) -> int:
        return len(self.people)

    def part(self, known: bool) -> tuple[Crops, Crops, People]:
        """(originals, new faces, people) of those whom the attacker knows, or of those he is after."""
        which = self.known == known
        return self.old.at(which), self.new.at(which), self.people[which]


def gather(pairs: PhotoPairs, detector: Detector, seed: int,
           progress: Callable[[int, int], None] = lambda done, total: None) -> AttackSplit:
    """Cut the largest face out of every original that has a name, and what is in its place out of the new photograph.

    Raises:
        UsageError: nobody is named, or fewer than four people can be compared.
    """
    pairs = of_named(pairs)
    old, new, rows = crops_of(pairs, detector, progress)
    who = pairs.people[rows]
    enough_people(who)
    return AttackSplit(old, new, who, known_half(who, seed), pairs.published)


def enough_people(people: People) -> None:
    """Raises UsageError: fewer than four can be compared."""
    if len(np.unique(people)) < LEAST:
        raise UsageError(f"an attack needs at least {LEAST} people, and {len(np.unique(people))} can be compared")


def of_named(pairs: PhotoPairs) -> PhotoPairs:
    """The photographs on which somebody is named: of others nobody can say whom they lead to.

    Raises:
        UsageError: there are none.
    """
    if not pairs.known:
        raise UsageError("an attack needs to know who is on the photographs, and nobody is named",
                         "mien datasets check DIR shows what is known")
    return pairs.at(np.flatnonzero(named(pairs.people)))


def known_half(people: People, seed: int) -> npt.NDArray[np.bool_]:
    """[N] whether the attacker knows the person: half of the people, at random."""
    everybody = np.random.default_rng(seed).permutation(np.unique(people))
    return np.isin(people, everybody[: len(everybody) // 2])
