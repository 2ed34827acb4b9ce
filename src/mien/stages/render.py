"""Render: the picture of a code at the generator's full resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.geometry import to_pixels
from mien.models.networks import Networks
from mien.models.stylegan2 import StyleGAN2
from mien.records import Pixels


@torch.inference_mode()
def render_styles(generator: StyleGAN2, styles: list[Tensor]) -> list[Pixels]:
    """Styles, each [B, C] -> pictures, each [1024, 1024, 3] uint8 RGB, made one at a time."""
    rows = range(len(styles[0]))
    return [to_pixels(generator.synthesise([style[i : i + 1] for style in styles]))[0].numpy() for i in rows]


@torch.inference_mode()
def render(networks: Networks, codes: Tensor) -> list[Pixels]:
    """Whitened codes [B, L, 512] -> pictures, each [1024, 1024, 3] uint8 RGB, made one at a time."""
    return [to_pixels(networks.render(networks.generator.colour(row[None])))[0].numpy() for row in codes]
