"""Assigns pool faces to the faces of a job, once for all of them, before the first is changed.

So shards need nothing of each other: they may be done in any order, on any number of machines, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from mien.anonymizer.pairing import AvailableFaces, distances, pair, pair_person
from mien.anonymizer.pool import Pool, Traits
from mien.anonymizer.seeds import seed_of
from mien.jobs.assignment.assignment import ShardAssignment
from mien.jobs.face_index import FaceIndex
from mien.jobs.identities import PersonGallery
from mien.recipe import Recipe
from mien.types import Match

BLOCK = 256  # faces whose distances are in memory together
PERSON_FACES = 8  # faces of a person by which a new face is chosen


def is_assigned(recipe: Recipe) -> bool:
    """Whether a recipe's faces get their pool faces before the first is changed, rather than one by one."""
    return recipe.identity == "per-person" or recipe.pair.unique


def assign_shards(pool: Pool, recipe: Recipe, face_indexes: Iterable[FaceIndex], free: AvailableFaces,
                  secret: bytes) -> Iterator[ShardAssignment]:
    """Assigns each face of some shards, in their order, a pool face that no other face has.

    Args:
        face_indexes: of the shards; they are drawn one by one.
        free: the pool faces to choose from; those that are assigned are taken out.
        secret: the run's, from which the draws derive.
    """
    for part in _blocks(face_indexes):
        matches: Iterator[Match] = iter(())
        if any(len(face_index.traits) for face_index in part):
            seeds = [seed for face_index in part for seed in _seeds(face_index, secret)]
            traits = Traits.joined([face_index.traits for face_index in part])
            matches = iter(pair(pool, traits, recipe.pair, free, seeds))
        for face_index in part:
            yield list(islice(matches, len(face_index.traits))), []


def _seeds(face_index: FaceIndex, secret: bytes) -> list[int]:
    names = list(face_index.states)
    return [seed_of(secret, 0, [(names[place], number)]) for place, number in face_index.numbers()]


def assign_people(pool: Pool, recipe: Recipe, face_indexes: Iterable[FaceIndex], matches: dict[str, Match], key: bytes,
                 near: float, label: Callable[[str], str], before: Sequence[list[str]] = ()) -> list[ShardAssignment]:
    """Assigns each person one pool face for all their faces, by a secret key.

    Args:
        face_indexes: of all shards, those with an assignment first; they are drawn one by one.
        matches: person -> pool face of people who have one and keep it; those of new people are added.
        near: cosine from which on two faces are one person's.
        label: photo -> the name of the person with its largest face, or "".
        before: of each shard with an assignment, who its faces are.

    Returns:
        The assignment of each shard.
    """
    gallery, known, who = PersonGallery(near), dict[str, list[Traits]](), list[list[str]]()
    for number, face_index in enumerate(face_indexes):
        if number < len(before):
            people = before[number]
            for person, identity in zip(people, face_index.traits.identities, strict=True):
                if person.startswith("person-"):  # new faces are compared with them
                    gallery.join(person, identity.numpy())
        else:
            people = _people(face_index, gallery, label)
        who.append(people)
        for i, person in enumerate(people):
            rows = known.setdefault(person, [])
            if len(rows) < PERSON_FACES:
                rows.append(face_index.traits.rows(slice(i, i + 1)))
    free = AvailableFaces(len(pool), (match.index for match in matches.values()))
    for person in sorted(set(known) - set(matches)):
        mean = distances(pool, Traits.joined(known[person]), recipe.pair).mean(dim=0)
        matches[person] = pair_person(mean, recipe.pair, key, free)
    return [([matches[person] for person in people], people) for people in who]


def _people(face_index: FaceIndex, gallery: PersonGallery, label: Callable[[str], str]) -> list[str]:
    """Who the faces to be anonymized of a shard are; a photo's label names its largest face."""
    areas, names = face_index.boxes[:, 2] * face_index.boxes[:, 3], list(face_index.states)
    people = []
    for face, identity in zip(face_index.chosen.tolist(), face_index.traits.identities, strict=True):
        place = int(face_index.photos[face])
        named, largest = label(names[place]), areas[face_index.photos == place].max()
        people.append(f"label:{named}" if named and areas[face] == largest else gallery.assign(identity.numpy()))
    return people


def _blocks(face_indexes: Iterable[FaceIndex]) -> Iterator[list[FaceIndex]]:
    part: list[FaceIndex] = []
    for face_index in face_indexes:
        part.append(face_index)
        if sum(len(one.traits) for one in part) >= BLOCK:
            yield part
            part = []
    if part:
        yield part
