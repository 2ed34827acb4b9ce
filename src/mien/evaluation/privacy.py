"""Can anyone be found again? Verification, identification, linkability and diversity, by a judge's vectors.

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
from mien.evaluation.distance_histogram import DistanceHistogram, rows, strangers

FALSE_MATCHES = (1e-2, 1e-3)
RANKS = (1, 5)
PAIRS = 1 << 16  # compared at once
People = npt.NDArray[np.int64]  # from 0 up; who is not named has a negative number of their own


@dataclass(frozen=True)
class Finding:
    """How well new faces lead back to the originals.

    Attributes:
        distance: to the own original.
        verified: by false match rate: share of faces that pass for their own original.
        ranked: by K: own original among the K nearest of all originals.
        ranked_others: by K: another photograph of the person among the K nearest, the own original left out.
        eer: equal error rate between own originals and those of strangers.
    """

    distance: Estimate
    verified: dict[float, Estimate]
    ranked: dict[int, Estimate]
    ranked_others: dict[int, Estimate]
    eer: float


@dataclass(frozen=True)
class Linking:
    """How well two new faces of one person lead to each other, without the originals.

    Attributes:
        auc: that two faces of one person are nearer than two of different people; 0.5: not linkable.
        auc_alike: than two of different people of one kind; missing where kinds are not known.
        linked: by false match rate, among new faces: share of a person's pairs found.
        collisions: share of pairs of different people that pass for one person at the originals' threshold for a
            false match rate of 1e-3; 1e-3: as different as real people are.
    """

    auc: Estimate
    auc_alike: Estimate
    linked: dict[float, Estimate]
    collisions: float


@dataclass(frozen=True)
class OriginalsGallery:
    """What is searched: vectors [G, D], and who is on each [G], all of them named."""

    vectors: Tensor
    people: People


def named(people: People) -> npt.NDArray[np.bool_]:
    """[N] whether it is known who that is: of others nobody can say whether they are strangers."""
    return np.asarray(people >= 0)


def thresholds(originals: Tensor, people: People) -> tuple[dict[float, float], DistanceHistogram]:
    """The distances at which so many pairs of different people pass for one, among the originals themselves [N, D]."""
    who = torch.from_numpy(people)
    impostors = strangers(originals, originals, who, who)
    return {rate: impostors.threshold(rate) for rate in FALSE_MATCHES}, impostors


def finding(new: Tensor, originals: OriginalsGallery, places: npt.NDArray[np.int64],
            limits: dict[float, float]) -> Finding:
    """Search every new face [N, D] among all originals; `places`: [N], where in the gallery its own one is."""
    at, gallery = torch.from_numpy(places), torch.from_numpy(originals.people)
    who, people = gallery[at], originals.people[places]
    own = (new - originals.vectors[at]).norm(dim=1)
    before, before_others = torch.zeros(len(new)), torch.full((len(new),), torch.inf)
    for some, between in rows(new, originals.vectors):
        strange, kin = who[some, None] != gallery, others(who[some], gallery, at[some])
        nearest = between.masked_fill(~kin, torch.inf).min(dim=1).values
        # The other photographs of the person compete neither with the own original nor with each other.
        before[some] = ((between < own[some, None]) & strange).sum(dim=1).float()
        closer = ((between < nearest[:, None]) & strange).sum(dim=1).float()
        before_others[some] = closer.masked_fill(nearest.isinf(), torch.inf)
    many = np.isfinite(before_others.numpy())
    return Finding(
        estimate(own.numpy(), people),
        {rate: Estimate.missing() if np.isnan(limit) else estimate((own < limit).numpy(), people, share=True)
         for rate, limit in limits.items()},
        {k: estimate((before < k).numpy(), people, share=True) for k in RANKS},
        {k: estimate((before_others < k).numpy()[many], people[many], share=True) for k in RANKS},
        equal_error(own.numpy(), strangers(new, originals.vectors, who, gallery)),
    )


def others(who: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    """[N, G]: which of the gallery's faces [G] show the probe's person [N] and are not its own one, at `own` [N]."""
    kin = who[:, None] == gallery
    kin[torch.arange(len(who)), own] = False
    return kin


def linking(new: Tensor, people: People, limit: float, kinds: npt.NDArray[np.int64] | None = None) -> Linking:
    """Compare new faces [N, D] with each other.

    Args:
        limit: the originals' threshold for a false match rate of 1e-3. kinds: [N], of people hard to tell apart.
    """
    who = torch.from_numpy(people)
    impostors = strangers(new, new, who, who)
    first, second = pairs_of_one_person(people)
    apart = torch.cat([torch.zeros(0), *((new[first[i : i + PAIRS]] - new[second[i : i + PAIRS]]).norm(dim=1)
                                         for i in range(0, len(first), PAIRS))]).numpy()

    def nearer(than: DistanceHistogram) -> Estimate:
        return estimate(1 - than.share_below(apart), people[first]) if than.total else Estimate.missing()

    alike = Estimate.missing()
    if kinds is not None:
        kind = torch.from_numpy(kinds)
        alike = nearer(strangers(new, new, who, who, (kind, kind)))
    return Linking(
        nearer(impostors),
        alike,
        {rate: estimate(apart < impostors.threshold(rate), people[first], share=True) if impostors.total
         else Estimate.missing() for rate in FALSE_MATCHES},
        float(impostors.share_below(limit)) if impostors.total else float("nan"),
    )


def pairs_of_one_person(people: People) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows [P], [P] of every two faces of one person."""
    order = np.argsort(people, kind="stable")
    ends = np.flatnonzero(np.diff(people[order])) + 1
    pairs = [group[np.array(np.triu_indices(len(group), 1))] for group in np.split(order, ends)]
    first, second = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    return first, second


def equal_error(own: npt.NDArray[np.floating], impostors: DistanceHistogram) -> float:
    """The rate at which as many owns are missed as strangers are taken for them; NaN without both."""
    if not len(own) or not impostors.total:
        return float("nan")
    edges = np.linspace(0, impostors.top, len(impostors.counts) + 1)
    wrong = np.concatenate([[0.0], np.cumsum(impostors.counts.numpy())]) / impostors.total
    missed = 1 - np.searchsorted(np.sort(own), edges, side="left") / len(own)
    place = int(np.argmin(np.abs(wrong - missed)))
    return float((wrong[place] + missed[place]) / 2)
