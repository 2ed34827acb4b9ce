"""Measures how often a stranger's new face finds a person: the chance that every rate of found faces is compared with.

Chance is measured and not computed: people with many photographs are found by more strangers, and originals that look
like many others by more still. A stranger's new face is searched without the photographs of its own person, who would
be found first. So that it is not compared with a search among one person more, a rate of ranks is counted without one
other person as well, see `StrangerSearch.found_without_one`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.evaluation.confidence import Estimate
from mien.evaluation.privacy.distance_histogram import DistanceHistogram

# People whose new faces are searched. Among fewer, chance finds so many that no multiple of it is large: of two people,
# with one left out, it finds everyone.
LEAST_SEARCHED = 20


@dataclass(frozen=True)
class ChanceRate:
    """How often strangers' new faces find a person: a share of so many trials; NaN without any."""

    value: float
    trials: int


@dataclass(frozen=True)
class Chance:
    """The rates at which strangers' new faces find a person.

    Attributes:
        ranked: the claimed original is the nearest. ranked_others: another photograph of that person is.
        verified: false match rate -> share of pairs of a new face and a stranger's original below the threshold.
    """

    ranked: ChanceRate
    ranked_others: ChanceRate
    verified: dict[float, ChanceRate]


class StrangerSearch:
    """Counts how often new faces lead to people who are not on their photographs.

    Each new face is searched as if it had been made of a stranger's original, once for every original of every
    stranger. The rate is counted for each original and then averaged over them: this is the mean over all ways to
    permute who is who between people. The photographs of the new face's own person are left out of the gallery.

    Args:
        gallery: [G], who is on each original, numbered as they come. claimed: [G], which originals a face may be said
            to be made of: those of the set's own faces.
    """

    def __init__(self, gallery: Tensor, claimed: Tensor) -> None:
        self.gallery, self.claimed = gallery, claimed
        self.numbers = torch.unique(gallery, return_inverse=True)[1]
        self.people = int(self.numbers.max()) + 1 if len(gallery) else 0
        self.several = torch.bincount(self.numbers, minlength=self.people)[self.numbers] > 1
        self.found = torch.zeros(2, len(gallery), dtype=torch.float64)  # each original, and the person's others
        self.searched = torch.zeros(len(gallery), dtype=torch.float64)  # by so many strangers' faces

    def add(self, distances: Tensor, person: Tensor) -> None:
        """Counts some new faces.

        Args:
            distances: [n, G] to the gallery. person: [n], who is on each.
        """
        strange = person[:, None] != self.gallery
        hits = self._nearest_people(distances.masked_fill(~strange, torch.inf)) & strange
        per_person = torch.zeros(len(hits), self.people).index_add_(1, self.numbers, hits.float())
        others = per_person[:, self.numbers] - hits.float() > 0
        self.found += torch.stack([hits.sum(dim=0), (others & strange).sum(dim=0)])
        self.searched += strange.sum(dim=0)

    def _nearest_people(self, distances: Tensor) -> Tensor:
        """[n, G], whether no face of another person is nearer; photographs of one person do not compete."""
        first, place = distances.min(dim=1, keepdim=True)
        same = self.numbers == self.numbers[place]
        second = distances.masked_fill(same, torch.inf).min(dim=1, keepdim=True).values
        nearest: Tensor = (distances <= first) | (same & (distances <= second))
        return nearest

    def found_without_one(self, distances: Tensor, person: Tensor, wanted: Tensor) -> Tensor:
        """[n], the probability that no stranger is nearer than what is searched for, with one stranger left out.

        The stranger is drawn in proportion to the claimed originals of each, since a person's new faces are as many as
        the claimed originals: in `add` a person is left out as often.

        Args:
            distances, person: see `add`. wanted: [n], the distance to what is searched for.
        """
        strange = person[:, None] != self.gallery
        nearer = strange & (distances < wanted[:, None])
        first = self.numbers[distances.masked_fill(~strange, torch.inf).argmin(dim=1)]
        alone = ~(nearer & (self.numbers != first[:, None])).any(dim=1)  # all that are nearer show one person
        claims = (strange & self.claimed).sum(dim=1).clamp(min=1)
        left_out = torch.bincount(self.numbers[self.claimed], minlength=self.people)[first] / claims
        return torch.where(nearer.any(dim=1), left_out * alone, 1.0)

    def rates(self) -> tuple[ChanceRate, ChanceRate]:
        """The rates for the own original and for other photographs."""
        counted = self.claimed & (self.searched > 0)
        own, others = (ChanceRate((found / self.searched)[which].mean().item(), int(self.searched[which].sum()))
                       for found, which in zip(self.found, (counted, counted & self.several), strict=True))
        return own, others


def share_of_strangers_below(strangers: DistanceHistogram, limit: float) -> ChanceRate:
    """The share of pairs of a new face and a stranger's original below a threshold; 0 for less than one pair."""
    if not strangers.total or np.isnan(limit):
        return ChanceRate(float("nan"), 0)
    share = float(strangers.share_below(limit))
    return ChanceRate(share if share * strangers.total >= 1 else 0.0, strangers.total)


def lift(rate: Estimate, chance: ChanceRate) -> Estimate:
    """How many times as often as by chance faces are found.

    The interval is that of the rate: chance, a mean over all pairs of strangers, counts as exact. Where no stranger is
    ever found, chance is less than one trial in all of them, and the lift a lower bound without an interval. It is
    missing where nothing is found either, where there is no chance to compare with, and for fewer than 20 people.
    """
    if not rate.count or rate.people < LEAST_SEARCHED or not chance.trials or not max(rate.value, chance.value) > 0:
        return Estimate.missing()
    least = chance.value if chance.value > 0 else 1 / chance.trials
    low, high = (rate.low / least, rate.high / least) if chance.value > 0 else (float("nan"), float("nan"))
    return replace(rate, value=rate.value / least, low=low, high=high, least=float("nan"), most=float("nan"),
                   at_least=not chance.value > 0)
