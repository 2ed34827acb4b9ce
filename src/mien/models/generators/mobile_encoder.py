"""Implements the encoder for MobileStyleGAN, which turns an aligned face into whitened W+ codes in a few passes.

It was trained by this project (`training/encoder.py`). In each pass it compares the face with the generator's preview
of the present codes and corrects them (ReStyle, Alaluf et al. 2021, arXiv 2104.02699). Like e4e (Tov et al. 2021,
arXiv 2102.02766) it gives one code and small offsets to it for each layer, so that the codes stay where the generator
makes faces.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import N_LAYERS
from mien.models.hints import REINSTALL
from mien.models.hub.load_state import load_into

SIZE = 128  # px, of the images that it compares
PASSES = 3
LEADING = 192  # offsets are given for so many of the widest directions; the others are hardly visible
HIDDEN = 768
TAPS = (10, 15)


class MobileEncoder(nn.Module):
    """Computes from a real face and the preview of the present codes how to change the codes.

    Whitened codes are [B, 16, 512]; images are [B, 3, 128, 128] in -1..1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0(channels_last=True, channels=6)
        self.middle = nn.Conv2d(112, 32, 1)
        self.deep = nn.Conv2d(320, 96, 1)
        self.hidden = nn.Linear(32 * 64 + 96 * 16 + 6 * 256, HIDDEN)
        self.shared = nn.Linear(HIDDEN, DIM)
        self.offsets = nn.Linear(HIDDEN, N_LAYERS * LEADING)
        for layer in (self.shared, self.offsets):
            nn.init.normal_(layer.weight, std=0.002)
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads trained weights (safetensors, float16 or float32) and freezes them.

        Raises:
            ModelError: the file does not hold the encoder.
        """
        return load_into(cls(), path, "the encoder", REINSTALL).eval().requires_grad_(False)

    def forward(self, image: Tensor, preview: Tensor) -> Tensor:
        """Computes the change of the codes: [B, 16, 512]."""
        both = torch.cat([image, preview], dim=1)
        middle, deep = self.trunk(both, TAPS)
        small = F.avg_pool2d(both, 8).flatten(1)
        x = torch.cat([self.middle(middle).flatten(1), self.deep(deep).flatten(1), small], dim=1)
        x = F.leaky_relu(self.hidden(x), 0.2)
        offsets = self.offsets(x).view(-1, N_LAYERS, LEADING)
        change: Tensor = self.shared(x)[:, None] + F.pad(offsets, (0, DIM - LEADING))
        return change

    def encode(self, image: Tensor, preview: Callable[[Tensor], Tensor], passes: int = PASSES) -> Tensor:
        """Encodes aligned faces [B, 3, H, W] in -1..1 as whitened codes [B, 16, 512].

        Args:
            preview: whitened codes -> previews [B, 3, 128, 128] in about -1..1.
            passes: number of corrections, starting at the mean face.
        """
        image = F.interpolate(image, size=(SIZE, SIZE), mode="area")
        codes = image.new_zeros(len(image), N_LAYERS, DIM)
        for _ in range(passes):
            codes = codes + self(image, preview(codes).clamp(-1, 1))
        return codes
