"""How a training's rate rises and falls."""

from __future__ import annotations

import math


def falling(step: int, steps: int) -> float:
    """Half a cosine, from 1 at the first step to 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def warmed(step: int, steps: int, warm: int) -> float:
    """The same, a hundredth above it, rising from nothing over the first `warm` steps."""
    return min(1, (step + 1) / warm) * (falling(step, steps) + 0.01)
