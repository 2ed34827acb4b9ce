"""Verification: whether the distances of a judge tell pairs of one person from pairs of two people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import Estimate, estimate, widen_share

Distances = npt.NDArray[np.floating]
NORMAL = 1.959964  # standard errors on both sides of a value that make an interval of 95 %


def area_under_curve(mated: Distances, non_mated: Distances, people: npt.NDArray[np.int64],
                     strangers: npt.NDArray[np.int64]) -> Estimate:
    """The probability that a pair of one person is nearer than one of two people; equal distances count half.

    Its interval considers that both kinds of pairs are a sample of people: clustered placement values (DeLong et al.
    1988; Obuchowski 1997, Biometrics 53:567), where a pair of two people belongs to both of them (Aronow et al. 2015,
    Political Analysis 23:564), on the scale of log odds.

    Args:
        mated, non_mated: distances [M] and [K]. people: [M], who is on each mated pair. strangers: [K, 2], who are on
            each non-mated pair.
    """
    if not len(mated) or not len(non_mated):
        return Estimate.missing()
    nearer, farther = placements(mated, non_mated)
    found = estimate(nearer, people)
    fewest = min(found.people, len(np.unique(strangers)))
    if fewest < 2:
        return replace(found, low=float("nan"), high=float("nan"))
    error = _standard_error((nearer - found.value) / len(mated), (farther - found.value) / len(non_mated), people,
                            strangers)
    low, high = widen_share(*_interval(found.value, error), fewest)
    return replace(found, low=low, high=high)


def placements(lower: Distances, upper: Distances) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The placement values of two samples [M] and [K]: their means are both the area under the curve.

    Returns:
        [M] share of the upper ones that are above each lower one; [K] share of the lower ones that are below each upper
        one; equal ones count half.
    """
    return 1 - share_below(lower, upper), share_below(upper, lower)


def share_below(values: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """[N], the share of the others [M] that each value [N] exceeds; equal ones count half."""
    order = np.sort(others)
    counts = np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")
    return np.asarray(counts / (2 * len(order)), np.float64)


def equal_error(mated: Distances, non_mated: Distances, times: npt.ArrayLike | None = None) -> float:
    """The rate at which as many pairs of one person are refused as pairs of two people are accepted; NaN without both.

    Args:
        mated, non_mated: distances [M] and [K]. times: [K], how many pairs have each of the latter; None: one.
    """
    if not len(mated) or not len(non_mated):
        return float("nan")
    limits = np.concatenate([[-np.inf], np.unique(np.concatenate([mated, non_mated]))])
    order = np.argsort(non_mated)
    below = np.append(0.0, np.cumsum(np.ones(len(order)) if times is None else np.asarray(times)[order]))
    accepted = below[np.searchsorted(non_mated[order], limits, "right")] / below[-1]
    refused = 1 - np.searchsorted(np.sort(mated), limits, "right") / len(mated)
    place = int(np.argmin(np.abs(accepted - refused)))
    return float((accepted[place] + refused[place]) / 2)


def _standard_error(mated: npt.NDArray[np.float64], non_mated: npt.NDArray[np.float64], people: npt.NDArray[np.int64],
                    strangers: npt.NDArray[np.int64]) -> float:
    """The standard error of a sum of deviations over people; at least that of independent pairs.

    Args:
        mated, non_mated: [M] and [K], what each pair adds to the sum. people, strangers: see `area_under_curve`.
    """
    person = np.unique(np.concatenate([people, strangers.ravel()]), return_inverse=True)[1]
    sums = np.bincount(person, np.concatenate([mated, np.repeat(non_mated, 2)]))
    together = sums @ sums - non_mated @ non_mated  # a pair of two people is in the sums of both
    return float(np.sqrt(max(together, mated @ mated + non_mated @ non_mated) * len(sums) / (len(sums) - 1)))


def _interval(area: float, error: float) -> tuple[float, float]:
    """95 % on the scale of log odds, which keeps within 0 and 1; the area itself where it is one of these."""
    if not 0 < area < 1:
        return area, area
    odds, half = np.log(area / (1 - area)), NORMAL * error / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-np.clip(one, -500, 500)))) for one in (odds - half, odds + half))
    return low, high
