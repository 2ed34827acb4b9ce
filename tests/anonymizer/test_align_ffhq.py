"""Tests FFHQ's alignment on small drawn pictures, by hand; tests/conformance compares with the reference's pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.anonymizer.align import align, crop_quad, sampling_grid, to_photo
from mien.anonymizer.align_ffhq import align_as_published, shrinking, side_of
from mien.types import Face, Floats, Pixels

# A square of 512 px around its center (0, 0): eyes 128 px apart, 140 px above the mouth.
POINTS = np.array([[-64, -14], [64, -14], [0, 50], [-40, 126], [40, 126]], dtype=np.float32)


def face(points: Floats) -> Face:
    low, high = points.min(axis=0), points.max(axis=0)
    return Face((float(low[0]), float(low[1]), *(float(v) for v in high - low)), points.astype(np.float32), 0.9)


def face_at(x: float, y: float, scale: float = 1.0) -> Face:
    return face(POINTS * scale + [x, y])


def grains(height: int, width: int, seed: int = 0) -> Pixels:
    """Draws every pixel in another color."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def waves(height: int, width: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / (19 + i) + i) + np.sin(y / (13 + 3 * i)) for i in range(3)]
    return (127 + 60 * np.stack(planes, axis=-1)).astype(np.uint8)


