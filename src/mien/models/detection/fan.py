"""Implements 2D-FAN-4, the network that finds 68 points of a face for FALCO's alignment.

It consists of four hourglass networks in a row, each with its own heat maps (Bulat and Tzimiropoulos 2017, arXiv
1703.07332).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.hub.load_state import load_into

POINTS = 68
SIZE = 256
MAP = 64  # side of the heat maps
STACKS = 4
DEPTH = 4  # halvings of an hourglass
RAISE = 0.12  # the crop's center is above the box's by this share of the box's height
REFERENCE = 195.0  # px: a box whose width and height add up to this has a crop of 200 px
UNIT = 200.0


class Block(nn.Module):
    """A residual block of three convolutions with concatenated outputs: [B, in, h, w] -> [B, out, h, w]."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        sizes = (channels, out // 2, out // 4, out // 4)
        for i, (before, after) in enumerate(pairwise(sizes), start=1):
            setattr(self, f"bn{i}", nn.BatchNorm2d(before))
            setattr(self, f"conv{i}", nn.Conv2d(before, after, 3, padding=1, bias=False))
        self.downsample = None if channels == out else nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y, parts = x, []
        for i in (1, 2, 3):
            y = getattr(self, f"conv{i}")(F.relu(getattr(self, f"bn{i}")(y)))
            parts.append(y)
        return torch.cat(parts, dim=1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Halves its maps four times and doubles them again, with a skip at each size: [B, 256, 64, 64] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        for level in range(DEPTH, 0, -1):
            for name in ("b1", "b2", *(["b2_plus"] if level == 1 else []), "b3"):
                setattr(self, f"{name}_{level}", Block(256, 256))

    def forward(self, x: Tensor, level: int = DEPTH) -> Tensor:
        across = getattr(self, f"b1_{level}")(x)
        low = getattr(self, f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self(low, level - 1) if level > 1 else self.b2_plus_1(low)  # type: ignore[operator]
        low = getattr(self, f"b3_{level}")(low)
        return across + F.interpolate(low, scale_factor=2, mode="nearest")  # type: ignore[no-any-return]


class FAN(nn.Module):
    """Turns faces [B, 3, 256, 256], RGB 0..1, into heat maps of 68 points; its weights are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64)
        self.conv2, self.conv3, self.conv4 = Block(64, 128), Block(128, 128), Block(128, 256)
        for i in range(STACKS):
            setattr(self, f"m{i}", Hourglass())
            setattr(self, f"top_m_{i}", Block(256, 256))
            setattr(self, f"conv_last{i}", nn.Conv2d(256, 256, 1))
            setattr(self, f"bn_end{i}", nn.BatchNorm2d(256))
            setattr(self, f"l{i}", nn.Conv2d(256, POINTS, 1))
            if i + 1 < STACKS:
                setattr(self, f"bl{i}", nn.Conv2d(256, 256, 1))
                setattr(self, f"al{i}", nn.Conv2d(POINTS, 256, 1))
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "2D-FAN-4")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Computes heat maps [B, 68, 64, 64] of each of the four stacks; the last ones are the result."""
        x = self.conv2(F.relu(self.bn1(self.conv1(image))))  # [B, 128, 128, 128]
        x, maps = self.conv4(self.conv3(F.avg_pool2d(x, 2))), []  # [B, 256, 64, 64]
        for i in range(STACKS):
            y = getattr(self, f"top_m_{i}")(getattr(self, f"m{i}")(x))
            y = F.relu(getattr(self, f"bn_end{i}")(getattr(self, f"conv_last{i}")(y)))
            maps.append(getattr(self, f"l{i}")(y))
            if i + 1 < STACKS:
                x = x + getattr(self, f"bl{i}")(y) + getattr(self, f"al{i}")(maps[-1])
        return maps

    @torch.inference_mode()
    def landmarks(self, image: Tensor, boxes: Tensor) -> Tensor:
        """Finds the 68 points of faces in an image.

        Args:
            image: [3, H, W] RGB 0..255, uint8 or float.
            boxes: [N, 4] x1, y1, x2, y2 in its pixels.

        Returns:
            [N, 68, 2] x, y in whole pixels, as in the original.
        """
        found = [torch.zeros(0, POINTS, 2, device=image.device)]
        for box in boxes:
            center, scale = frame(box)
            heat = self(crop(image, center, scale)[None] / 255)[-1]
            found.append(to_image(peaks(heat)[0], center, scale, MAP)[None])
        return torch.cat(found)


def frame(box: Tensor) -> tuple[Tensor, float]:
    """Returns center [2] and scale of the square that the network sees of a box [4] (x1, y1, x2, y2).

    The square's side is 200 px times the scale.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    center = torch.stack([box[2] - width / 2, box[3] - height / 2 - height * RAISE])
    return center, float((width + height) / REFERENCE)


def to_image(points: Tensor, center: Tensor, scale: float, side: int) -> Tensor:
    """Maps points [..., 2] of a square of `side` pixels to whole pixels of the image, truncated towards zero."""
    length = UNIT * scale
    return (points * (length / side) + center - length / 2).trunc()


def crop(image: Tensor, center: Tensor, scale: float) -> Tensor:
    """Cuts the square of a face, float [3, 256, 256], from an image [3, H, W]; it is black beyond the edges.

    As in the network's training, its corners are computed in coordinates that start at 1, and truncated.
    """
    ends = center.new_tensor([[1.0, 1.0], [SIZE, SIZE]])
    (left, top), (right, bottom) = to_image(ends, center, scale, SIZE).int().tolist()
    right, bottom = max(right, left + 1), max(bottom, top + 1)  # a tiny box has a pixel too
    height, width = image.shape[1:]
    square = torch.zeros(3, bottom - top, right - left, device=image.device)
    x0, x1, y0, y1 = max(left, 0), min(right, width), max(top, 0), min(bottom, height)
    if x0 < x1 and y0 < y1:
        square[:, y0 - top : y1 - top, x0 - left : x1 - left] = image[:, y0:y1, x0:x1]
    return F.interpolate(square[None], size=(SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)[0]


def peaks(heat: Tensor) -> Tensor:
    """Finds the peak of each heat map [B, 68, h, w], a quarter cell towards its higher neighbors: [B, 68, 2]."""
    height, width = heat.shape[-2:]
    flat = heat.flatten(2)
    best = flat.argmax(dim=2, keepdim=True)  # [B, 68, 1]
    place = torch.cat([best % width, best // width], dim=2)
    step = place.new_tensor([1, width])  # one to the right, one down
    after, before = (flat.gather(2, (best + way * step).clamp(0, flat.shape[2] - 1)) for way in (1, -1))
    inside = ((place > 0) & (place < place.new_tensor([width - 1, height - 1]))).all(dim=2, keepdim=True)
    return place + 0.5 + 0.25 * (after - before).sign() * inside
