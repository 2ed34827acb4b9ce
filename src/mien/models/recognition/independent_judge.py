"""Implements the independent judge: the recognizer that is in no loss and does not decide which new faces pass.

It is the MobileFaceNet of faceplugin-face-recognition-js, which `training/convert_judge.py` converts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from torch import Tensor
from torch.nn import functional as F

from mien.models.hints import REINSTALL
from mien.models.hub.load_state import load_into
from mien.models.recognition.mobile_facenet import MobileFaceNet

WIDTH = 512


class IndependentJudge(MobileFaceNet):
    """Tells people apart: turns aligned faces into unit vectors [B, 512], to be compared by cosine."""

    def __init__(self) -> None:
        super().__init__(WIDTH)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors, float16 or float32).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "the independent judge", REINSTALL)

    def identify(self, chip: Tensor) -> Tensor:
        """Turns faces [B, 3, 112, 112], RGB in -1..1, aligned to the ArcFace template, into unit vectors [B, 512]."""
        return F.normalize(self(((chip + 1) * 127.5 - 127) / 128), dim=1)
