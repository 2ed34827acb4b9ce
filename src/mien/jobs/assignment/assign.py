"""Which pool face each face of a run starts from: decided once for all, before the first is changed.

So shards need nothing of each other: they may be done in any order, on any number of machines, with the same result.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.anonymizer.pairing import AvailableFaces, distances, pair, pair_person
from mien.anonymizer.pool import Pool, Traits
from mien.anonymizer.seeds import seed_of
from mien.jobs.assignment.face_index import FaceIndex
from mien.jobs.identities import PersonGallery
from mien.recipe import Recipe
from mien.types import Match
from mien.util.files import replace_file

BLOCK = 256  # faces whose distances are held at once
PERSON_FACES = 8  # faces a person's new face is chosen by

UNKNOWN = float("nan")  # distance of what was matched once and is not known any more

# Of a shard: each face's match, and each face's person where the recipe tells people apart.
ShardAssignment = tuple[list[Match], list[str]]


def is_matched(recipe: Recipe) -> bool:
    """Whether a recipe's faces are matched once for all, and none where it is anonymized."""
    return recipe.identity == "per-person" or recipe.pair.unique


@dataclass(frozen=True)
class Assignment:
    """The pool faces of all shards' faces to be anonymized, shard after shard.

    Attributes:
        digests: [S] int64, of the shards' surveys; -1: none. firsts: [S + 1] int64, where each shard's faces begin.
        indices, distances: [F] int64 and float32, see `Match`. people: [F] int64 of `names`, or empty.
    """

    digests: Tensor
    firsts: Tensor
    indices: Tensor
    distances: Tensor
    people: Tensor
    names: list[str]

    @classmethod
    def of(cls, shards: Iterable[tuple[int, list[Match], list[str]]]) -> Self:
        """Of each shard its survey's digest, and its faces' matches and people (none where nobody asks).

        Drawn one by one; of a million faces numbers are held, no objects.
        """
        digests, counts, indices, far, people = array("q"), array("q"), array("q"), array("f"), list[str]()
        for digest, matches, some in shards:
            digests.append(digest)
            counts.append(len(matches))
            indices.extend(match.index for match in matches)
            far.extend(match.distance for match in matches)
            people += some
        names = sorted(set(people))
        place = {name: i for i, name in enumerate(names)}
        return cls(_tensor(digests), _tensor(array("q", [0, *counts])).cumsum(0), _tensor(indices), _tensor(far),
                   torch.tensor([place[person] for person in people], dtype=torch.int64), names)

    @classmethod
    def from_file(cls, path: Path) -> Self | None:
        """What was decided before, or None where nothing readable is there."""
        try:
            with safe_open(path, "pt") as file:
                return cls(**{name: file.get_tensor(name) for name in _TENSORS},
                           names=json.loads(file.metadata()["names"]))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write it whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        data = save({name: getattr(self, name) for name in _TENSORS}, {"names": json.dumps(self.names)})
        replace_file(path, lambda file: file.write_bytes(data))

    def knows(self, shard: int, digest: int) -> bool:
        """Whether this shard was matched, with this content."""
        return shard < len(self.digests) and int(self.digests[shard]) == digest

    def fits(self, shard: int, survey: FaceIndex) -> bool:
        """Whether it was made by this survey of the shard."""
        return self.knows(shard, survey.digest) and int(self.firsts[shard : shard + 2].diff()) == len(survey.traits)

    def of_shard(self, shard: int) -> ShardAssignment:
        """Matches of a shard's faces, and who they are."""
        here = slice(int(self.firsts[shard]), int(self.firsts[shard + 1]))
        matches = [Match(index, distance) for index, distance in
                   zip(self.indices[here].tolist(), self.distances[here].tolist(), strict=True)]
        return matches, [self.names[i] for i in self.people[here].tolist()]


def _tensor(values: array[int] | array[float]) -> Tensor:
    return torch.from_numpy(np.array(values))


_TENSORS = tuple(field.name for field in fields(Assignment) if field.name != "names")


def match_shards(pool: Pool, recipe: Recipe, surveys: Iterable[FaceIndex],
                 free: AvailableFaces) -> Iterator[ShardAssignment]:
    """Match the faces of shards, in their order: each with a pool face that no other has.

    Args:
        surveys: of the shards; drawn one by one. free: the pool faces to choose from; those given are taken out.
    """
    for part in _blocks(surveys):
        matches: Iterator[Match] = iter(())
        if any(len(survey.traits) for survey in part):
            seeds = [seed for survey in part for seed in _seeds(survey, recipe.seed)]
            traits = Traits.joined([survey.traits for survey in part])
            matches = iter(pair(pool, traits, recipe.pair, free, seeds))
        for survey in part:
            yield list(islice(matches, len(survey.traits))), []


def _seeds(survey: FaceIndex, seed: int) -> list[int]:
    names = list(survey.sources)
    return [seed_of(seed, 0, [(names[place], number)]) for place, number in survey.numbers()]


def match_people(pool: Pool, recipe: Recipe, surveys: Iterable[FaceIndex], matches: dict[str, Match], key: bytes,
                 near: float, label: Callable[[str], str], before: Sequence[list[str]] = ()) -> list[ShardAssignment]:
    """Match people: one pool face for all of a person's faces, by a secret key.

    Args:
        surveys: of all shards, those that were matched before first; drawn one by one. before: who their faces are.
        matches: of people known from before, who keep them; those of new people are added. near: cosine from which on
            two faces are one person's. label: photo -> who its largest face is, or "".

    Returns:
        Of each shard.
    """
    gallery, known, who = PersonGallery(near), dict[str, list[Traits]](), list[list[str]]()
    for number, survey in enumerate(surveys):
        if number < len(before):
            people = before[number]
            for person, identity in zip(people, survey.traits.identities, strict=True):
                if person.startswith("person-"):  # whoever is new is compared with them
                    gallery.join(person, identity.numpy())
        else:
            people = _people(survey, gallery, label)
        who.append(people)
        for i, person in enumerate(people):
            rows = known.setdefault(person, [])
            if len(rows) < PERSON_FACES:
                rows.append(survey.traits.rows(slice(i, i + 1)))
    free = AvailableFaces(len(pool), (match.index for match in matches.values()))
    for person in sorted(set(known) - set(matches)):
        mean = distances(pool, Traits.joined(known[person]), recipe.pair).mean(dim=0)
        matches[person] = pair_person(mean, recipe.pair, key, free)
    return [([matches[person] for person in people], people) for people in who]


def _people(survey: FaceIndex, gallery: PersonGallery, label: Callable[[str], str]) -> list[str]:
    """Who the shard's faces to be anonymized are: a photo's label is its largest face's."""
    areas, names = survey.boxes[:, 2] * survey.boxes[:, 3], list(survey.sources)
    people = []
    for face, identity in zip(survey.chosen.tolist(), survey.traits.identities, strict=True):
        place = int(survey.photos[face])
        named, largest = label(names[place]), areas[survey.photos == place].max()
        people.append(f"label:{named}" if named and areas[face] == largest else gallery.assign(identity.numpy()))
    return people


def _blocks(surveys: Iterable[FaceIndex]) -> Iterator[list[FaceIndex]]:
    part: list[FaceIndex] = []
    for survey in surveys:
        part.append(survey)
        if sum(len(one.traits) for one in part) >= BLOCK:
            yield part
            part = []
    if part:
        yield part

