"""Means over faces or pairs with their confidence intervals over people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

DRAWS = 1000  # bootstrap samples
DRAWS_AT_ONCE = 50
# Figures of fewer faces or people are those of single ones: whoever has an original could check by them whether a
# published photograph was made of it.
LEAST_FACES, LEAST_PEOPLE = 10, 3
LEAST_RATIO = 1e-3  # smaller ones count as this, since 0 has no logarithm
Better = Literal["less", "more", "one"]  # "one": a ratio that is best at 1


@dataclass(frozen=True)
class Estimate:
    """A mean over faces or pairs, with a 95 % interval over people.

    Attributes:
        low, high: NaN where there are fewer than two people.
        count: faces or pairs. people: whom they show.
        least, most: means of the lowest and of the highest tenth; NaN for a share of yes and no, where a tenth says
            nothing, for a figure of the whole set, and where the tenth has fewer than 10 faces or 3 people.
        farthest: for a ratio, by which factor the tenth farthest from 1 is off, up or down (geometric mean); else NaN.
        at_least: whether the value is a lower bound; it has no interval.
    """

    value: float
    low: float
    high: float
    count: int
    people: int
    least: float = float("nan")
    most: float = float("nan")
    farthest: float = float("nan")
    at_least: bool = False

    @classmethod
    def missing(cls) -> Estimate:
        """The estimate of no values: NaN, with a count of 0."""
        return cls(float("nan"), float("nan"), float("nan"), 0, 0)


def with_values(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Leaves out what there was nothing to estimate from."""
    return {name: one for name, one in found.items() if one.count and np.isfinite(one.value)}


def estimate(values: npt.ArrayLike, people: npt.ArrayLike, share: bool = False, seed: int = 0) -> Estimate:
    """The mean of values [N] with the percentile bootstrap over people: photographs of one person are not independent.

    Args:
        people: [N], whose each value is.
        share: values are 0 or 1. Where nearly all are the same the bootstrap's interval is too narrow; it is widened to
            that of Clopper and Pearson for none or all of so many people (with 30 people and no success the share may
            still be 12 %).
    """
    x, (_, person) = np.asarray(values, np.float64), np.unique(np.asarray(people), return_inverse=True)
    if not len(x):
        return Estimate.missing()
    sums, counts = np.bincount(person, x), np.bincount(person).astype(np.float64)
    n, value = len(sums), float(x.mean())
    tails = (float("nan"), float("nan")) if share else _tenths(x, person)
    if n < 2:
        return Estimate(value, float("nan"), float("nan"), len(x), n, *tails)
    means = [times @ sums / (times @ counts) for times in (drawn.astype(np.float64) for drawn in _drawn(n, seed))]
    low, high = map(float, np.quantile(np.concatenate(means), (0.025, 0.975)))
    if share:
        low, high = widen_share(low, high, n)
    return Estimate(value, low, high, len(x), n, *tails)


def widen_share(low: float, high: float, people: int) -> tuple[float, float]:
    """Widens a share's interval to that of Clopper and Pearson for none or all of so many people."""
    least: float = 0.025 ** (1 / people)
    return min(low, least), max(high, 1 - least)


def estimate_median(values: npt.ArrayLike, people: npt.ArrayLike, seed: int = 0) -> Estimate:
    """The median of those values [N] that are finite, with the same bootstrap over people [N]."""
    x, whose = np.asarray(values, np.float64), np.asarray(people)
    finite = np.isfinite(x)
    if not finite.any():
        return Estimate.missing()
    x, (_, person) = x[finite], np.unique(whose[finite], return_inverse=True)
    n, order = int(person.max()) + 1, np.argsort(x)
    low = high = float("nan")
    if n > 1:
        medians = []
        for drawn in _drawn(n, seed):
            times = drawn[:, person[order]]  # of each value, rising
            medians.append((times.cumsum(axis=1) >= times.sum(axis=1, keepdims=True) / 2).argmax(axis=1))
        low, high = map(float, np.quantile(x[order][np.concatenate(medians)], (0.025, 0.975)))
    return Estimate(float(np.median(x)), low, high, len(x), n, *_tenths(x, person))


def estimate_ratio(values: npt.ArrayLike, people: npt.ArrayLike) -> Estimate:
    """The same as `estimate_median`, of ratios [N] that are best at 1, with `farthest`."""
    x, whose = np.asarray(values, np.float64), np.asarray(people)
    finite = np.isfinite(x)
    off = _tenths(np.abs(np.log(np.maximum(x[finite], LEAST_RATIO))), whose[finite])[1]
    return replace(estimate_median(x, whose), farthest=float(np.exp(off)))


def estimate_finite(values: npt.ArrayLike, people: npt.ArrayLike, share: bool = False) -> Estimate:
    """The same as `estimate`, of those values [N] that are finite."""
    x = np.asarray(values, np.float64)
    finite = np.isfinite(x)
    return estimate(x[finite], np.asarray(people)[finite], share)


def _drawn(people: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Draws the bootstrap's samples, some at once: how often each person is in each, [D, people]."""
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS // DRAWS_AT_ONCE):
        yield rng.multinomial(people, np.full(people, 1 / people), size=DRAWS_AT_ONCE)


def is_few(faces: int, people: int) -> bool:
    """Whether figures of so few are those of single faces."""
    return faces < LEAST_FACES or people < LEAST_PEOPLE


def are_few(people: npt.NDArray[np.int64]) -> bool:
    """Whether faces are so few, or of so few people; `people`: [N], whose each face is."""
    return is_few(len(people), len(np.unique(people)))


def _tenths(x: npt.NDArray[np.float64], people: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Means of the lowest and of the highest tenth; NaN for one of too few faces or people."""
    order, some = np.argsort(x), -(-len(x) // 10)
    low, high = (float("nan") if are_few(people[rows]) else float(x[rows].mean())
                 for rows in (order[:some], order[len(x) - some :]))
    return low, high
