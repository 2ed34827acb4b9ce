from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.anonymizer.align import align, crop_quad, from_photo, head_turn, map_points, mirrored, to_photo
from mien.types import Face

POINTS = np.array([[80, 100], [120, 100], [100, 125], [85, 145], [115, 145]], dtype=np.float32)


def similarity(points: np.ndarray, angle: float, scale: float, dx: float, dy: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return (points @ np.array([[c, s], [-s, c]]) + [dx, dy]).astype(np.float32)


def test_an_upright_face_gives_an_upright_square() -> None:
    top_left, bottom_left, bottom_right, top_right = crop_quad(POINTS)
    side = top_right[0] - top_left[0]
    assert abs(top_left[1] - top_right[1]) < 1e-6
    assert abs(bottom_left[0] - top_left[0]) < 1e-6
    assert abs(bottom_right[1] - top_right[1] - side) < 1e-6
    # 45 px from eyes to mouth: 1.8 times that is half the side, the larger of the two rules
    assert abs(side - 2 * 45 * 1.8) < 1e-4


@given(st.floats(-3.1, 3.1), st.floats(0.2, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_the_crop_moves_with_the_face(angle: float, scale: float, dx: float, dy: float) -> None:
    moved = crop_quad(similarity(POINTS, angle, scale, dx, dy))
    expected = similarity(crop_quad(POINTS).astype(np.float32), angle, scale, dx, dy)
    assert np.abs(moved - expected).max() < 0.02 * max(1, scale)


@given(st.floats(-3.1, 3.1), st.floats(0.2, 20), st.integers(16, 1024))
def test_to_photo_and_from_photo_are_inverse(angle: float, scale: float, size: int) -> None:
    quad = crop_quad(similarity(POINTS, angle, scale, 50, 60))
    points = np.array([[0, 0], [size / 2, size / 3], [size, size]], dtype=np.float32)
    back = map_points(from_photo(quad, size), map_points(to_photo(quad, size), points))
    assert np.abs(back - points).max() < 0.02 * max(1.0, size / 100)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=10, max_size=10))
def test_any_points_give_a_finite_square(values: list[float]) -> None:
    quad = crop_quad(np.array(values, dtype=np.float32).reshape(5, 2))
    assert np.isfinite(quad).all()
    sides = np.hypot(*(np.roll(quad, -1, axis=0) - quad).T)
    assert sides.min() > 1.9
    assert sides.max() - sides.min() < 1e-6 * sides.max() + 1e-6


def test_the_crop_shows_the_face_where_ffhq_has_it() -> None:
    photo = np.zeros((300, 300, 3), dtype=np.uint8)
    for x, y in POINTS:
        cv2.circle(photo, (int(x), int(y)), 3, (255, 255, 255), -1)
    face = Face((60, 70, 80, 100), POINTS, 0.9)
    crop = align(photo, face)
    where = map_points(from_photo(crop.quad, 256), POINTS)
    for x, y in where:
        assert crop.pixels[round(float(y)), round(float(x))].min() > 200
    assert abs(where[:2, 1].mean() / 256 - 0.47) < 0.03  # eyes a little above the middle


def test_pixels_beyond_the_edge_are_mirrored_and_marked() -> None:
    photo = np.full((130, 200, 3), 90, dtype=np.uint8)
    crop = align(photo, Face((60, 70, 80, 60), POINTS, 0.9))
    assert not crop.inside.all()
    assert crop.inside.any()
    assert (crop.pixels == 90).all()
    assert not crop.inside[-1].any()


def test_mirroring_folds_coordinates_back() -> None:
    folded = mirrored(np.arange(-5.0, 9.0), 4)
    assert folded.tolist() == np.pad(np.arange(4.0), 5, mode="reflect").tolist()
    assert mirrored(np.array([-7.0, 3.0]), 1).tolist() == [0, 0]


def test_a_turned_head_is_measured() -> None:
    turned = POINTS.copy()
    turned[2, 0] += 15
    assert head_turn(POINTS) == 0
    assert head_turn(turned) == 0.75
    assert align(np.zeros((300, 300, 3), dtype=np.uint8), Face((60, 70, 80, 100), turned, 0.9)).turn > 0.7


def test_a_face_outside_the_photo_does_not_break() -> None:
    photo = np.zeros((1, 1, 3), dtype=np.uint8)
    crop = align(photo, Face((60, 70, 80, 60), POINTS, 0.9))
    assert crop.pixels.shape == (256, 256, 3)
