"""IoU and non-maximum suppression, in both conventions of a box's end."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.models.detection.boxes import Boxes, Rows, intersection_over_smaller, iou, nms, suppress, usable


def row(x: float, y: float, width: float, height: float, score: float = 1.0) -> list[float]:
    """A detector's row; its points are not needed here."""
    return [x, y, width, height, *[0.0] * 10, score]


def boxes(*rows: list[float]) -> Boxes:
    return Boxes.from_sizes(np.array(rows))


def test_iou_and_intersection_over_the_smaller() -> None:
    a, b = boxes(row(0, 0, 10, 10), row(50, 50, 5, 5)), boxes(row(5, 0, 10, 10), row(2, 2, 5, 5))
    np.testing.assert_allclose(iou(a, b), [[1 / 3, 0.25], [0, 0]])
    np.testing.assert_allclose(intersection_over_smaller(a, b), [[0.5, 1], [0, 0]])
    assert iou(Boxes.from_sizes(np.zeros((0, 4))), b).shape == (0, 2)
    np.testing.assert_array_equal(iou(a.take(1), a), [[0, 1]])


def test_a_box_without_area_overlaps_nothing() -> None:
    assert not iou(boxes(row(3, 3, 0, 0)), boxes(row(3, 3, 0, 0), row(0, 0, 9, 9))).any()


whole = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30)),
                 min_size=1, max_size=12)


@given(whole)
def test_first_and_last_pixels_are_the_same_boxes_as_sizes(found: list[tuple[int, int, int, int]]) -> None:
    sizes = np.array(found, dtype=np.float32)
    pixels = sizes.copy()
    pixels[:, 2:] = sizes[:, :2] + sizes[:, 2:] - 1
    a, b = Boxes.from_sizes(sizes), Boxes.from_pixels(pixels)
    np.testing.assert_array_equal(iou(a, a), iou(b, b))
    assert nms(a, 0.3) == nms(b, 0.3)
    assert iou(b, b).dtype == np.float32  # the limit is compared in the network's own precision


def first_come(found: Boxes, threshold: float) -> list[int]:
    """The definition of non-maximum suppression, one pair after the other."""
    kept: list[int] = []
    for i in range(len(found.area)):
        if all(float(iou(found.take(i), found.take(j))[0, 0]) <= threshold for j in kept):
            kept.append(i)
    return kept


@given(whole, st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]))
def test_suppression_is_its_definition(found: list[tuple[int, int, int, int]], threshold: float) -> None:
    a = Boxes.from_sizes(np.array(found, dtype=np.float64))
    assert nms(a, threshold) == first_come(a, threshold)


def test_suppression_keeps_the_surest_and_a_face_within_a_face() -> None:
    rows = np.array([row(0, 0, 100, 100, 0.8), row(5, 5, 100, 100, 0.9), row(40, 40, 20, 20, 0.7)])
    np.testing.assert_array_equal(suppress(rows, 0.3), rows[[1, 2]])
    assert suppress(rows[:0], 0.3).shape == (0, 15)


def test_the_order_does_not_depend_on_where_rows_come_from() -> None:
    rows = np.array([row(x, 0, 10, 10, 0.9) for x in (300, 0, 100, 200)])
    np.testing.assert_array_equal(suppress(rows, 0.3), suppress(rows[::-1], 0.3))


def test_infinite_boxes_are_no_warning_and_suppress_nothing_finite() -> None:
    rows: Rows = np.array([[-np.inf, 0, np.inf, 9], [0, 0, 9, 9], [np.nan, 0, 5, 5]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nms(Boxes.from_pixels(rows), 0.3) == [0, 1]


def test_a_box_must_be_inside_the_photo_by_three_tenths() -> None:
    rows = np.array([[0, 0, 10, 10], [-7, 0, 10, 10], [-7.1, 0, 10, 10], [95, 40, 10, 20], [0, 0, 0, 5],
                     [0, 0, np.inf, 5], [np.nan, 0, 5, 5], [0, 0, -5, -5]], dtype=np.float64)
    assert usable(rows, (50, 100, 3)).tolist() == rows[[0, 1]].tolist()
