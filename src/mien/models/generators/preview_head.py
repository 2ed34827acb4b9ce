"""Implements the preview heads, small networks that render a cheap preview from MobileStyleGAN's middle features.

MobileStyleGAN has an RGB output only after its last layer, so every image costs all layers up to 512x512. A preview
head reads features half as large as its preview and renders what the full image would shrink to: 128x128 features give
the preview of 256x256, 64x64 features the one of 128x128. This project trained them (`training/image_head.py`). The
optimization uses previews only; its result is rendered at full size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import N_LAYERS, MobileStyleGAN, inverse_haar
from mien.models.hints import REINSTALL
from mien.models.hub.load_state import load_into

SCALE = 1 / 40  # brings the features to about one


@dataclass(frozen=True)
class Shape:
    """Describes one head: the generator's blocks before it, their channels, and its own widths."""

    blocks: int
    channels: int
    widths: tuple[int, int]

    @property
    def first(self) -> int:
        """The first W+ vector that the skipped layers would read."""
        return 2 * self.blocks + 1


SHAPES = {256: Shape(5, 256, (64, 32)), 128: Shape(4, 512, (128, 64))}


class PreviewHead(nn.Module):
    """Renders a preview [B, 3, S, S] in about -1..1 of modulated features [B, C, S/2, S/2] and W+ [B, 16, 512].

    The features are already modulated by the generator's next layer. As in the generator, a wavelet transform doubles
    them, and two separable convolutions with styles and fixed noise follow: with half of the first's channels, and
    those of the second's that become the next wavelet's low band, which is what a shrunk image shows. One small
    convolution approximates the remaining layers.

    Args:
        size: S, 256 or 128.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.shape = shape = SHAPES[size]
        inner, (a, b) = shape.channels // 4, shape.widths
        self.style1 = nn.Linear(DIM, inner)
        self.style2 = nn.Linear(DIM, a)
        self.style3 = nn.Linear(DIM, b)
        # All later vectors together determine how the features become colors.
        self.later = nn.Linear((N_LAYERS - shape.first - 3) * DIM, 2 * b + 2 * b + b)
        self.depthwise1 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.pointwise1 = nn.Conv2d(inner, a, 1)
        self.depthwise2 = nn.Conv2d(a, a, 3, padding=1, groups=a, bias=False)
        self.pointwise2 = nn.Conv2d(a, b, 1)
        self.depthwise3 = nn.Conv2d(b, b, 3, padding=1, groups=b, bias=False)
        self.pointwise3 = nn.Conv2d(b, 2 * b, 1)
        self.colours = nn.Conv2d(2 * b, 3, 3, padding=1)  # named as in the weights file
        self.shortcut = nn.Conv2d(b, 3, 1, bias=False)
        self.noise = nn.ParameterList(nn.Parameter(torch.zeros(1, size, size)) for _ in range(3))
        self.map = nn.Parameter(torch.zeros(3, size, size))  # what the skipped layers' fixed noise leaves

    @classmethod
    def from_file(cls, path: Path, size: int) -> Self:
        """Loads trained weights (safetensors, float16 or float32) and freezes them.

        Raises:
            ModelError: the file does not hold a preview head of this size.
        """
        head = load_into(cls(size), path, "the preview head", REINSTALL).eval().requires_grad_(False)
        return head.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def reduced(self, precision: torch.dtype) -> Self:
        """Returns a copy that computes in this precision, except for the styles."""
        other = copy.deepcopy(self)
        for name, part in other.named_children():
            if not name.startswith(("style", "later")):
                part.to(precision)
        other.map.data = other.map.data.to(precision)
        return other

    def preview(self, generator: MobileStyleGAN, wp: Tensor) -> Tensor:
        """Renders the previews [B, 3, S, S] in about -1..1 of W+ [B, 16, 512]."""
        return torch.as_tensor(self(generator.modulated(wp, self.shape.blocks), wp))

    def forward(self, x: Tensor, wp: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """Renders previews, see the class.

        Args:
            corner: (y, x) of the crop `x` within the feature map, in training on crops.
        """
        first, b = self.shape.first, self.shape.widths[1]
        x = x.to(self.map.dtype)
        # As in the generator: the first of these vectors drives its first convolution, and so on.
        s1, s2, s3 = (style(wp[:, first + i])[:, :, None, None] for i, style in enumerate(
            (self.style1, self.style2, self.style3)))
        later = self.later(wp[:, first + 3 :].flatten(1))[:, :, None, None].to(x.dtype)
        scale, shift, short = later.split((2 * b, 2 * b, b), dim=1)
        y0, x0 = 2 * corner[0], 2 * corner[1]
        part = (slice(None), slice(y0, y0 + 2 * x.shape[2]), slice(x0, x0 + 2 * x.shape[3]))
        x = inverse_haar(x)  # [B, C/4, S, S]
        # In place where both gradients need the result only: memory traffic costs more than arithmetic here.
        x = self.pointwise1(self.depthwise1(x * (SCALE * s1).to(x.dtype)))
        x = F.leaky_relu_(x.add_(self.noise[0][part]), 0.2)
        x = self.pointwise2(self.depthwise2(x * s2.to(x.dtype)))
        x = F.leaky_relu_(x.add_(self.noise[1][part]), 0.2) * s3.to(x.dtype)
        y = self.pointwise3(self.depthwise3(x))
        y = F.leaky_relu_(y.add_(shift).add_(self.noise[2][part]), 0.2)
        preview: Tensor = self.colours(y * (1 + scale)) + self.shortcut(x * (1 + short)) + self.map[part]
        return preview.float()
