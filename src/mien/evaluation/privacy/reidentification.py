"""Re-identification, linkability and diversity of new faces, measured on a judge's vectors.

The Article 29 Working Party asks whether a person can be singled out, linked and inferred (Opinion 05/2014). Singling
out and linking are measured here; a photograph's attributes, which one might infer from, are kept on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.evaluation.confidence import Estimate, estimate
from mien.evaluation.people import People
from mien.evaluation.privacy.chance import Chance, StrangerSearch, lift, share_of_strangers_below
from mien.evaluation.privacy.distance_histogram import DistanceHistogram, distances_to_gallery, impostor_distances
from mien.evaluation.privacy.verification import equal_error
from mien.evaluation.privacy.worst_person import worst_person

FALSE_MATCHES = (1e-2, 1e-3)
RANKS = (1, 5)
PAIRS_AT_ONCE = 1 << 16
LEAST_STRANGERS = 300  # pairs of different people that two faces of one person are compared with


@dataclass(frozen=True)
class Reidentification:
    """How often new faces lead back to the originals.

    Attributes:
        distance: to the own original.
        verified: false match rate -> share of faces that pass for their own original.
        ranked: K -> share with the own original among the K nearest of all originals.
        ranked_others: K -> share with another photograph of the person among the K nearest, the own original left out.
        eer: equal error rate between own originals and those of other people.
        ranked_without_one, ranked_others_without_one: the same as for K = 1, but with one other person left out of the
            gallery, as in the search that chance is measured by.
        chance: the rates at which strangers' new faces find a person, for K = 1.
        worst_verified, worst_ranked: false match rate -> share verified, and share with the own original nearest, of
            the person for whom it is largest.
    """

    distance: Estimate
    verified: dict[float, Estimate]
    ranked: dict[int, Estimate]
    ranked_others: dict[int, Estimate]
    eer: float
    ranked_without_one: Estimate
    ranked_others_without_one: Estimate
    chance: Chance
    worst_verified: dict[float, Estimate]
    worst_ranked: Estimate

    def lift_verified(self, rate: float) -> Estimate:
        """How many times as often as strangers' new faces a new face passes for its own original."""
        return lift(self.verified[rate], self.chance.verified[rate])

    def lift_ranked(self) -> Estimate:
        """How many times as often as by chance the own original is the nearest."""
        return lift(self.ranked_without_one, self.chance.ranked)

    def lift_ranked_others(self) -> Estimate:
        """How many times as often as by chance another photograph of the person is the nearest."""
        return lift(self.ranked_others_without_one, self.chance.ranked_others)


@dataclass(frozen=True)
class Linkability:
    """How often two new faces of one person lead to each other, without the originals.

    Attributes:
        auc: probability that two faces of one person are nearer than two of different people; 0.5: not linkable.
        auc_alike: the same against two of different people of one kind; missing where kinds are not known.
        linked: false match rate among new faces -> share of a person's pairs found.
        collisions: share of pairs of different people that pass for one person at the originals' threshold for a
            false match rate of 1e-3; 1e-3: as different as real people are.
    """

    auc: Estimate
    auc_alike: Estimate
    alike_entirely: Estimate
    linked: dict[float, Estimate]
    collisions: float


@dataclass(frozen=True)
class OriginalsGallery:
    """The originals that are searched: vectors [G, D], and who is on each [G], all of them named."""

    vectors: Tensor
    people: People


def thresholds(originals: Tensor, people: People) -> tuple[dict[float, float], DistanceHistogram]:
    """Calibrates a judge on the originals' own pairs of different people.

    Args:
        originals: vectors [N, D].

    Returns:
        false match rate -> the distance at which that share of these pairs passes for one person; the pairs' histogram.
    """
    person = torch.from_numpy(people)
    impostors = impostor_distances(originals, originals, person, person)
    return {rate: impostors.threshold(rate) for rate in FALSE_MATCHES}, impostors


