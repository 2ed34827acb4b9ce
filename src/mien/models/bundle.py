"""Defines the interfaces of the networks that a run needs, the same for every model set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mien.models.features.base import Features
from mien.models.generators.base import Generator
from mien.models.recognition.dlib_judge import Judge
from mien.types import Face, Pixels

Encoder = Callable[[Tensor], Tensor]


class Detector(Protocol):
    """Finds faces, by one network or two."""

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Finds the faces of a photo [H, W, 3] uint8 RGB, the surest first.

        Args:
            lying: search for rotated faces too, where the detector needs further passes for them.

        Raises:
            PhotoError: the photo cannot be searched.
        """


class Recognizer(Protocol):
    """Gives faces the identity vectors of the identity loss.

    Attributes:
        same_person: cosine from which on two photos count as one person's.
        width: D, the length of its vectors.
    """

    same_person: float
    width: int

    def identify(self, chip: Tensor) -> Tensor:
        """Turns faces [B, 3, 112, 112] in -1..1, aligned to the ArcFace template, into unit vectors [B, D]."""


@dataclass(frozen=True)
class Networks:
    """Holds the networks of a run, all frozen.

    Attributes:
        generator: W+ [B, L, 512] -> images [B, 3, 1024, 1024].
        preview_head: W+ [B, L, 512] and a size S, 256 or 128 -> preview [B, 3, S, S], much cheaper than the image.
        features: the attribute loss's features, which faces are also paired by.
        recognizer: the identity loss's recognizer.
        judge: the recognizer that takes no part in the losses and verifies the result.
        detector: finds faces and their five points.
        encoder: aligned images [B, 3, 256, 256] -> whitened codes [B, L, 512], the initial codes of the inversion.
        precision: of the losses' networks and of the preview, if the model set supports more than float32.
    """

    generator: Generator
    preview_head: Callable[[Tensor, int], Tensor]
    features: Features
    recognizer: Recognizer
    judge: Judge
    detector: Detector
    encoder: Encoder
    precision: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        """The device of all networks except YuNet; every detector takes and returns arrays in main memory."""
        return self.generator.device

    def preview(self, wp: Tensor, size: int = 256) -> Tensor:
        """Renders previews [B, 3, size, size] in about -1..1 of W+ [B, L, 512]; 128 is the cheaper size."""
        return self.preview_head(wp, size)

    @torch.inference_mode()
    def render(self, wp: Tensor) -> Tensor:
        """Renders images [B, 3, 1024, 1024] of W+ [B, L, 512], one at a time, so that memory stays that of one."""
        return torch.cat([self.generator(one[None]) for one in wp.to(self.device)])
