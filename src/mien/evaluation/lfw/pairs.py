"""Reads or draws the pairs of photographs that verification on LFW is tested with.

LFW (Huang et al. 2007, "Labeled Faces in the Wild") comes with a list of 3,000 pairs of one person (mated) and 3,000
pairs of two people (non-mated), pairs.txt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.datasets.dataset import Dataset
from mien.datasets.layouts.lfw_lists import PairsList
from mien.datasets.registry import open_dataset
from mien.errors import UsageError
from mien.evaluation.people import People
from mien.evaluation.privacy.reidentification import pairs_of_one_person

PAIRS = 3000  # of each kind, as in LFW's list
LIST = "pairs.txt"
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LfwPairs:
    """Pairs of photographs.

    Attributes:
        root: folder that the names are relative to. names: the N photographs that are in a pair.
        people: [N], a number for each person. mated, non_mated: rows [M, 2] and [K, 2] of pairs of one person and of
            two people.
        listed: whether the pairs are those of pairs.txt. absent: pairs of the list of which a photograph is missing.
    """

    root: Path
    names: list[str]
    people: People
    mated: Rows
    non_mated: Rows
    listed: bool
    absent: int = 0

    def only(self, names: set[str]) -> LfwPairs:
        """Those pairs whose two photographs are among the names."""
        there = np.array([name in names for name in self.names], bool)
        return _compact(self.root, self.names, self.people, self.mated[there[self.mated].all(axis=1)],
                        self.non_mated[there[self.non_mated].all(axis=1)], self.listed, self.absent)


def read_lfw_pairs(path: Path, most: int = PAIRS, seed: int = 0) -> LfwPairs:
    """Takes the pairs of pairs.txt whose photographs are there; without such a list it draws pairs with a seed.

    Args:
        path: a copy of LFW, or of a part of it, in LFW's layout. most: at most so many pairs of each kind.

    Raises:
        UsageError: the folder has not LFW's layout, names nobody, or has no pairs of one person or of two people.
    """
    dataset = open_dataset(path, "lfw").require_files()
    if not dataset.people:
        raise UsageError(f"no person is named in {path}",
                         "the photographs must be called as in LFW: First_Last/First_Last_0001.jpg")
    names = sorted(dataset.people)
    people = np.unique([dataset.people[name] for name in names], return_inverse=True)[1].astype(np.int64)
    mated, non_mated, absent = _listed(dataset, names)
    listed = bool(len(mated) and len(non_mated))
    rng = np.random.default_rng(seed)
    if not listed:
        mated, non_mated = _drawn_mated(people, rng), _drawn_non_mated(people, most, rng)
    if not len(mated) or not len(non_mated):
        lack = "two photographs of one person" if not len(mated) else "photographs of two people"
        raise UsageError(f"there is no pair to compare in {path}: it needs {lack}",
                         "give a larger part of LFW")
    mated, non_mated = (_some(pairs, most, rng, listed) for pairs in (mated, non_mated))
    return _compact(dataset.root, names, people, mated, non_mated, listed, absent)


def _listed(dataset: Dataset, names: list[str]) -> tuple[Rows, Rows, int]:
    """The pairs of the list whose photographs are there, and how many others it has."""
    found = [one for one in dataset.annotations if isinstance(one, PairsList) and Path(one.name).name == LIST]
    none = np.zeros((0, 2), np.int64)
    if not found:
        return none, none, 0
    row = {found[0].shots[name]: i for i, name in enumerate(names)}
    pairs = [(row[a], row[b], a[0] == b[0]) for a, b in found[0].pairs.values() if a in row and b in row]
    mated, non_mated = ([pair[:2] for pair in pairs if pair[2] is same] for same in (True, False))
    return (np.array(mated, np.int64).reshape(-1, 2), np.array(non_mated, np.int64).reshape(-1, 2),
            len(found[0].pairs) - len(pairs))


def _some(pairs: Rows, most: int, rng: np.random.Generator, listed: bool) -> Rows:
    """At most so many pairs: drawn from a list; those that were drawn are in random order already."""
    if len(pairs) <= most:
        return pairs
    return pairs[np.sort(rng.permutation(len(pairs))[:most])] if listed else pairs[:most]


def _drawn_mated(people: People, rng: np.random.Generator) -> Rows:
    """All pairs of one person [M, 2]: one of each person in random order, then a second of each, and so on.

    Otherwise the pairs of the few people with hundreds of photographs would be most of them.
    """
    pairs = np.stack(pairs_of_one_person(people), axis=1)
    pairs = pairs[rng.permutation(len(pairs))]
    order = np.argsort(people[pairs[:, 0]], kind="stable")
    _, starts, counts = np.unique(people[pairs[order, 0]], return_index=True, return_counts=True)
    turn = np.empty(len(pairs), np.int64)
    turn[order] = np.arange(len(pairs)) - np.repeat(starts, counts)
    return pairs[np.argsort(turn, kind="stable")]


def _drawn_non_mated(people: People, most: int, rng: np.random.Generator) -> Rows:
    """Different pairs of two people [K, 2], as many as there are and at most so many."""
    counts = np.bincount(people)
    most = min(most, (len(people) ** 2 - int((counts**2).sum())) // 2)
    found: dict[tuple[int, int], None] = {}
    while len(found) < most:
        drawn = np.sort(rng.integers(len(people), size=(4 * most, 2)), axis=1)
        found |= dict.fromkeys(map(tuple, drawn[people[drawn[:, 0]] != people[drawn[:, 1]]].tolist()))
    return np.array(list(found)[:most], np.int64).reshape(-1, 2)


def _compact(root: Path, names: list[str], people: People, mated: Rows, non_mated: Rows, listed: bool,
             absent: int) -> LfwPairs:
    """Keeps the photographs that are in a pair, and numbers them anew."""
    used, rows = np.unique(np.concatenate([mated.ravel(), non_mated.ravel()]), return_inverse=True)
    rows = rows.reshape(-1, 2)
    return LfwPairs(root, [names[i] for i in used], people[used], rows[: len(mated)], rows[len(mated) :], listed,
                    absent)
