"""Measures how often a stranger's new face finds a person: the chance that every rate of found faces is compared with.

Chance is measured and not computed: people with many photographs are found by more strangers, and originals that look
like many others by more still.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.evaluation.confidence import Estimate
from mien.evaluation.privacy.distance_histogram import DistanceHistogram


@dataclass(frozen=True)
class Chance:
    """The rates at which strangers' new faces find a person; NaN where there are no strangers.

    Attributes:
        ranked: the claimed original is the nearest. ranked_others: another photograph of that person is.
        verified: false match rate -> share of pairs of a new face and a stranger's original below the threshold.
    """

    ranked: float
    ranked_others: float
    verified: dict[float, float]


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

    def rates(self) -> tuple[float, float]:
        """The rates for the own original and for other photographs."""
        counted = self.claimed & (self.searched > 0)
        own, others = ((found / self.searched)[which].mean().item()  # NaN where there are none
                       for found, which in zip(self.found, (counted, counted & self.several), strict=True))
        return own, others


def share_of_strangers_below(strangers: DistanceHistogram, limit: float) -> float:
    """The share of pairs of a new face and a stranger's original below a threshold; NaN without either.

    Where no pair is below it, the share of one pair is given: rarer than that cannot be measured.
    """
    if not strangers.total or np.isnan(limit):
        return float("nan")
    return max(float(strangers.share_below(limit)), 1 / strangers.total)


def lift(rate: Estimate, chance: float) -> Estimate:
    """How many times as often as by chance faces are found; missing where there is no chance to compare with."""
    if not rate.count or not chance > 0:
        return Estimate.missing()
    return replace(rate, value=rate.value / chance, low=rate.low / chance, high=rate.high / chance,
                   least=float("nan"), most=float("nan"))
