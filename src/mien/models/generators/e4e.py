"""Implements e4e, the encoder for editing (Tov et al. 2021, arXiv 2102.02766), which turns a face into W+.

It computes one code w0 from the coarsest map, and small offsets for layers 1..17: 1 and 2 from the 16x16 map, 3..6
from the 32x32 map, 7..17 from the 64x64 map.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.hub.load_state import load_into
from mien.models.recognition.ir_se50 import body, input_layer

N_LAYERS = 18
DIM = 512
SIZE = 256
TAPS = (6, 20, 23)  # blocks of the trunk whose outputs feed the pyramid
MIDDLE, FINE = 3, 7  # first layers of the 32x32 and the 64x64 map


class EqualLinear(nn.Module):
    """A linear layer whose weights are scaled at run time."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, size))
        self.bias = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight.shape[1] ** -0.5, self.bias)


class Style(nn.Module):
    """Turns a feature map [B, 512, S, S] into a code [B, 512] by halving it until one pixel is left."""

    def __init__(self, halvings: int) -> None:
        super().__init__()
        self.convs = nn.Sequential()
        for _ in range(halvings):
            self.convs.extend([nn.Conv2d(DIM, DIM, 3, stride=2, padding=1), nn.LeakyReLU()])
        self.linear = EqualLinear(DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))  # type: ignore[no-any-return]


class E4eEncoder(nn.Module):
    """Turns images [B, 3, 256, 256], RGB -1..1, into W+ [B, 18, 512]; its weights are frozen."""

    latent_avg: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = input_layer()
        self.body = body()
        self.styles = nn.ModuleList(Style(4 if i < MIDDLE else 5 if i < FINE else 6) for i in range(N_LAYERS))
        self.latlayer1 = nn.Conv2d(256, DIM, 1)
        self.latlayer2 = nn.Conv2d(128, DIM, 1)
        self.register_buffer("latent_avg", torch.zeros(N_LAYERS, DIM))
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "e4e")

    def offsets(self, image: Tensor) -> Tensor:
        """Computes W+ relative to the mean code: [B, 18, 512]."""
        fine, middle, coarse = self.taps(image)
        maps = [coarse]
        for lateral, finer in ((self.latlayer1, middle), (self.latlayer2, fine)):
            side = finer.shape[-1]
            maps.append(F.interpolate(maps[-1], size=(side, side), mode="bilinear", align_corners=True)
                        + lateral(finer))
        first = self.styles[0](coarse)
        rest = [first + self.styles[i](maps[(i >= MIDDLE) + (i >= FINE)]) for i in range(1, N_LAYERS)]
        return torch.stack([first, *rest], dim=1)

    def taps(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the trunk's maps [B, 128, 64, 64], [B, 256, 32, 32], [B, 512, 16, 16]."""
        x, found = self.input_layer(image), []
        for i, block in enumerate(self.body):
            x = block(x)
            if i in TAPS:
                found.append(x)
        return cast(tuple[Tensor, Tensor, Tensor], tuple(found))

    def forward(self, image: Tensor) -> Tensor:
        return self.offsets(image) + self.latent_avg
