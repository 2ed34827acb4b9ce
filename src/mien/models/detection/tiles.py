"""What the detectors share: checks of what they are given and of what they find, and tiles of large photos."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mien.errors import PhotoError
from mien.types import Pixels

LEAST_INSIDE = 0.3
Rows = npt.NDArray[np.float64]  # one a face, beginning with x, y, width, height


def check_photo(photo: Pixels) -> None:
    """Refuse what is no photo.

    Raises:
        PhotoError: not [H, W, 3] uint8, or without a pixel.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise PhotoError(f"a photo is uint8 [H, W, 3], got {photo.dtype} {list(photo.shape)}")


def spans(length: int, tile: float, overlap: float) -> list[tuple[int, int]]:
    """Cut a length into overlapping spans of equal size, at most a tile's."""
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    size = math.ceil((length + overlap * (count - 1)) / count)
    starts = [round(i * (length - size) / max(count - 1, 1)) for i in range(count)]
    return [(start, min(start + size, length)) for start in starts]


def usable(rows: Rows, shape: tuple[int, ...]) -> Rows:
    """Drop rows that are not finite, empty, or lie mostly outside the photo."""
    rows = rows[np.isfinite(rows).all(1) & (rows[:, 2:4] > 0).all(1)]
    low = np.clip(rows[:, :2], 0, (shape[1], shape[0]))
    high = np.clip(rows[:, :2] + rows[:, 2:4], 0, (shape[1], shape[0]))
    inside: npt.NDArray[np.bool_] = (high - low).prod(1) >= LEAST_INSIDE * rows[:, 2:4].prod(1)
    return rows[inside]
