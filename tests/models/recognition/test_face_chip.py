from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.recognition.face_chip import (
    as_complex,
    as_points,
    chip_points,
    extract_square,
    face_chip,
    fit_similarity,
)

REFERENCE = Path(__file__).parents[2] / "reference"
MAKE = runpy.run_path(str(REFERENCE / "make_dlib.py"))
POINTS = chip_points()


@pytest.mark.parametrize("number", range(len(MAKE["faces"]())))
def test_matches_dlib_to_the_bit(number: int) -> None:
    expected = np.load(REFERENCE / "dlib.npz")["chips"][number]
    side, points = MAKE["faces"]()[number]
    step = MAKE["CHIP_STEP"]
    found = face_chip(MAKE["waves"](number, side, side), points)
    assert found.shape == (150, 150, 3)
    np.testing.assert_array_equal(found[::step, ::step], expected)


@given(st.floats(0.01, 100), st.floats(-3.1, 3.1), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_a_similarity_is_found_again(scale: float, angle: float, x: float, y: float) -> None:
    factor, offset = scale * np.exp(1j * angle), complex(x, y)
    target = as_points(factor * as_complex(POINTS) + offset)
    found = fit_similarity(POINTS, target)
    np.testing.assert_allclose(found, (factor, offset), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.full((5, 2), np.nan), id="NaN"),
        pytest.param(np.full((5, 2), np.inf), id="infinity"),
        pytest.param(np.full((5, 2), 7.0), id="all in one place"),
        pytest.param(POINTS * 1e9, id="out of all bounds"),
        pytest.param(POINTS * 1e300, id="out of double precision"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_points_that_no_face_can_have(points: np.ndarray) -> None:
    with pytest.raises(ValueError):
        face_chip(np.zeros((20, 20, 3), dtype=np.uint8), points)


@pytest.mark.parametrize(("dx", "dy"), [(-5000, 0), (5000, 0), (0, -5000), (0, 5000), (1e8, 1e8)])
def test_outside_the_photo_is_black(dx: float, dy: float) -> None:
    photo = np.full((300, 300, 3), 255, dtype=np.uint8)
    assert not face_chip(photo, 3 * POINTS + (dx, dy)).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 3), (9, 9)])
def test_tiny_and_narrow_photos(size: tuple[int, int]) -> None:
    photo = np.full((*size, 3), 255, dtype=np.uint8)
    for scale in (0.01, 1, 7, 40):
        assert face_chip(photo, POINTS * scale).shape == (150, 150, 3)


def test_a_square_in_place_is_a_copy() -> None:
    photo = MAKE["noise"](3, 60, 80)
    cut = extract_square(photo, complex(30, 20), 1, 20, 21)
    np.testing.assert_array_equal(cut, photo[10:31, 20:41])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo_gives_the_same_chip(quarters: int) -> None:
    photo = MAKE["waves"](5, 200, 200)
    points = POINTS * 0.8 + (31.25, 22.5)
    center = 99.5 * (1 + 1j)
    turned = as_points((as_complex(points) - center) * (-1j) ** quarters + center)
    difference = face_chip(np.rot90(photo, quarters), turned).astype(int) - face_chip(photo, points)
    assert abs(difference).max() <= 1
