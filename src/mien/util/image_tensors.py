"""Computes with images as tensors: the face's mask on the aligned crop, resampled views, conversion from pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# The face in the FFHQ crop, in units of half the crop: center and half axes.
FACE_CENTER = (0.0, 0.12)
FACE_AXES = (0.62, 0.72)


def ellipse(size: int, grow: float = 0.0, soft: float = 0.05, device: torch.device | None = None) -> Tensor:
    """Returns the face's elliptic mask on the aligned crop, [1, 1, size, size] in 0..1.

    Args:
        grow: is added to the half axes, in units of half the crop. soft: width of the rim, as a share of the half axes.
    """
    axis = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    radius = (((x - FACE_CENTER[0]) / (FACE_AXES[0] + grow)) ** 2
              + ((y - FACE_CENTER[1]) / (FACE_AXES[1] + grow)) ** 2).sqrt()
    return ((1 - radius) / soft + 0.5).clamp(0, 1)[None, None]


def view(image: Tensor, matrix: Tensor, size: int) -> Tensor:
    """Resamples images differentiably by affine maps from image pixels to view pixels.

    Args:
        image: [B, 3, H, W]. matrix: [B, 2, 3].

    Returns:
        [B, 3, size, size]; black outside the image.
    """
    h, w = image.shape[-2:]
    full = torch.cat([matrix, matrix.new_tensor([[[0.0, 0.0, 1.0]]]).expand(len(matrix), -1, -1)], dim=1)
    inverse = torch.linalg.inv(full)[:, :2]  # view pixels -> image pixels
    ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    grid = torch.stack([xs, ys, torch.ones_like(xs)], dim=-1).to(matrix)  # [S, S, 3]
    at = torch.einsum("bij,yxj->byxi", inverse, grid)  # [B, S, S, 2]
    scale = at.new_tensor([2 / w, 2 / h])
    return F.grid_sample(image, (at + 0.5) * scale - 1, mode="bilinear", align_corners=False)


def jitter(matrix: Tensor, amount: float, size: int, rng: torch.Generator) -> Tensor:
    """Returns the matrices [B, 2, 3], each followed by a small random affine around the middle of a size x size view.

    Args:
        amount: the largest change of an entry; shifts are in units of half the view.
        rng: a generator on the CPU, so that all devices see the same views.
    """
    noise = amount * (2 * torch.rand(len(matrix), 2, 3, generator=rng) - 1)
    noise = noise * torch.tensor([1.0, 1.0, size / 2])
    change = (torch.eye(2).expand(len(matrix), 2, 2) + noise[:, :, :2]).to(matrix)
    center = matrix.new_full((2, 1), size / 2)
    linear = change @ matrix[:, :, :2]
    offset = change @ (matrix[:, :, 2:] - center) + center + noise[:, :, 2:].to(matrix)
    return torch.cat([linear, offset], dim=2)


def to_tensor(pixels: list[object] | object) -> Tensor:
    """Converts uint8 RGB [H, W, 3] or [B, H, W, 3] to float32 [B, 3, H, W] in -1..1."""
    array = torch.as_tensor(pixels)
    array = array[None] if array.ndim == 3 else array
    return array.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(image: Tensor) -> Tensor:
    """Converts float [B, 3, H, W] in -1..1 to uint8 [B, H, W, 3], clamped and rounded."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
