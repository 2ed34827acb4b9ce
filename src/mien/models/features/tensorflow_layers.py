"""Computes what TensorFlow does otherwise than torch, for networks that were trained with it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pad_end(x: Tensor) -> Tensor:
    """Pads maps [B, C, H, W] on the right and below by one, as TensorFlow pads maps of even size for stride 2."""
    return F.pad(x, (0, 1, 0, 1))


def pooled(x: Tensor, channels: int) -> Tensor:
    """Halves maps by their maxima, and adds channels of zeros up to that number: what a narrower block is added to."""
    return F.pad(F.max_pool2d(x, 2), (0, 0, 0, 0, 0, channels - x.shape[1]))
