from __future__ import annotations

import math

import numpy as np
import pytest

from mien.models.features.region import Region, region_between


def ramps(height: int = 90, width: int = 120) -> np.ndarray:
    """A photograph whose red is x and whose green is y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
def test_points_of_a_view_come_back_to_the_pixels_that_it_shows(angle: float, mirrored: bool) -> None:
    region = Region((60.0, 45.0), 40.0, angle, mirrored)
    view = region.cut(ramps(), 80)
    places = np.array([[10, 20, 0], [70, 5, 0], [40, 79, 0]], np.float32)
    back = region.to_photo(places, 80)
    shown = np.array([view[int(y), int(x), :2] for x, y, _ in places], float)
    np.testing.assert_allclose(back[:, :2], shown, atol=1.0)  # the ramps are rounded


def test_a_mirror_exchanges_left_and_right_only() -> None:
    plain, mirrored = (Region((60.0, 45.0), 40.0, 0.3, side).cut(ramps(), 64).astype(int) for side in (False, True))
    assert np.abs(plain[:, 1:] - mirrored[:, :0:-1]).max() <= 1


def test_depths_are_scaled_with_the_square() -> None:
    assert Region((0, 0), 50.0, 1.0, True).to_photo(np.array([[1, 2, 8]], np.float32), 100)[0, 2] == 4


def test_a_level_line_and_a_margin() -> None:
    left, right = np.array([10.0, 10.0], np.float32), np.array([20.0, 20.0], np.float32)
    points = np.array([[10, 10], [20, 40]], np.float32)
    region = region_between(left, right, points, scale=2.0)
    assert region.center == (15, 25) and region.side == 60
    assert region.angle == pytest.approx(math.pi / 4)
    view = region.matrix(60)
    along = np.linalg.inv(view[:, :2]) @ (right - left)
    assert along[1] == pytest.approx(0, abs=1e-6) and along[0] > 0


def test_a_large_square_is_shrunk_by_areas() -> None:
    """One pixel in two is white: samples without areas would be black or white."""
    photo = np.zeros((400, 400, 3), np.uint8)
    photo[::2] = 255
    view = Region((200.0, 200.0), 380.0).cut(photo, 38)
    assert view[2:-2, 2:-2].min() > 110 and view[2:-2, 2:-2].max() < 145
    ramp = Region((60.0, 45.0), 80.0).cut(ramps(), 20)  # and what it shows stays where it is
    assert abs(int(ramp[10, 10, 0]) - 60) <= 1 and abs(int(ramp[10, 10, 1]) - 45) <= 1


def test_beyond_the_edge_it_is_repeated() -> None:
    view = Region((0.0, 45.0), 40.0).cut(ramps(), 40)
    assert (view[:, :20, 0] == 0).all() and (view[5, :, 1] == view[5, 0, 1]).all()


@pytest.mark.parametrize("points", [np.zeros((3, 2)), np.full((3, 2), np.nan), np.array([[0, 0], [np.inf, 1]])])
def test_points_that_make_no_square_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="in one place, or are not finite"):
        region_between(np.zeros(2, np.float32), np.ones(2, np.float32), points, 1.5)
    with pytest.raises(ValueError, match="in one place"):
        region_between(np.ones(2, np.float32), np.ones(2, np.float32), np.array([[0.0, 0.0], [9.0, 9.0]]), 1.5)
