"""Histograms of distances between faces: counted in fine bins, so that memory does not grow with the pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BINS = 1 << 14
PROBES_AT_ONCE = 512  # compared with the whole gallery


class DistanceHistogram:
    """Counts of distances between 0 and `top`.

    Shares are exact to one bin, `top` / 16,384.
    """

    def __init__(self, top: float) -> None:
        self.top = max(top, 1e-6)
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def add(self, distances: Tensor) -> None:
        """Counts distances of any shape; those above `top` count as `top`."""
        self.counts += torch.histc(distances.flatten().float().clamp(0, self.top), BINS, 0, self.top)

    @property
    def total(self) -> int:
        """How many distances were counted."""
        return int(self.counts.sum())

    def distances(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The middles of the bins that have distances [B], rising, and how many each has [B]."""
        counts = self.counts.numpy()
        some = np.flatnonzero(counts)
        return (some + 0.5) * self.top / BINS, counts[some]

    def share_below(self, distances: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The share of the counted distances that is smaller than each of these; those in the same bin count half."""
        place = np.clip(np.asarray(distances, np.float64) / self.top * BINS, 0, BINS - 1).astype(int)
        below = np.concatenate([[0.0], np.cumsum(self.counts.numpy())])
        return np.asarray((below[place] + below[place + 1]) / 2 / max(self.total, 1))

    def threshold(self, share: float) -> float:
        """The largest bin edge with at most this share of the distances below it; NaN when nothing was counted."""
        if not self.total:
            return float("nan")
        below = np.cumsum(self.counts.numpy()) / self.total
        return float(np.searchsorted(below, share, side="right") * self.top / BINS)


def greatest_distance(*vectors: Tensor) -> float:
    """A distance that no two of these vectors [N, D] exceed."""
    return 2 * max((float(one.norm(dim=1).max()) for one in vectors if len(one)), default=0.0)


def distances_to_gallery(probes: Tensor, gallery: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yields, for some probes at a time, their rows and their distances [n, M] to the whole gallery.

    Args:
        probes: [N, D]. gallery: [M, D].
    """
    squares = gallery.square().sum(dim=1)
    for first in range(0, len(probes), PROBES_AT_ONCE):
        some = slice(first, first + PROBES_AT_ONCE)
        part = probes[some]
        squared = part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ gallery.T
        yield some, squared.clamp(min=0).sqrt()


def impostor_distances(probes: Tensor, gallery: Tensor, probe_people: Tensor, gallery_people: Tensor,
                       kinds: tuple[Tensor, Tensor] | None = None) -> DistanceHistogram:
    """Counts the distances between faces of different people.

    Args:
        probes, gallery: vectors [N, D] and [M, D]. probe_people, gallery_people: [N] and [M], whose they are.
        kinds: of probes [N] and of gallery [M]; given, only pairs of one kind are counted.
    """
    histogram = DistanceHistogram(greatest_distance(probes, gallery))
    for some, distances in distances_to_gallery(probes, gallery):
        counted = probe_people[some, None] != gallery_people
        if kinds is not None:
            counted &= kinds[0][some, None] == kinds[1]
        histogram.add(distances[counted])
    return histogram
