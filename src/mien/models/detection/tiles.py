"""Checks the photos that detectors are given, and cuts large photos into tiles."""

from __future__ import annotations

import math

import numpy as np

from mien.errors import PhotoError
from mien.types import Pixels


def check_photo(photo: Pixels) -> None:
    """Refuses an array that is not a photo.

    Raises:
        PhotoError: it is not [H, W, 3] uint8, or has no pixels.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise PhotoError(f"a photo is uint8 [H, W, 3], got {photo.dtype} {list(photo.shape)}")


def spans(length: int, tile: float, overlap: float) -> list[tuple[int, int]]:
    """Cuts a length into overlapping spans (start, end) of equal size, none longer than a tile."""
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    size = math.ceil((length + overlap * (count - 1)) / count)
    starts = [round(i * (length - size) / max(count - 1, 1)) for i in range(count)]
    return [(start, min(start + size, length)) for start in starts]
