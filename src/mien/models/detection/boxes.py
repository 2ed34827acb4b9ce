"""Computes the intersection over union of detected faces' boxes, and non-maximum suppression by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEAST_INSIDE = 0.3
Rows = npt.NDArray[np.float64]  # one a face, beginning with x, y, width, height
_Floats = npt.NDArray[np.floating]
_may_be_infinite = np.errstate(invalid="ignore", over="ignore")  # as a network's boxes may be


@dataclass(frozen=True)
class Boxes:
    """Holds N axis-aligned boxes.

    Attributes:
        low: [N, 2] upper left corners (x, y). high: [N, 2] lower right corners. area: [N].
        end: 0 if `high` is a box's edge, 1 if it is the last pixel that belongs to the box.
    """

    low: _Floats
    high: _Floats
    area: _Floats
    end: int

    @classmethod
    def from_sizes(cls, rows: npt.ArrayLike) -> Boxes:
        """Makes boxes from rows [N, 4 or more] that begin with x, y, width, height."""
        found = np.asarray(rows)
        return cls(found[:, :2], found[:, :2] + found[:, 2:4], found[:, 2:4].prod(1), end=0)

    @classmethod
    @_may_be_infinite
    def from_pixels(cls, rows: npt.ArrayLike) -> Boxes:
        """Makes boxes from rows [N, 4 or more] that begin with x1, y1, x2, y2, the first and the last pixel."""
        found = np.asarray(rows)
        return cls(found[:, :2], found[:, 2:4], (found[:, 2:4] - found[:, :2] + 1).prod(1), end=1)

    def take(self, i: int) -> Boxes:
        """Returns the one box of index `i`."""
        one = slice(i, i + 1)
        return Boxes(self.low[one], self.high[one], self.area[one], self.end)


@_may_be_infinite
def iou(a: Boxes, b: Boxes) -> _Floats:
    """Returns the intersection over union of each box of `a` [N] and each of `b` [M]: [N, M]."""
    common = _intersection(a, b)
    union = a.area[:, None] + b.area[None] - common
    return np.asarray(common / np.maximum(union, 1e-9))


def intersection_over_smaller(a: Boxes, b: Boxes) -> _Floats:
    """Returns the intersection over the smaller area of each box of `a` [N] and each of `b` [M]: [N, M]."""
    smaller = np.minimum(a.area[:, None], b.area[None])
    return np.asarray(_intersection(a, b) / np.maximum(smaller, 1e-9))


def _intersection(a: Boxes, b: Boxes) -> _Floats:
    low = np.maximum(a.low[:, None], b.low[None])
    high = np.minimum(a.high[:, None], b.high[None])
    return np.asarray(np.maximum(high - low + a.end, 0).prod(2))


def nms(boxes: Boxes, threshold: float) -> list[int]:
    """Drops each box whose IoU with a kept box before it is above the threshold (non-maximum suppression).

    Args:
        boxes: the surest first.

    Returns:
        the indices of the kept boxes, ascending.
    """
    alive = np.ones(len(boxes.area), dtype=bool)
    kept: list[int] = []
    for i in range(len(alive)):
        if alive[i]:
            kept.append(i)
            alive &= iou(boxes.take(i), boxes)[0] <= threshold  # row by row: memory stays small
    return kept


def suppress(rows: Rows, threshold: float) -> Rows:
    """Applies non-maximum suppression to a detector's rows, see `by_score`; the surest first."""
    rows = by_score(rows)
    return rows[nms(Boxes.from_sizes(rows), threshold)]


def by_score(rows: Rows) -> Rows:
    """Sorts rows (x, y, width, height, five points, score; [N, 15]), the surest first.

    Equal scores are sorted by box, so that the order does not depend on the passes that found them.
    """
    return rows[np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0], -rows[:, 14]))]


def usable(rows: Rows, shape: tuple[int, ...]) -> Rows:
    """Drops rows that are not finite, are empty, or have less than 30 % of their area inside the photo.

    Args:
        shape: the photo's shape, height first.
    """
    rows = rows[np.isfinite(rows).all(1) & (rows[:, 2:4] > 0).all(1)]
    low = np.clip(rows[:, :2], 0, (shape[1], shape[0]))
    high = np.clip(rows[:, :2] + rows[:, 2:4], 0, (shape[1], shape[0]))
    inside: npt.NDArray[np.bool_] = (high - low).prod(1) >= LEAST_INSIDE * rows[:, 2:4].prod(1)
    return rows[inside]
