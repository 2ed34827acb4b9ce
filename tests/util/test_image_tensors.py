from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.util.image_tensors import FACE_AXES, FACE_CENTER, ellipse, jitter, to_pixels, to_tensor, view


def waves(height: int, width: int) -> np.ndarray:
    """[H, W, 3] float32, smooth."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / (5 + i) + y / (7 - i)) for i in range(3)]
    return np.stack(planes, axis=-1).astype(np.float32)


def turned(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    """[2, 3]: turn and scale about the middle of 96 x 64, then shift."""
    matrix = cv2.getRotationMatrix2D((48, 32), angle, scale)
    matrix[:, 2] += (x, y)
    return matrix.astype(np.float32)


def test_ellipse_is_the_face_s() -> None:
    """Its area, its middle and its ends are those of the axes."""
    mask = ellipse(512, soft=0.01)
    assert mask.shape == (1, 1, 512, 512)
    half = 256.0
    assert float(mask.sum()) == pytest.approx(np.pi * FACE_AXES[0] * FACE_AXES[1] * half**2, rel=0.02)
    ys, xs = torch.nonzero(mask[0, 0] > 0.5, as_tuple=True)
    assert float(xs.float().mean()) + 0.5 == pytest.approx((1 + FACE_CENTER[0]) * half, abs=0.5)
    assert float(ys.float().mean()) + 0.5 == pytest.approx((1 + FACE_CENTER[1]) * half, abs=0.5)
    assert int(xs.max() - xs.min()) + 1 == pytest.approx(2 * FACE_AXES[0] * half, abs=2)
    assert int(ys.max() - ys.min()) + 1 == pytest.approx(2 * FACE_AXES[1] * half, abs=2)


@given(size=st.integers(2, 96), grow=st.floats(-0.2, 0.3), soft=st.floats(0.01, 0.5))
@settings(max_examples=40, deadline=None)
def test_ellipse_lies_within_0_and_1_and_grows(size: int, grow: float, soft: float) -> None:
    mask = ellipse(size, grow, soft)
    assert float(mask.min()) >= 0 and float(mask.max()) <= 1
    assert torch.allclose(mask, mask.flip(-1), atol=1e-4)  # the face is in the middle from left to right
    assert (ellipse(size, grow + 0.1, soft) >= mask - 1e-6).all()


def test_ellipse_s_rim_is_as_wide_as_asked() -> None:
    for soft in (0.1, 0.3):
        row = ellipse(1000, soft=soft)[0, 0, 560]  # at the face's height
        rim = int(((row[500:] > 0) & (row[500:] < 1)).sum()) / 500
        assert rim == pytest.approx(soft * FACE_AXES[0], rel=0.1)


@pytest.mark.parametrize(("angle", "scale", "x", "y"), [
    (0, 1, 0, 0), (30, 1, 3.5, -2.25), (-75, 0.6, -10, 8), (180, 1.7, 0.5, 0.5), (12, 3.0, -40, -20)])
def test_view_is_what_opencv_warps(angle: float, scale: float, x: float, y: float) -> None:
    image, matrix, size = waves(64, 96), turned(angle, scale, x, y), 56
    expected = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    seen = view(torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(matrix)[None], size)
    assert seen.shape == (1, 3, size, size)
    difference = np.abs(seen[0].permute(1, 2, 0).numpy() - expected)
    assert difference.max() < 0.05  # OpenCV rounds places to 1/32 of a pixel
    assert difference.mean() < 0.005


def test_view_of_the_identity_is_the_image() -> None:
    image = torch.from_numpy(waves(40, 40)).permute(2, 0, 1)[None]
    assert (view(image, torch.eye(2, 3)[None], 40) - image).abs().max() < 1e-5


def test_view_outside_the_image_is_black() -> None:
    away = torch.tensor([[[1.0, 0.0, 500.0], [0.0, 1.0, 0.0]]])
    assert not view(torch.ones(1, 3, 32, 32), away, 16).any()


def test_each_image_is_seen_through_its_own_matrix() -> None:
    image = torch.from_numpy(waves(64, 96)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    matrices = torch.stack([torch.from_numpy(turned(10, 1, 0, 0)), torch.from_numpy(turned(-40, 2, 5, 5))])
    together = view(image, matrices, 48)
    alone = [view(image[:1], matrices[i : i + 1], 48)[0] for i in range(2)]
    assert (together - torch.stack(alone)).abs().max() < 1e-4
    assert (together[0] - together[1]).abs().max() > 0.1


def test_view_passes_gradients_to_the_image() -> None:
    """Of all that is seen of a pixel, so that they say how much of it is in the view."""
    image = torch.from_numpy(waves(6, 6)).permute(2, 0, 1)[None].clone().requires_grad_()
    matrix = torch.tensor([[[0.8, 0.1, 0.3], [-0.1, 0.8, 0.7]]])
    view(image, matrix, 4).sum().backward()
    lit = image.detach().clone()
    lit[0, 1, 2, 3] += 1
    expected = view(lit, matrix, 4).sum() - view(image.detach(), matrix, 4).sum()
    assert image.grad is not None
    assert float(image.grad[0, 1, 2, 3]) == pytest.approx(float(expected), abs=1e-4)
    assert float(expected) > 0.3


def test_jitter_of_nothing_is_nothing() -> None:
    matrix = torch.from_numpy(turned(20, 1.5, 3, 4))[None]
    assert torch.allclose(jitter(matrix, 0.0, 112, torch.Generator()), matrix, atol=1e-4)


@given(seed=st.integers(0, 2**32), amount=st.floats(0.0, 0.1))
@settings(max_examples=40, deadline=None)
def test_jitter_moves_no_place_of_the_view_further_than_its_amount(seed: int, amount: float) -> None:
    """At most by amount x half the view in each of three ways: both axes of the linear part, and the shift."""
    matrix = torch.from_numpy(turned(20, 1.5, 3, 4))[None].repeat(3, 1, 1)
    changed = jitter(matrix, amount, 112, torch.Generator().manual_seed(seed))
    corners = torch.tensor([[0.0, 0.0], [112, 0], [0, 112], [112, 112]])
    full = torch.cat([matrix[0], torch.tensor([[0.0, 0.0, 1.0]])])
    places = torch.linalg.inv(full)[:2] @ torch.cat([corners, torch.ones(4, 1)], dim=1).T  # in the image
    moved = changed[:, :, :2] @ places + changed[:, :, 2:]  # [3, 2, 4]
    assert (moved - corners.T).abs().max() <= 3 * amount * 56 + 1e-2


def test_jitter_is_the_seed_s_and_another_for_each_face() -> None:
    matrix = torch.eye(2, 3)[None].repeat(4, 1, 1)
    one, two = (jitter(matrix, 0.03, 112, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert len({tuple(row.flatten().tolist()) for row in one}) == 4


def test_jitter_is_unbiased() -> None:
    matrix = torch.from_numpy(turned(20, 1.5, 3, 4))[None].repeat(4000, 1, 1)
    mean = jitter(matrix, 0.03, 112, torch.Generator().manual_seed(1)).mean(dim=0)
    assert (mean[:, :2] - matrix[0, :, :2]).abs().max() < 2e-3
    assert (mean[:, 2] - matrix[0, :, 2]).abs().max() < 0.2


def test_every_pixel_value_survives_the_way_in_and_out() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, 16, 16) and tensor.dtype == torch.float32
    assert float(tensor.min()) == -1 and float(tensor.max()) == 1
    assert np.array_equal(to_pixels(tensor)[0].numpy(), pixels)


def test_batches_and_colors_keep_their_order() -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    tensor = to_tensor(pixels)
    assert tensor.shape == (2, 3, 5, 7)
    assert np.array_equal(to_pixels(tensor).numpy(), pixels)
    assert float(tensor[1, 2, 3, 4]) == pytest.approx(pixels[1, 3, 4, 2] / 127.5 - 1, abs=1e-6)


def test_pixels_out_of_range_are_clamped() -> None:
    image = torch.tensor([-7.0, -1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_pixels(image)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]
