from __future__ import annotations

import numpy as np

from mien.anonymizer.align import align
from mien.anonymizer.blend import FIELD, Patch, blend, color_field, match_sharpness
from mien.anonymizer.conceal import conceal
from mien.types import Crop, Face

POINTS = np.array([[80, 100], [120, 100], [100, 125], [85, 145], [115, 145]], dtype=np.float32)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def patch(photo: np.ndarray, points: np.ndarray = POINTS, value: int = 200) -> Patch:
    crop = align(photo, Face((60, 70, 80, 100), points, 0.9))
    return Patch(crop, np.full((1024, 1024, 3), value, dtype=np.uint8))


def test_outside_the_mask_nothing_changes_to_the_pixel() -> None:
    photo = noise(300, 240)
    out, changed = blend(photo, [patch(photo)])
    assert (out[~changed] == photo[~changed]).all()
    assert changed[125, 100]
    assert not changed[5, 5]
    assert 0.05 < changed.mean() < 0.6


def test_the_middle_is_the_new_face() -> None:
    photo = np.full((300, 240, 3), 190, dtype=np.uint8)
    out, _ = blend(photo, [patch(photo, value=200)])
    # colors follow the surroundings: the seam cannot be seen
    assert np.abs(out[125, 100].astype(int) - 190).max() <= 4


def test_neighbors_share_the_pixels_between_them() -> None:
    photo = np.full((300, 400, 3), 128, dtype=np.uint8)
    left, right = patch(photo, value=128), patch(photo, POINTS + np.float32([90, 0]), value=128)
    one, a = blend(photo, [left, right])
    other, b = blend(photo, [right, left])
    assert (a == b).all()
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    assert a[125, 100] and a[125, 190]


def test_a_face_cut_by_the_edge() -> None:
    photo = noise(300, 240)
    points = POINTS - np.float32([75, 0])
    out, changed = blend(photo, [patch(photo, points)])
    assert changed[125, 2]
    assert (out[~changed] == photo[~changed]).all()


def test_a_face_outside_changes_nothing() -> None:
    photo = noise(60, 60)
    out, changed = blend(photo, [patch(photo, POINTS + np.float32([900, 900]))])
    assert not changed.any()
    assert (out == photo).all()


def test_color_field_ignores_pixels_outside_the_photo() -> None:
    old = np.full((256, 256, 3), 100, dtype=np.uint8)
    quad = np.array([[0, 0], [0, 256], [256, 256], [256, 0]], dtype=np.float64)
    inside = np.ones((256, 256), dtype=bool)
    old[:, 128:] = 0
    inside[:, 128:] = False
    field = color_field(Patch(Crop(old, quad, inside), np.full((1024, 1024, 3), 90, dtype=np.uint8)))
    assert field.shape == (FIELD, FIELD, 3)
    assert np.abs(field[32, 20] - 10).max() < 2


def test_sharpness_follows_the_old_face() -> None:
    sharp = noise(120, 120).astype(np.float32)
    flat = np.full((120, 120, 3), 128, dtype=np.uint8)
    mask = np.ones((120, 120), dtype=np.float32)
    assert match_sharpness(sharp, flat, mask).std() < 0.3 * sharp.std()
    assert (match_sharpness(sharp, noise(120, 120, 1), mask) == sharp).all()


def test_concealing_leaves_a_few_colors_only() -> None:
    photo = noise(300, 240)
    face = Face((60, 70, 80, 100), POINTS, 0.9)
    out, changed = conceal(photo, [face])
    assert (out[~changed] == photo[~changed]).all()
    assert changed[120, 100]
    inner = out[90:150, 75:125].astype(int)
    assert np.abs(np.diff(inner, axis=0)).max() <= 8  # no detail left


def test_concealing_tiny_and_outlying_boxes() -> None:
    photo = noise(20, 20)
    faces = [Face((5, 5, 2, 2), np.full((5, 2), 6, np.float32), 0.5),
             Face((-9, -9, 4, 4), np.full((5, 2), -8, np.float32), 0.5)]
    out, changed = conceal(photo, faces)
    assert changed.any()
    assert out.shape == photo.shape


def test_a_concealed_neighbor_does_not_make_the_new_face_blurry() -> None:
    photo = noise(300, 240)
    sharp, _ = blend(photo, [Patch(patch(photo).crop, noise(1024, 1024, 1))])
    hidden, _ = conceal(photo, [Face((20, 60, 110, 160), POINTS - np.float32([30, 0]), 0.7)])
    out, _ = blend(hidden, [Patch(patch(photo).crop, noise(1024, 1024, 1))], photo)
    inner = (slice(105, 140), slice(85, 115))
    assert np.abs(out[inner].astype(int) - sharp[inner]).max() <= 1
    dull, _ = blend(hidden, [Patch(patch(photo).crop, noise(1024, 1024, 1))])
    assert dull[inner].std() < 0.8 * out[inner].std()
