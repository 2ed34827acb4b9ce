"""What was changed in a photograph: pixels outside the faces, and the border of the changed area."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Pixels

SAME = 2  # gray levels: what saving a picture anew may change
Mask = npt.NDArray[np.bool_]  # [H, W]


def outside_difference(original: Pixels, new: Pixels, face: Mask) -> float:
    """Share of the pixels outside the face's region that differ by more than saving the file anew changes them.

    Args:
        original, new: [H, W, 3] uint8 RGB. face: [H, W], true where a method may change pixels.

    Returns:
        NaN where the face's region is the whole picture.
    """
    outside = ~face
    if not outside.any():
        return float("nan")
    changed = np.abs(original.astype(np.int16) - new).max(axis=2) > SAME
    return float(changed[outside].mean())


def seam(original: Pixels, new: Pixels) -> float:
    """How much steeper the gray levels' gradient is along the border of the changed area than in the original.

    Returns:
        0 for a border that cannot be seen, 1 for twice the gradient; NaN when nothing or everything was changed.
    """
    changed = (np.abs(original.astype(np.int16) - new).max(axis=2) > SAME).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    whole = cv2.morphologyEx(cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)),
                             cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    border = cv2.dilate(whole, kernel) != cv2.erode(whole, kernel)
    if not border.any():
        return float("nan")
    before, after = (_gradient(one)[border].mean() for one in (original, new))
    return float(after / max(float(before), 1.0) - 1)


def _gradient(picture: Pixels) -> npt.NDArray[np.float32]:
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)))
