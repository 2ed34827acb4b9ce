"""Splits the people of an evaluation into those whom an attacker knows and those whom the attacker wants to find.

Half of the people, drawn at random, are known: the attacker has their originals and their new photographs, and knows
who is who. The others are the victims, whose new photographs the attacker tries to match with originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import UsageError
from mien.evaluation.crops import Crops, cut_faces
from mien.evaluation.pairs import PhotoPairs
from mien.evaluation.people import People, half_of_people, is_named
from mien.evaluation.progress_callbacks import CountProgress
from mien.models.bundle import Detector

LEAST = 4  # people: two to learn from, two to tell apart


@dataclass(frozen=True)
class AttackSplit:
    """N photographs before and after anonymization.

    Attributes:
        people: [N], who is on the original. known: [N], whether the attacker knows that person.
        published: the folder of the new photographs, with the record of how they were made.
    """

    old: Crops
    new: Crops
    people: People
    known: npt.NDArray[np.bool_]
    published: Path

    def __len__(self) -> int:
        return len(self.people)

    def part(self, known: bool) -> tuple[Crops, Crops, People]:
        """(originals, new faces, people) of the people whom the attacker knows, or of the victims."""
        which = self.known == known
        return self.old.at(which), self.new.at(which), self.people[which]


def make_split(pairs: PhotoPairs, detector: Detector, seed: int,
               progress: CountProgress = lambda done, total: None) -> AttackSplit:
    """Cuts the largest faces out of the photographs of named people, and draws whom the attacker knows.

    Raises:
        UsageError: no person is named, or fewer than four people can be compared.
    """
    pairs = named_photos(pairs)
    old, new, rows = cut_faces(pairs, detector, progress)
    people = pairs.people[rows]
    check_enough_people(people)
    return AttackSplit(old, new, people, half_of_people(people, seed), pairs.published)


def check_enough_people(people: People) -> None:
    """Refuses an attack on fewer than four people.

    Raises:
        UsageError: there are fewer.
    """
    if len(np.unique(people)) < LEAST:
        raise UsageError(f"an attack needs at least {LEAST} people, and {len(np.unique(people))} can be compared")


def named_photos(pairs: PhotoPairs) -> PhotoPairs:
    """The photographs that are named: only of these is it known whom they lead to.

    Raises:
        UsageError: there are none.
    """
    if not pairs.known:
        raise UsageError("an attack needs to know who is on the photographs, and nobody is named",
                         "mien datasets check DIR shows what is known")
    return pairs.at(np.flatnonzero(is_named(pairs.people)))
