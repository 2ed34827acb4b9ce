"""Draws vectors as a recognizer might give them, of people who have nothing to do with each other."""

from __future__ import annotations

import torch


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    """Draws vectors [count, 16]."""
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
