"""Histograms as plain geometry, which the page's template draws as inline SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 360.0, 180.0  # of the drawing, including its labels
LEFT, RIGHT, TOP, BOTTOM = 36.0, 352.0, 22.0, 152.0  # of the plot inside it
MOST_BARS = 26
LEAST_BARS = 8


@dataclass(frozen=True)
class Bar:
    """One bar: place in the drawing, the values it stands for, and whether they are all on the wrong side."""

    x: float
    y: float
    width: float
    height: float
    span: str
    count: int
    wrong: bool


@dataclass(frozen=True)
class Histogram:
    """A drawn histogram.

    Attributes:
        ticks: (x, label) along the axis. top: the highest count. mark: x of the vertical line, or None.
        limit: whether what lies below the mark is wrong, rather than merely on its other side.
        extremes: smallest, median and largest value.
    """

    bars: list[Bar]
    ticks: list[tuple[float, str]]
    top: int
    mark: float | None
    mark_label: str
    limit: bool
    extremes: tuple[float, float, float]


def histogram(values: Sequence[float], mark: float | None = None, mark_label: str = "",
              limit: bool = False, start: float | None = None) -> Histogram | None:
    """Count values into bars whose edges are round numbers.

    Args:
        values: what is counted; values that are not finite are left out.
        mark: a vertical line that is always in view, with its label. limit: no value should lie below it.
        start: where the axis begins, instead of near the smallest value.

    Returns:
        The drawing, or None where there is nothing to count.
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite:
        return None
    shown = finite + [value for value in (mark, start) if value is not None]
    low, high = min(shown), max(shown)
    step = _round_step(max(high - low, 0.05 * max(abs(low), abs(high), 0.1)) / (MOST_BARS - 3))
    first, last = _bin(low, step), _bin(high, step)
    if start is None:
        first, last = first - 1, last + 1
    missing = max(0, LEAST_BARS - (last - first + 1))
    if start is None:
        first -= missing // 2
    last = max(last, first + LEAST_BARS - 1)
    counts = Counter(_bin(value, step) for value in finite)
    top = max(counts.values())
    scale = (RIGHT - LEFT) / (last + 1 - first)

    def across(value: float) -> float:
        return LEFT + (value / step - first) * scale

    bars = [_bar(i, counts[i], top, step, across(i * step), scale, mark if limit else None)
            for i in sorted(counts)]
    ticks = [(across(value), label) for value, label in _ticks(first * step, (last + 1) * step)]
    extremes = (min(finite), float(np.median(finite)), max(finite))
    return Histogram(bars, ticks, top, None if mark is None else across(mark), mark_label,
                     limit, extremes)


def _bar(i: int, count: int, top: int, step: float, x: float, width: float, limit: float | None) -> Bar:
    height = max(1.5, (BOTTOM - TOP) * count / top)  # a single face among thousands stays visible
    places = _places(step)
    wrong = limit is not None and (i + 1) * step <= limit + 1e-9
    span = f"{i * step:.{places}f} to {(i + 1) * step:.{places}f}"
    return Bar(x + 0.75, BOTTOM - height, max(1.0, width - 1.5), height, span, count, wrong)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = _round_step((high - low) / 6)
    places = _places(step)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(number * step, f"{number * step:.{places}f}") for number in numbers]


def _bin(value: float, step: float) -> int:
    return math.floor(value / step + 1e-9)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _places(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))
