"""Computes learning rate schedules: factors on a training's rate."""

from __future__ import annotations

import math


def falling(step: int, steps: int) -> float:
    """Computes half a cosine, from 1 at the first step to 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def warmed(step: int, steps: int, warm: int) -> float:
    """Computes `falling` plus 0.01, rising from 0 over the first `warm` steps."""
    return min(1, (step + 1) / warm) * (falling(step, steps) + 0.01)
