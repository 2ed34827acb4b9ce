"""The networks that a run needs, in the form in which the stages know them, whichever set they come from."""

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
    """The network, or two, that find faces."""

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Faces of a photo [H, W, 3] uint8 RGB, the surest first.

        Args:
            lying: look for faces that lie or stand on their heads too, where that is a search of its own.

        Raises:
            PhotoError: the photo cannot be searched.
        """


class Recognizer(Protocol):
    """The network that the identity loss asks.

    Attributes:
        same_person: cosine from which on two photos count as one person's.
        width: of its vectors.
    """

    same_person: float
    width: int

    def identify(self, chip: Tensor) -> Tensor:
        """Faces [B, 3, 112, 112] in -1..1, aligned to the ArcFace template -> unit vectors [B, D]."""


@dataclass(frozen=True)
class Networks:
    """Frozen networks: generator, cheap look at its picture, features, loss's recognizer, judge, detector.

    Attributes:
        lens: W+ [B, L, 512] and a size S, 256 or 128 -> picture [B, 3, S, S], much cheaper than the whole.
        precision: of the loss's networks and of the look, where their set knows another than float32.
        encoder: aligned images [B, 3, 256, 256] -> whitened codes [B, L, 512], where inversion starts from.
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
        """Where all of them compute but YuNet; detectors take and give what lies in this machine's memory."""
        return self.generator.device

    def preview(self, wp: Tensor, size: int = 256) -> Tensor:
        """W+ [B, L, 512] -> picture [B, 3, size, size] in about -1..1; 128 is the cheaper size."""
        return self.preview_head(wp, size)

    @torch.inference_mode()
    def render(self, wp: Tensor) -> Tensor:
        """W+ [B, L, 512] -> pictures [B, 3, 1024, 1024], one at a time: memory stays that of one."""
        return torch.cat([self.generator(one[None]) for one in wp.to(self.device)])
