"""Computes the geometry of histograms and comparisons, which the pages' templates draw as inline SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEFT, RIGHT, TOP, BOTTOM = 36.0, 352.0, 22.0, 152.0  # of the plot in the templates' drawing of 360 x 180
MOST_BARS = 26
LEAST_BARS = 8


@dataclass(frozen=True)
class Bar:
    """One bar: its place in the drawing, its values as text, how many there are, whether all are below the limit."""

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
        limit: whether values below the mark are wrong, rather than merely on its other side.
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
    """Counts values into bars whose edges are round numbers.

    Args:
        values: what is counted; values that are not finite are left out.
        mark: a vertical line that is always in view, with its label. limit: no value should be below it.
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


@dataclass(frozen=True)
class Span:
    """One row of a `Comparison`: a dot at `x`, its interval from `low` to `high` (equal to `x` where there is none)."""

    label: str
    y: float
    x: float
    low: float
    high: float
    text: str
    chosen: bool


@dataclass(frozen=True)
class Comparison:
    """One figure of several sets, drawn: rows of dots with their intervals over one axis from 0.

    Attributes:
        ticks: (x, label). height: of the drawing. bottom: y of the axis.
    """

    rows: list[Span]
    ticks: list[tuple[float, str]]
    height: float
    bottom: float


SPAN_LEFT, SPAN_RIGHT, ROW = 128.0, 286.0, 17.0  # labels to the left, numbers to the right


def comparison(rows: Sequence[tuple[str, float, float, float, str]], chosen: str) -> Comparison | None:
    """Draws rows of (label, value, low, high, number as text); low and high are NaN where there is no interval.

    Args:
        chosen: the label of the row that is highlighted.

    Returns:
        The drawing, or None without rows.
    """
    finite = [row for row in rows if math.isfinite(row[1])]
    if not finite:
        return None
    ends = [value for row in finite for value in row[1:4] if math.isfinite(value)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    high = high if high - low > 1e-6 else low + 1.0  # where all values are 0
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    scale = (SPAN_RIGHT - SPAN_LEFT) / max((last - first) * step, 1e-9)

    def across(value: float, otherwise: float) -> float:
        return SPAN_LEFT + ((value if math.isfinite(value) else otherwise) - first * step) * scale

    drawn = [Span(label, 14 + i * ROW, across(x, x), across(a, x), across(b, x), text, label == chosen)
             for i, (label, x, a, b, text) in enumerate(finite)]
    bottom = 10 + len(drawn) * ROW
    places = _places(step)
    ticks = [(across(k * step, 0.0), f"{k * step:.{places}f}") for k in range(first, last + 1)]
    return Comparison(drawn, ticks, bottom + 20, bottom)
