"""Implements face-api's expression network: how much a face shows each of seven expressions, to judge results only.

Source: justadudewhohacks' face-api.js (MIT), as @vladmandic/face-api 1.7.15 (MIT) holds it; its blocks add up what
their convolutions give, after Huang et al. 2017, "Densely Connected Convolutional Networks", arXiv 1608.06993.
"""

# SPDX-License-Identifier: Apache-2.0 AND MIT

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.region import Region, region_between
from mien.models.features.tensorflow_layers import pad_end
from mien.models.hints import REINSTALL
from mien.models.hub.load_state import load_into
from mien.types import Face, Floats, Pixels

SIZE = 112  # px, of the input
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
MEAN = (122.782, 117.001, 104.298)  # RGB, taken off before the division by 255
CHANNELS = (32, 64, 128, 256)  # of the blocks


class Expression(nn.Module):
    """Tells how likely a face shows each of `EXPRESSIONS`.

    Input: [B, 3, 112, 112] float32 RGB, 0..255. Output: logits [B, 7].
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        widths = (3, *CHANNELS)
        self.blocks = nn.Sequential(*(_Block(a, b, first=a == 3) for a, b in zip(widths, CHANNELS, strict=False)))
        self.classify = nn.Linear(CHANNELS[-1], len(EXPRESSIONS))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits.

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"the expression network takes [B, 3, {SIZE}, {SIZE}], got {list(x.shape)}")
        maps = self.blocks((x - self.mean) / 255)  # 56 px, 28, 14, 7
        return torch.as_tensor(self.classify(maps.mean(dim=(2, 3))))

    @torch.inference_mode()
    def tell(self, photo: Pixels, face: Face) -> Floats:
        """Tells the expression of a face in a photograph.

        Args:
            photo: [H, W, 3] uint8 RGB.

        Returns:
            probabilities [7] in the order of `EXPRESSIONS`; their sum is 1.

        Raises:
            ValueError: the box or the points cannot be those of a face.
        """
        view = torch.from_numpy(expression_region(face).cut(photo, SIZE)).to(self.mean.device)
        logits = self(view.permute(2, 0, 1)[None].float())
        return np.asarray(torch.softmax(logits[0], dim=0).cpu(), np.float32)

    @classmethod
    def from_file(cls, path: Path) -> Expression:
        """Loads weights written by `training/convert_expression.py` (safetensors, float16 or float32).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "the expression network", REINSTALL)


class _Separable(nn.Module):
    """Convolves every channel alone, then mixes the channels; TensorFlow's padding."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, padding=0 if stride == 2 else 1, groups=channels,
                                   bias=False)
        self.pointwise = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.pointwise(self.depthwise(x)))


class _Block(nn.Module):
    """Halves the maps, then adds up what three more convolutions make of the sum so far."""

    def __init__(self, channels: int, out: int, first: bool = False) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, out, 3, stride=2) if first else _Separable(channels, out, stride=2)
        self.conv1, self.conv2, self.conv3 = (_Separable(out, out) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        total = F.relu(self.conv0(pad_end(x)))
        total = total + self.conv1(total)
        total = total + self.conv2(F.relu(total))
        total = total + self.conv3(F.relu(total))
        return F.relu(total)


def expression_region(face: Face) -> Region:
    """Returns the square that the network looks at: as wide as the longer side of the face's box, turned to level eyes.

    face-api gives the network its own detector's box, upright. Of boxes 0.7 to 1.5 times YuNet's, and of squares around
    the five points, this one told best who smiles on 401 photographs of CelebA-HQ's train split.

    Raises:
        ValueError: the box or the points cannot be those of a face.
    """
    x, y, width, height = face.box
    corners = np.array([[x, y], [x + width, y + height]], np.float32)
    return region_between(face.points[0], face.points[1], corners, scale=1.0)
