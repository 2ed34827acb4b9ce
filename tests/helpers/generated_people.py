"""Generates photographs of people who do not exist, whose codes are known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.align import align
from mien.anonymizer.losses import Faces, faces_of
from mien.models.bundle import Networks
from mien.models.generators.mobilestylegan import N_LAYERS
from mien.types import Crop, Face, Pixels
from mien.util.image_tensors import to_pixels

SEED = 4242  # not the pool's
COUNT = 2


@dataclass(frozen=True)
class Generated:
    """Two generated people whose codes are known.

    Attributes:
        codes: whitened codes [2, 512], truncated to 0.7. full: the generator's output [2, 3, 1024, 1024].
        photos: the same at 256 px, each [256, 256, 3] uint8.
        found, crops, faces: what the detector, `align` and `faces_of` compute from the photos.
    """

    codes: Tensor
    full: Tensor
    photos: list[Pixels]
    found: list[Face]
    crops: list[Crop]
    faces: Faces


@torch.no_grad()
def generate(networks: Networks) -> Generated:
    """Generates the people, always the same."""
    z = torch.randn(COUNT, 512, generator=torch.Generator().manual_seed(SEED))
    w = networks.generator.truncate(networks.generator.map(z), 0.7)
    full = networks.render(w[:, None].expand(-1, N_LAYERS, -1)).clone()
    photos = [pixels.numpy() for pixels in to_pixels(F.interpolate(full, size=(256, 256), mode="area"))]
    found = [networks.detector.detect(photo)[0] for photo in photos]
    crops = [align(photo, face) for photo, face in zip(photos, found, strict=True)]
    faces = faces_of(networks, found, crops)
    return Generated(networks.generator.whiten(w), full, photos, found, crops, faces)
