"""Defines what a metric means: its title, a sentence, its unit, and which values are wanted."""

from __future__ import annotations

from dataclasses import dataclass

from mien.evaluation.confidence import Better


@dataclass(frozen=True)
class Metric:
    """What a metric means.

    Attributes:
        better: whether less or more of it is wanted, or a ratio of 1.
        unit: "%" for shares, else what is written behind the number.
    """

    title: str
    meaning: str
    better: Better
    unit: str = "%"
