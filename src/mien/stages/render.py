"""Render: the picture of a code at the generator's full resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.geometry import to_pixels
from mien.models.networks import Networks
from mien.records import Pixels


@torch.inference_mode()
def render(networks: Networks, codes: Tensor) -> list[Pixels]:
    """Whitened codes [B, 16, 512] -> pictures, each [1024, 1024, 3] uint8 RGB, made one at a time."""
    return [to_pixels(networks.render(networks.generator.colour(row[None])))[0].numpy() for row in codes]