def reidentification(new: Tensor, originals: OriginalsGallery, places: npt.NDArray[np.int64],
                     limits: dict[float, float]) -> Reidentification:
    """Searches every new face [N, D] among all originals.

    Args:
        places: [N], where in the gallery the own original of each is. limits: false match rate -> threshold.
    """
    at, gallery = torch.from_numpy(places), torch.from_numpy(originals.people)
    person, people = gallery[at], originals.people[places]
    own = (new - originals.vectors[at]).norm(dim=1)
    before, before_others = torch.zeros(len(new)), torch.full((len(new),), torch.inf)
    without_one, others_without_one = torch.zeros(len(new)), torch.zeros(len(new))
    strangers = StrangerSearch(gallery, torch.zeros(len(gallery), dtype=torch.bool).index_fill(0, at, True))
    for some, distances in distances_to_gallery(new, originals.vectors):
        strange, others = person[some, None] != gallery, other_photos(person[some], gallery, at[some])
        nearest = distances.masked_fill(~others, torch.inf).min(dim=1).values
        # The other photographs of the person compete neither with the own original nor with each other.
        before[some] = ((distances < own[some, None]) & strange).sum(dim=1).float()
        closer = ((distances < nearest[:, None]) & strange).sum(dim=1).float()
        before_others[some] = closer.masked_fill(nearest.isinf(), torch.inf)
        strangers.add(distances, person[some])
        without_one[some] = strangers.found_without_one(distances, person[some], own[some])
        others_without_one[some] = strangers.found_without_one(distances, person[some], nearest)
    many = np.isfinite(before_others.numpy())
    impostors = impostor_distances(new, originals.vectors, person, gallery)
    claimed = impostors if len(at) == len(gallery) else impostor_distances(new, originals.vectors[at], person, person)
    passed = {rate: (own < limit).numpy() for rate, limit in limits.items() if not np.isnan(limit)}
    return Reidentification(
        estimate(own.numpy(), people),
        {rate: estimate(passed[rate], people, share=True) if rate in passed else Estimate.missing()
         for rate in limits},
        {k: estimate((before < k).numpy(), people, share=True) for k in RANKS},
        {k: estimate((before_others < k).numpy()[many], people[many], share=True) for k in RANKS},
        equal_error(own.numpy(), *impostors.distances()),
        estimate(without_one.numpy(), people, share=True),
        estimate(others_without_one.numpy()[many], people[many], share=True),
        Chance(*strangers.rates(), {rate: share_of_strangers_below(claimed, limit)
                                      for rate, limit in limits.items()}),
        {rate: worst_person(one, people) for rate, one in passed.items()},
        worst_person((before < 1).numpy(), people),
    )


def other_photos(person: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    """[N, G], which gallery faces show the probe's person but are not the probe's own photograph.

    Args:
        person: [N], who is on each probe. gallery: [G], who is on each gallery face. own: [N], the own one's place.
    """
    others = person[:, None] == gallery
    others[torch.arange(len(person)), own] = False
    return others


def linkability(new: Tensor, people: People, limit: float, kinds: npt.NDArray[np.int64] | None = None) -> Linkability:
    """Compares new faces [N, D] with each other.

    Args:
        limit: the originals' threshold for a false match rate of 1e-3. kinds: [N, L], of people hard to tell apart, at
            L levels, the finest first.
    """
    person = torch.from_numpy(people)
    impostors = impostor_distances(new, new, person, person)
    first, second = pairs_of_one_person(people)
    genuine = torch.cat([torch.zeros(0), *((new[first[i : i + PAIRS_AT_ONCE]] - new[second[i : i + PAIRS_AT_ONCE]])
                                           .norm(dim=1) for i in range(0, len(first), PAIRS_AT_ONCE))]).numpy()
    nearer, level = (np.zeros(0), np.zeros(0)) if kinds is None else _nearer_than_alike(
        new, people, kinds, (first, second), genuine)
    alike = np.isfinite(nearer)
    whose = people[first][alike] if kinds is not None else np.zeros(0)
    return Linkability(
        estimate(1 - impostors.share_below(genuine), people[first]) if impostors.total else Estimate.missing(),
        estimate(nearer[alike], whose),
        estimate(level[alike] == 0, whose, share=True),
        {rate: estimate(genuine < impostors.threshold(rate), people[first], share=True) if impostors.total
         else Estimate.missing() for rate in FALSE_MATCHES},
        float(impostors.share_below(limit)) if impostors.total else float("nan"),
    )


def _nearer_than_alike(new: Tensor, people: People, kinds: npt.NDArray[np.int64],
                       pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
                       genuine: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Compares every pair of one person with pairs of different people of the same kind.

    A pair is compared at the finest level at which its two faces are of one kind, and at which this kind has at least
    `LEAST_STRANGERS` pairs of different people.

    Args:
        pairs: rows [P], [P]. genuine: [P] their distances.

    Returns:
        [P] share of the others' distances that are larger, NaN where there is no such level; [P] the level.
    """
    first, second = pairs
    nearer, levels = np.full(len(first), np.nan), np.zeros(len(first), np.int64)
    for level, kind in enumerate(kinds.T):
        waiting = np.isnan(nearer) & (kind[first] == kind[second])
        for one in np.unique(kind[first[waiting]]):
            rows = np.flatnonzero(kind == one)
            counts = np.unique(people[rows], return_counts=True)[1]
            if (len(rows) ** 2 - int((counts**2).sum())) // 2 < LEAST_STRANGERS:
                continue
            some, person = new[torch.from_numpy(rows)], torch.from_numpy(people[rows])
            strangers, own = impostor_distances(some, some, person, person), waiting & (kind[first] == one)
            nearer[own], levels[own] = 1 - strangers.share_below(genuine[own]), level
    return nearer, levels


def pairs_of_one_person(people: People) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows [P], [P] of every two faces of one person."""
    order = np.argsort(people, kind="stable")
    ends = np.flatnonzero(np.diff(people[order])) + 1
    pairs = [group[np.array(np.triu_indices(len(group), 1))] for group in np.split(order, ends)]
    first, second = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    return first, second
