"""Implements this project's own judge of sex, age and ethnic group, which only judges results.

It is a MobileFaceNet, which began as the independent judge's, beside the attribute judge's pooled features, which know
hair and surroundings. `training/look.py` trained it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.efficientnet_lite import HEAD_CHANNELS
from mien.models.hints import REINSTALL
from mien.models.hub.load_state import load_into
from mien.models.recognition.mobile_facenet import MobileFaceNet

GROUPS = ("white", "black", "asian", "indian", "other")  # as UTKFace numbers them
VECTOR = 512
HIDDEN = 256
AGES = 24  # classes, whose mean ages are learned


class Look(NamedTuple):
    """What the judge tells of faces: probability of a man [B], age in years [B], probabilities of `GROUPS` [B, 5]."""

    man: Tensor
    age: Tensor
    group: Tensor


class LookJudge(nn.Module):
    """Tells sex, age and ethnic group of aligned faces."""

    mean: Tensor
    scale: Tensor
    years: Tensor

    def __init__(self) -> None:
        super().__init__()
        width = HEAD_CHANNELS + VECTOR
        self.trunk = MobileFaceNet(VECTOR)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.hidden = nn.Linear(width, HIDDEN)
        self.man = nn.Linear(HIDDEN, 1)
        self.group = nn.Linear(HIDDEN, len(GROUPS))
        self.age = nn.Linear(HIDDEN, AGES)
        self.register_buffer("years", torch.zeros(AGES))

    @classmethod
    def from_file(cls, path: Path) -> LookJudge:
        """Loads trained weights (safetensors) and freezes them.

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "the look judge", REINSTALL).eval().requires_grad_(False)

    def logits(self, features: Tensor, chip: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Computes logits of a man [B], of age classes [B, 24] and of groups [B, 5]; `drop` is for training."""
        vector = F.normalize(self.trunk(chip), dim=1)
        x = (torch.cat([features, vector], dim=1) - self.mean) * self.scale
        x = F.dropout(F.gelu(self.hidden(F.dropout(x, drop))), drop)
        return self.man(x)[:, 0], self.age(x), self.group(x)

    def forward(self, features: Tensor, chip: Tensor) -> Look:
        """Tells the looks of faces.

        Args:
            features: [B, 1280] of `AttributeJudge.pooled`.
            chip: [B, 3, 112, 112], RGB in -1..1, aligned to the ArcFace template.
        """
        man, age, group = self.logits(features, chip)
        return Look(man.sigmoid(), age.softmax(dim=1) @ self.years, group.softmax(dim=1))
