"""Conceals faces that cannot be anonymized: of each only a few mean colors are left."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Face, Pixels

CELLS = 4  # mean colors that are kept across the face, and as many down
GROW = 0.25  # margin on every side, as a share of the box


def conceal(photo: Pixels, faces: list[Face]) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Replaces faces by a few smooth colors.

    Returns:
        The new photo [H, W, 3] uint8, and a mask [H, W] bool of the pixels that changed.
    """
    out, changed = photo.copy(), np.zeros(photo.shape[:2], dtype=bool)
    for face in faces:
        ys, xs = _window(face, photo.shape)
        part = photo[ys, xs]
        if part.size == 0:
            continue
        h, w = part.shape[:2]
        small = cv2.resize(part, (min(CELLS, w), min(CELLS, h)), interpolation=cv2.INTER_AREA)
        flat = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
        y, x = np.mgrid[-1 : 1 : complex(0, h), -1 : 1 : complex(0, w)]
        # a superellipse covers the whole box and still rounds the corners
        mask = (x**4 + y**4 <= 1.0) | (min(h, w) < 8)
        out[ys, xs][mask] = flat.reshape(h, w, 3)[mask]
        changed[ys, xs] |= mask
    return out, changed


def _window(face: Face, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Finds the rows and columns of the box and the five points with a margin, within the photo."""
    x, y, w, h = face.box
    grow = np.array([GROW * w, GROW * h])
    low = np.minimum([x, y], face.points.min(axis=0)) - grow
    high = np.maximum([x + w, y + h], face.points.max(axis=0)) + grow
    x0, y0 = np.floor(np.clip(low, 0, [shape[1] - 1, shape[0] - 1])).astype(int)
    x1, y1 = np.ceil(np.clip(high, 1, [shape[1], shape[0]])).astype(int)
    return slice(int(y0), int(max(y1, y0 + 1))), slice(int(x0), int(max(x1, x0 + 1)))