def difference(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_the_square_by_hand() -> None:
    quad = crop_quad(POINTS + np.float32([400, 390]))
    assert quad.tolist() == [[144, 134], [144, 646], [656, 646], [656, 134]]
    assert side_of(quad) == 512


@pytest.mark.parametrize(("side", "factor"), [(40, 0), (511.9, 0), (512, 1), (1023, 1), (1024, 2), (1600, 3)])
def test_how_often_a_photo_is_shrunk(side: float, factor: int) -> None:
    quad = np.array([[0, 0], [0, side], [side, side], [side, 0]], dtype=np.float64)
    assert shrinking(quad) == factor


def test_an_upright_crop_by_hand() -> None:
    """512 px become 256 without a filter: each is the pixel to the right of and below the center of its four."""
    photo = grains(800, 820)
    crop = align_as_published(photo, face_at(400, 390))
    assert np.array_equal(crop.pixels, photo[135:646:2, 145:656:2])
    assert crop.inside.all() and crop.turn == 0
    assert sampling_grid(crop.quad, 256)[0, 0].tolist() == [145, 135]  # where the crop says that its first pixel was
    assert sampling_grid(crop.quad, 256)[10, 200].tolist() == [545, 155]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotated_face_is_turned_upright(turns: int) -> None:
    photo, upright = waves(800, 820), face_at(400, 390)
    points, width, height = upright.points, 820, 800
    for _ in range(turns):  # as np.rot90 turns: x becomes the distance from the bottom
        points, width, height = np.stack([points[:, 1], width - 1 - points[:, 0]], axis=1), height, width
    turned = align_as_published(np.rot90(photo, turns), face(points))
    assert difference(turned.pixels, align_as_published(photo, upright).pixels) <= 12  # half a pixel's rounding
    assert (turned.quad >= 0).all() and (turned.quad <= [width, height]).all()


def test_a_turned_and_scaled_face_shows_the_same_picture() -> None:
    """The picture is a function of the position in the face, so that the crop must not depend on the rest."""
    def drawn(angle: float, scale: float) -> tuple[Pixels, Face]:
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        y, x = np.mgrid[:1000, :1000]
        u, v = np.moveaxis(np.stack([x - 500, y - 500], axis=-1) @ np.linalg.inv(turn).T, -1, 0)
        planes = [np.sin(u / 40 + i) + np.sin(v / (30 + 5 * i)) for i in range(3)]
        pixels = np.rint(127 + 60 * np.stack(planes, axis=-1)).astype(np.uint8)
        return pixels, face((POINTS @ turn.T + 500).astype(np.float32))

    upright = align_as_published(*drawn(0, 1)).pixels
    for angle, scale in ((0.5, 1), (-0.2, 1.3), (2.5, 1), (0.3, 0.6), (-3, 0.5)):
        assert difference(align_as_published(*drawn(angle, scale)).pixels, upright) <= 2, (angle, scale)


def test_a_large_face_is_cut_from_a_smaller_photo() -> None:
    photo = grains(1501, 1500)
    crop = align_as_published(photo, face_at(740, 760, scale=2))  # 1024 px from (228, 248)
    small = np.asarray(Image.fromarray(photo).resize((750, 750), Image.Resampling.LANCZOS))  # 750.5 is rounded to even
    assert np.array_equal(crop.pixels, small[125:636:2, 115:626:2])
    assert sampling_grid(crop.quad, 256)[0, 0].tolist() == [230, 250]  # the center of four pixels, within one


@pytest.mark.parametrize(("left", "right"), [(4, 4), (3, 50), (50, 3), (50, 50)])
def test_a_square_4_px_off_the_edge_is_left_alone_and_a_nearer_one_is_not(left: int, right: int) -> None:
    photo = grains(600, 512 + left + right)
    crop = align_as_published(photo, face_at(256 + left, 300))
    plain = photo[45:556:2, left + 1 : left + 512 : 2]
    assert np.array_equal(crop.pixels, plain) == (min(left, right) >= 4)
    assert np.array_equal(crop.pixels[20:236, 60:196], plain[20:236, 60:196])  # the middle always
    assert crop.inside.all()


def test_beyond_the_edge_the_photo_is_mirrored_blurred_and_fades() -> None:
    photo = waves(900, 900)
    crop = align_as_published(photo, face_at(450, 106))  # the square begins 150 px above the photo
    assert crop.inside.sum() == (256 - 75) * 256 and not crop.inside[:75].any() and crop.inside[75:].all()
    median = np.median(photo[:413, 194 - 51 : 707 + 51], axis=(0, 1))
    away = np.abs(crop.pixels.astype(float) - median).mean(axis=(1, 2))
    assert away[0] < 0.4 * away[75] and np.corrcoef(np.arange(60), away[5:65])[0, 1] > 0.5
    deep = crop.pixels[150:]  # from a third of the rim's width inside the photo on, the photo is unchanged
    assert np.array_equal(deep, photo[151 : 151 + 211 : 2, 195:707:2])


def test_at_the_edge_the_blur_is_a_hundredth_of_the_side() -> None:
    photo = np.zeros((900, 900, 3), np.uint8)
    photo[:, 450:] = 200
    row = align_as_published(photo, face_at(450, 106)).pixels[75, :, 0]  # the photo's second row, of 512 px
    steps = [0.5 + 0.5 * math.erf((x - 449.5) / 5.12 / math.sqrt(2)) for x in range(195, 707, 2)]
    assert np.abs(row - 200 * np.array(steps)).max() < 3


def test_a_plain_photo_stays_plain_beyond_its_edges() -> None:
    crop = align_as_published(np.full((300, 280, 3), (90, 20, 200), np.uint8), face_at(-40, 200))
    assert (crop.pixels == (90, 20, 200)).all()
    assert 0 < crop.inside.mean() < 1


def test_small_faces_are_aligned_all_the_same() -> None:
    """The original does not align them, and passes the whole photo on in their place."""
    photo, small = waves(200, 200), face_at(100, 100, scale=0.12)
    assert shrinking(crop_quad(small.points)) == 0
    crop = align_as_published(photo, small)
    assert crop.pixels.shape == (256, 256, 3) and crop.inside.all()
    assert difference(crop.pixels, align(photo, small).pixels) <= 6  # as ours, which has another interpolation
    assert np.allclose(crop.quad - 0.5, crop_quad(small.points))


def test_both_alignments_say_where_their_pixels_were() -> None:
    """On a ramp a pixel's gray is its position."""
    ramp = np.tile(np.linspace(0, 249.75, 1000), (1000, 1))[..., None].repeat(3, axis=2)
    photo, tilted = np.rint(ramp).astype(np.uint8), face(POINTS @ [[0.9, 0.3], [-0.3, 0.9]] + 500)
    for crop in (align(photo, tilted), align_as_published(photo, tilted)):
        assert np.abs(crop.pixels[..., 0] - sampling_grid(crop.quad, 256)[..., 0] / 4).max() < 1
        assert np.allclose(to_photo(crop.quad, 256)[:, 2], sampling_grid(crop.quad, 256)[0, 0])


@settings(deadline=None, max_examples=20)
@given(st.integers(-120, 120), st.integers(-120, 120), st.sampled_from([0.4, 0.8, 1.0]))
def test_a_crop_moves_with_the_photo(dx: int, dy: int, scale: float) -> None:
    photo = grains(640, 640, seed=3)
    wide = np.zeros((900, 900, 3), np.uint8)
    wide[130 + dy : 770 + dy, 130 + dx : 770 + dx] = photo
    moved = align_as_published(wide, face_at(450 + dx, 450 + dy, scale))
    assert difference(moved.pixels, align_as_published(photo, face_at(320, 320, scale)).pixels) <= 1
    assert np.abs(moved.quad - crop_quad(face_at(320, 320, scale).points) - 0.5 - 130 - [dx, dy]).max() < 1e-3


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-600, 600, width=32), min_size=10, max_size=10), st.sampled_from([(1, 1), (1, 90), (70, 50)]))
def test_any_points_give_a_crop(values: list[float], shape: tuple[int, int]) -> None:
    photo = grains(*shape)
    crop = align_as_published(photo, face(np.array(values, dtype=np.float32).reshape(5, 2)))
    assert crop.pixels.shape == (256, 256, 3) and crop.pixels.dtype == np.uint8
    assert np.isfinite(crop.quad).all() and crop.inside.shape == (256, 256)


def test_a_face_far_outside_the_photo_takes_no_more_memory_than_another() -> None:
    for x in (-1e6, 1e6):
        assert align_as_published(grains(40, 50), face_at(x, 20)).pixels.shape == (256, 256, 3)
        assert not align_as_published(grains(40, 50), face_at(20, x)).inside.any()
