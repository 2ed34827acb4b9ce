"""How distances are spread: counted in fine bins, so that any number of pairs takes the same memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BINS = 1 << 14
ROWS = 512  # faces compared with all others at a time

Numbers = npt.NDArray[np.float64]


class DistanceHistogram:
    """Counts of distances between 0 and `top`.

    Shares are exact to one bin, `top` / 16,384.
    """

    def __init__(self, top: float) -> None:
        self.top = max(top, 1e-6)
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def add(self, distances: Tensor) -> None:
        self.counts += torch.histc(distances.flatten().float().clamp(0, self.top), BINS, 0, self.top)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def share_below(self, distances: npt.ArrayLike) -> Numbers:
        """Which share of the counted distances is smaller, those in the same bin by half."""
        place = np.clip(np.asarray(distances, np.float64) / self.top * BINS, 0, BINS - 1).astype(int)
        below = np.concatenate([[0.0], np.cumsum(self.counts.numpy())])
        return np.asarray((below[place] + below[place + 1]) / 2 / max(self.total, 1))

    def threshold(self, share: float) -> float:
        """The largest distance, at a bin's edge, below which at most this share lies; NaN when nothing was counted."""
        if not self.total:
            return float("nan")
        below = np.cumsum(self.counts.numpy()) / self.total
        return float(np.searchsorted(below, share, side="right") * self.top / BINS)


def reach(*vectors: Tensor) -> float:
    """A distance that no two of these vectors [N, D] exceed."""
    return 2 * max((float(one.norm(dim=1).max()) for one in vectors if len(one)), default=0.0)


def rows(probes: Tensor, gallery: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances of some probes [n, D] at a time to the whole gallery [M, D]: their rows, [n, M]."""
    squares = gallery.square().sum(dim=1)
    for first in range(0, len(probes), ROWS):
        some = slice(first, first + ROWS)
        part = probes[some]
        squared = part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ gallery.T
        yield some, squared.clamp(min=0).sqrt()


def strangers(probes: Tensor, gallery: Tensor, probe_people: Tensor, gallery_people: Tensor,
              kinds: tuple[Tensor, Tensor] | None = None) -> DistanceHistogram:
    """Distances between faces of different people; `kinds`, of probes and of gallery: only of one kind."""
    spread = DistanceHistogram(reach(probes, gallery))
    for some, between in rows(probes, gallery):
        counted = probe_people[some, None] != gallery_people
        if kinds is not None:
            counted &= kinds[0][some, None] == kinds[1]
        spread.add(between[counted])
    return spread
