"""ArcFace IR-SE50, the recognizer in FALCO's identity loss (Deng et al. 2019, arXiv 1801.07698)."""

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
ROWS, COLUMNS = slice(35, 223), slice(32, 220)  # of the 256 px picture: the face of an FFHQ crop


class ArcFace(nn.Module):
    """Images [B, 3, 112, 112], RGB about -1..1 -> unit vectors [B, 512], frozen.

    Args:
        precision: of what it computes inside; its vectors are float32.
    """

    same_person = 0.42  # cosine; taken over from SFace, to be calibrated by those who have the weights
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
        """Read converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(precision), path, "ArcFace IR-SE50")

    def identify(self, chip: Tensor) -> Tensor:
        """The same as calling it: its input is in -1..1 already."""
        return self(chip)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        with reduced(x, self.precision):
            x = self.output_layer(self.body(self.input_layer(x)))
        return F.normalize(x.to(next(self.parameters()).dtype), dim=1)


def face_view(image: Tensor) -> Tensor:
    """FFHQ crops [B, 3, H, W] -> [B, 3, 112, 112]: the fixed cut of e4e's and FALCO's identity loss."""
    return F.adaptive_avg_pool2d(fit_square(image, 256)[:, :, ROWS, COLUMNS], SIZE)
