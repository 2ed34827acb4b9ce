"""Implements ArcFace IR-SE50 (Deng et al. 2019, arXiv 1801.07698), the recognizer in FALCO's identity loss."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.resize import fit_square
from mien.models.hub.load_state import load_into
from mien.models.recognition.ir_se50 import body, input_layer
from mien.util.precision import reduced

SIZE = 112
ROWS, COLUMNS = slice(35, 223), slice(32, 220)  # of the face in an FFHQ crop of 256 px


class ArcFace(nn.Module):
    """Turns images [B, 3, 112, 112], RGB about -1..1, into unit vectors [B, 512]; its weights are frozen.

    Args:
        precision: of the layers; the vectors are float32.
    """

    same_person = 0.42  # cosine; SFace's value, not yet calibrated with these weights
    width = 512

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.precision = precision
        self.input_layer = input_layer()
        self.body = body()
        self.output_layer = nn.Sequential(nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten(),
                                          nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512))
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path, precision: torch.dtype = torch.float32) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(precision), path, "ArcFace IR-SE50")

    def identify(self, chip: Tensor) -> Tensor:
        """Does the same as calling the network, whose input is already in -1..1."""
        return self(chip)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        with reduced(x, self.precision):
            x = self.output_layer(self.body(self.input_layer(x)))
        return F.normalize(x.to(next(self.parameters()).dtype), dim=1)


def face_view(image: Tensor) -> Tensor:
    """Cuts the face out of FFHQ crops [B, 3, H, W], as e4e's and FALCO's identity losses do: [B, 3, 112, 112]."""
    return F.adaptive_avg_pool2d(fit_square(image, 256)[:, :, ROWS, COLUMNS], SIZE)
