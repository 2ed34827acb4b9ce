"""A cheap picture out of the generator's middle: the project's own small network.

MobileStyleGAN ships only its last layer to RGB, so every look at the picture costs all layers up to 512x512.
The head reads the features at 64x64 and gives the picture at 256x256 that the full output would shrink to. It
is trained by `training/image_head.py`; the optimisation looks through it, the end is confirmed at full size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.generator import DIM
from mien.models.mobilestylegan import N_LAYERS, inverse_haar

BLOCKS = 4  # of the generator, before the head
CHANNELS = 512
SIZE = 256
FIRST = 2 * BLOCKS + 1  # the first W+ vector that the skipped layers would have read
RANK = 24
WIDTHS = (160, 40, 64)  # at 64x64, after the wavelet at 128x128, after mixing


class ImageHead(nn.Module):
    """Modulated features [B, 512, 64, 64] and W+ [B, 16, 512] -> picture [B, 3, 256, 256] in about -1..1.

    The features come modulated by the generator's own next layer (`MobileStyleGAN.blocks[4].up`).
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.reduce = nn.Linear((N_LAYERS - FIRST) * DIM, RANK)
        self.style = nn.Linear(RANK, a + b + c)
        self.squeeze = nn.Conv2d(CHANNELS, a, 1)
        self.depthwise = nn.Conv2d(b, b, 3, padding=1, groups=b)
        self.mix = nn.Conv2d(b, c, 1)
        self.bands = nn.Conv2d(c, 12, 3, padding=1)
        self.map = nn.Parameter(torch.zeros(12, SIZE // 2, SIZE // 2))  # the skipped layers' fixed noise
        nn.init.normal_(self.reduce.weight, std=0.01)
        nn.init.normal_(self.style.weight, std=0.01)
        nn.init.ones_(self.style.bias)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read trained weights (safetensors, float16 or float32), frozen.

        Raises:
            ModelError: the file does not hold an image head.
        """
        try:
            head = cls()
            head.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{path} does not hold the image head: {error}") from error
        return head.eval().requires_grad_(False)

    def forward(self, x: Tensor, wp: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """`corner`: (y, x) of the feature map's part that x is, in training on crops."""
        style = self.style(self.reduce(wp[:, FIRST:].flatten(1)))[:, :, None, None]
        s1, s2, s3 = style.split(WIDTHS, dim=1)
        x = F.leaky_relu(self.squeeze(x) * s1, 0.2)  # [B, 160, h, w]
        x = inverse_haar(x)  # [B, 40, 2h, 2w]
        x = F.leaky_relu(self.mix(self.depthwise(x * s2)), 0.2)  # [B, 64, 2h, 2w]
        y0, x0 = 2 * corner[0], 2 * corner[1]
        noise = self.map[:, y0 : y0 + x.shape[2], x0 : x0 + x.shape[3]]
        return inverse_haar(self.bands(x * s3) + noise)  # [B, 3, 4h, 4w]
