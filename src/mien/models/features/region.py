"""Defines the turned square of a photograph that a landmark network looks at, as mediapipe cuts it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Floats, Pixels

SMALLEST = 1e-3  # pixels
MOST_SHRINKING = 2.0  # bilinear samples skip pixels beyond: the photograph is shrunk by areas first


@dataclass(frozen=True)
class Region:
    """Is a square in a photograph, which may be turned, and may be seen in a mirror.

    Attributes:
        center: (x, y) in photo pixels. side: in photo pixels. angle: of its upper edge against the photo's, in radians,
            positive clockwise. mirrored: whether its view has left and right exchanged.
    """

    center: tuple[float, float]
    side: float
    angle: float = 0.0
    mirrored: bool = False

    def matrix(self, size: int) -> npt.NDArray[np.float64]:
        """Returns the map [2, 3] from pixels of a size x size view to pixels of the photograph."""
        across = np.array([math.cos(self.angle), math.sin(self.angle)])
        down = np.array([-across[1], across[0]])
        axes = np.stack([-across if self.mirrored else across, down], axis=1) * (self.side / size)
        return np.hstack([axes, (self.center - axes @ [size / 2, size / 2])[:, None]])

    def cut(self, photo: Pixels, size: int) -> Pixels:
        """Cuts the square out.

        Args:
            photo: [H, W, 3] uint8 RGB. size: of the view, pixels.

        Returns:
            [size, size, 3]; beyond the photograph its edge is repeated.
        """
        matrix = self.matrix(size)
        shrinking = self.side / size
        if shrinking > MOST_SHRINKING:
            height, width = photo.shape[:2]
            smaller = max(1, round(width / shrinking)), max(1, round(height / shrinking))
            photo = np.asarray(cv2.resize(photo, smaller, interpolation=cv2.INTER_AREA), np.uint8)
            scale = np.array([[smaller[0] / width], [smaller[1] / height]])
            matrix = matrix * scale
            matrix[:, 2:] += scale / 2 - 0.5  # resize keeps the corners, not the middles of the first pixels
        return np.asarray(cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                         borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def to_photo(self, points: Floats, size: int) -> Floats:
        """Converts points [N, 3] of a size x size view to photo pixels; depths are scaled alone."""
        matrix = self.matrix(size)
        flat = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return np.column_stack([flat, points[:, 2:] * (self.side / size)]).astype(np.float32)


def region_between(left: Floats, right: Floats, points: Floats, scale: float, mirrored: bool = False) -> Region:
    """Returns the square around points, turned so that a line from `left` to `right` is level in it.

    Args:
        left, right: (x, y) in photo pixels. points: [N, 2] that it is to hold. scale: its side in units of the longer
            side of the upright box around the points.

    Raises:
        ValueError: points are in one place, or are not finite.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    across, down = (float(v) for v in right - left)
    x, y = (float(v) for v in (low + high) / 2)
    side = float((high - low).max()) * scale
    if not (math.isfinite(x + y + across + down) and min(side, math.hypot(across, down)) > SMALLEST):
        raise ValueError("the points are in one place, or are not finite")
    return Region((x, y), side, math.atan2(down, across), mirrored)
