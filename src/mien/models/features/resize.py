"""Resizes images as in the training of the published networks: antialiased bilinear, then a center crop."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def fit_square(image: Tensor, size: int) -> Tensor:
    """Resizes the shorter side to `size` and crops the central square: [B, C, H, W] -> [B, C, size, size]."""
    height, width = image.shape[-2:]
    short, long = min(height, width), max(height, width)
    if short != size:
        length = int(size * long / short)
        target = (size, length) if height <= width else (length, size)
        image = F.interpolate(image, size=target, mode="bilinear", align_corners=False, antialias=True)
    top, left = (round((side - size) / 2) for side in image.shape[-2:])
    return image[..., top : top + size, left : left + size]
