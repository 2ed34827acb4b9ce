"""Implements Inception v3 in the variant that FID uses.

Szegedy et al. 2016 (arXiv 1512.00567), Heusel et al. 2017 (FID, arXiv 1706.08500).

Its weights are TensorFlow's of 2015-12-05, as `pytorch-fid` publishes them, under that file's names. It differs from
the Inception of other libraries: mean pooling does not count the border, and the last block pools by the maximum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.hub.load_state import load_into

SIZE = 299  # px, of the input
WIDTH = 2048  # length of the features
CLASSES = 1008  # of the published file's last layer, which is not needed for features

Kernel = tuple[int, int]
Step = tuple[int, Kernel]  # channels and kernel of a convolution
ONE, THREE, FIVE, ACROSS, DOWN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


class Conv(nn.Module):
    """Applies a convolution, batch norm and ReLU."""

    def __init__(self, channels: int, out: int, kernel: Kernel, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Concatenates the outputs of parallel branches: [B, C, h, w] -> [B, D, h, w], or half as high and wide.

    Args:
        branches: name -> its convolutions in order. pooled: output channels of the pooling branch's convolution;
            0 if it has none. forks: name of a branch -> the two parallel convolutions at its end.
        halves: the last convolution of each branch and the pooling halve height and width. highest: the pooling
            branch uses the maximum, not the mean.
    """

    def __init__(self, channels: int, branches: dict[str, list[Step]], pooled: int = 0,
                 forks: dict[str, list[Step]] | None = None, halves: bool = False, highest: bool = False) -> None:
        super().__init__()
        self.order: list[list[list[str]]] = []
        self.pooled, self.halves, self.highest = pooled, halves, highest
        for branch, steps in branches.items():
            width, names = channels, list[list[str]]()
            ends = (forks or {}).get(branch, [])
            for number, (out, kernel) in enumerate(steps, 1):
                last = number == len(steps)
                names.append([branch if len(steps) == 1 and not ends else f"{branch}_{number}"])
                stride = 2 if last and halves else 1
                self.add_module(names[-1][0], Conv(width, out, kernel, stride, stride == 1))
                width = out
            for letter, (out, kernel) in zip("ab", ends, strict=False):
                self.add_module(f"{branch}_{len(steps) + 1}{letter}", Conv(width, out, kernel))
            if ends:
                names.append([f"{branch}_{len(steps) + 1}{letter}" for letter in "ab"])
            self.order.append(names)
        if pooled:
            self.branch_pool = Conv(channels, pooled, ONE)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for names in self.order:
            y = x
            for together in names:
                y = torch.cat([getattr(self, name)(y) for name in together], dim=1)
            found.append(y)
        if self.halves:
            return torch.cat([*found, F.max_pool2d(x, 3, 2)], dim=1)
        pool = F.max_pool2d(x, 3, 1, 1) if self.highest else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*found, self.branch_pool(pool)], dim=1)


def _a(channels: int, pooled: int) -> Mixed:
    return Mixed(channels, {"branch1x1": [(64, ONE)], "branch5x5": [(48, ONE), (64, FIVE)],
                            "branch3x3dbl": [(64, ONE), (96, THREE), (96, THREE)]}, pooled)


def _c(inner: int) -> Mixed:
    return Mixed(768, {
        "branch1x1": [(192, ONE)], "branch7x7": [(inner, ONE), (inner, ACROSS), (192, DOWN)],
        "branch7x7dbl": [(inner, ONE), (inner, DOWN), (inner, ACROSS), (inner, DOWN), (192, ACROSS)]}, 192)


def _e(channels: int, highest: bool) -> Mixed:
    both = [(384, (1, 3)), (384, (3, 1))]
    return Mixed(channels, {"branch1x1": [(320, ONE)], "branch3x3": [(384, ONE)],
                            "branch3x3dbl": [(448, ONE), (384, THREE)]}, 192,
                 {"branch3x3": both, "branch3x3dbl": both}, highest=highest)


class Inception(nn.Module):
    """Computes features [B, 2048] of images [B, 3, H, W] in -1..1; its weights are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, THREE, 2, padded=False)
        self.Conv2d_2a_3x3 = Conv(32, 32, THREE, padded=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, THREE)
        self.Conv2d_3b_1x1 = Conv(64, 80, ONE)
        self.Conv2d_4a_3x3 = Conv(80, 192, THREE, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        self.Mixed_6a = Mixed(288, {"branch3x3": [(384, THREE)], "branch3x3dbl": [(64, ONE), (96, THREE), (96, THREE)]},
                              halves=True)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_c(inner) for inner in (128, 160, 160, 192))
        self.Mixed_7a = Mixed(768, {"branch3x3": [(192, ONE), (320, THREE)],
                                    "branch7x7x3": [(192, ONE), (192, ACROSS), (192, DOWN), (192, THREE)]}, halves=True)
        self.Mixed_7b, self.Mixed_7c = _e(1280, highest=False), _e(2048, highest=True)
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "Inception")

    def forward(self, image: Tensor) -> Tensor:
        x = F.interpolate(image, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [B, 64, 147, 147]
        x = F.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # [B, 192, 71, 71]
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)  # 35, then 17, then 8 px
        return x.mean(dim=(2, 3))
