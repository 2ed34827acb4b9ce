"""A cheap picture out of the generator's middle: the project's own small networks.

MobileStyleGAN ships only its last layer to RGB, so every look at the picture costs all layers up to 512x512. A head
reads the features half as large as its picture and gives what the full output would shrink to: 128x128 features for
the picture at 256x256, 64x64 features for the one at 128x128. They are trained by `training/image_head.py`; the
optimization looks through them, the end is confirmed at full size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import N_LAYERS, Block, MobileStyleGAN, inverse_haar
from mien.models.hub.load_state import load_into
from mien.models.hub.shipped import HINT

SCALE = 1 / 40  # brings the features to about one


@dataclass(frozen=True)
class Shape:
    """Of one head: the generator's blocks before it, their channels, and its own widths at the picture's size."""

    blocks: int
    channels: int
    widths: tuple[int, int]

    @property
    def first(self) -> int:
        """The first W+ vector that the skipped layers would have read."""
        return 2 * self.blocks + 1


SHAPES = {256: Shape(5, 256, (64, 32)), 128: Shape(4, 512, (128, 64))}


class PreviewHead(nn.Module):
    """Modulated features [B, C, S/2, S/2] and W+ [B, 16, 512] -> picture [B, 3, S, S] in about -1..1.

    The features come modulated by the generator's own next layer. As there, a wavelet doubles them and two separable
    convolutions with styles and fixed noise follow: half of the first's channels, and of the second's those that
    become the next wavelet's low band, which is what a shrunk picture shows. One small convolution stands for the rest.

    Args:
        size: S, of the picture: 256 or 128.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.shape = shape = SHAPES[size]
        inner, (a, b) = shape.channels // 4, shape.widths
        self.style1 = nn.Linear(DIM, inner)
        self.style2 = nn.Linear(DIM, a)
        self.style3 = nn.Linear(DIM, b)
        # All later vectors decide what the middle's channels will look like.
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

    @torch.no_grad()
    def start_from(self, generator: MobileStyleGAN) -> None:
        """Take over the generator's own layers, as far as they go; of the first's channels those that weigh most."""
        block = cast(Block, generator.blocks[self.shape.blocks])
        after = cast(Block, generator.blocks[self.shape.blocks + 1]).up
        a, b = self.shape.widths
        keep = block.conv2.weight[:b, :, 0, 0].square().sum(0).topk(a).indices.sort().values
        self.style1.weight.copy_(block.conv1.affine)
        self.style1.bias.copy_(block.conv1.affine_bias)
        self.depthwise1.weight.copy_(block.conv1.depthwise)
        self.pointwise1.weight.copy_(block.conv1.weight[keep])
        cast(Tensor, self.pointwise1.bias).copy_(block.conv1.bias.flatten()[keep] * SCALE)
        self.style2.weight.copy_(block.conv2.affine[keep])
        self.style2.bias.copy_(block.conv2.affine_bias[keep])
        self.depthwise2.weight.copy_(block.conv2.depthwise[keep])
        self.pointwise2.weight.copy_(block.conv2.weight[:b][:, keep])
        cast(Tensor, self.pointwise2.bias).copy_(block.conv2.bias.flatten()[:b] * SCALE)
        for noise, layer in zip(self.noise, (block.conv1, block.conv2), strict=False):
            noise.copy_(layer.noise[0] * SCALE)
        self.style3.weight.copy_(after.affine[:b])
        self.style3.bias.copy_(after.affine_bias[:b])
        nn.init.normal_(self.later.weight, std=0.002)
        self.later.bias.zero_()
        self.depthwise3.weight[:, :, 1, 1] += 1

    @classmethod
    def from_file(cls, path: Path, size: int) -> Self:
        """Read trained weights (safetensors, float16 or float32), frozen.

        Raises:
            ModelError: the file does not hold an image head of this size.
        """
        head = load_into(cls(size), path, "the image head", HINT).eval().requires_grad_(False)
        return head.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def reduced(self, precision: torch.dtype) -> Self:
        """A copy that computes in this precision, all but the styles."""
        other = copy.deepcopy(self)
        for name, part in other.named_children():
            if not name.startswith(("style", "later")):
                part.to(precision)
        other.map.data = other.map.data.to(precision)
        return other

    def preview(self, generator: MobileStyleGAN, wp: Tensor) -> Tensor:
        """W+ [B, 16, 512] -> picture [B, 3, S, S] in about -1..1."""
        return torch.as_tensor(self(generator.modulated(wp, self.shape.blocks), wp))

    def forward(self, x: Tensor, wp: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """`corner`: (y, x) of the feature map's part that x is, in training on crops."""
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
        # In place where both gradients need the result only: this is memory traffic more than arithmetic.
        x = self.pointwise1(self.depthwise1(x * (SCALE * s1).to(x.dtype)))
        x = F.leaky_relu_(x.add_(self.noise[0][part]), 0.2)
        x = self.pointwise2(self.depthwise2(x * s2.to(x.dtype)))
        x = F.leaky_relu_(x.add_(self.noise[1][part]), 0.2) * s3.to(x.dtype)
        y = self.pointwise3(self.depthwise3(x))
        y = F.leaky_relu_(y.add_(shift).add_(self.noise[2][part]), 0.2)
        picture: Tensor = self.colours(y * (1 + scale)) + self.shortcut(x * (1 + short)) + self.map[part]
        return picture.float()
