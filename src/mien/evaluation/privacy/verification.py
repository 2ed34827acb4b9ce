"""Verification: whether the distances of a judge tell pairs of one person from pairs of two people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import Estimate, estimate

Distances = npt.NDArray[np.floating]


def area_under_curve(mated: Distances, non_mated: Distances, people: npt.NDArray[np.int64]) -> Estimate:
    """The probability that a pair of one person is nearer than one of two people; equal distances count half.

    Args:
        mated, non_mated: distances [M] and [K]. people: [M], who is on each mated pair.
    """
    if not len(non_mated):
        return Estimate.missing()
    return estimate(1 - share_below(mated, non_mated), people)


def share_below(values: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """[N], the share of the others [M] that each value [N] exceeds; equal ones count half."""
    order = np.sort(others)
    counts = np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")
    return np.asarray(counts / (2 * len(order)), np.float64)


def equal_error(mated: Distances, non_mated: Distances) -> float:
    """The rate at which as many pairs of one person are refused as pairs of two people are accepted; NaN without both.

    Args:
        mated, non_mated: distances [M] and [K].
    """
    if not len(mated) or not len(non_mated):
        return float("nan")
    limits = np.concatenate([[-np.inf], np.unique(np.concatenate([mated, non_mated]))])
    accepted = np.searchsorted(np.sort(non_mated), limits, "right") / len(non_mated)
    refused = 1 - np.searchsorted(np.sort(mated), limits, "right") / len(mated)
    place = int(np.argmin(np.abs(accepted - refused)))
    return float((accepted[place] + refused[place]) / 2)
