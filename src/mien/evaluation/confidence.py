"""Means over faces or pairs with their confidence intervals over people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

DRAWS = 1000  # bootstrap samples
DRAWS_AT_ONCE = 50
Better = Literal["less", "more"]


@dataclass(frozen=True)
class Estimate:
    """A mean over faces or pairs, with a 95 % interval over people.

    Attributes:
        low, high: NaN where there are fewer than two people.
        count: faces or pairs. people: whom they show.
        least, most: means of the lowest and of the highest tenth; NaN for a share of yes and no, where a tenth says
            nothing, and for a figure of the whole set.
    """

    value: float
    low: float
    high: float
    count: int
    people: int
    least: float = float("nan")
    most: float = float("nan")

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
    tails = (float("nan"), float("nan")) if share else _tenths(x)
    if n < 2:
        return Estimate(value, float("nan"), float("nan"), len(x), n, *tails)
    means = [times @ sums / (times @ counts) for times in (drawn.astype(np.float64) for drawn in _drawn(n, seed))]
    low, high = map(float, np.quantile(np.concatenate(means), (0.025, 0.975)))
    if share:
        least = 0.025 ** (1 / n)
        low, high = min(low, least), max(high, 1 - least)
    return Estimate(value, low, high, len(x), n, *tails)


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
    return Estimate(float(np.median(x)), low, high, len(x), n, *_tenths(x))


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


def _tenths(x: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Means of the lowest and of the highest tenth."""
    order, some = np.sort(x), -(-len(x) // 10)
    return float(order[:some].mean()), float(order[-some:].mean())
