"""Renders the pictures of codes at the generator's full resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.models.bundle import Networks
from mien.models.generators.stylegan2 import StyleGAN2
from mien.types import Pixels
from mien.util.image_tensors import to_pixels


@torch.inference_mode()
def render_styles(generator: StyleGAN2, styles: list[Tensor], stretch: bool = False) -> list[Pixels]:
    """Renders styles, each [B, C], to pictures, each [1024, 1024, 3] uint8 RGB, one at a time.

    Args:
        stretch: see `render`.
    """
    rows, styles = range(len(styles[0])), [style.to(generator.device) for style in styles]
    return [_pixels(generator.synthesize([style[i : i + 1] for style in styles]), stretch) for i in rows]


@torch.inference_mode()
def render(networks: Networks, codes: Tensor, stretch: bool = False) -> list[Pixels]:
    """Renders whitened codes [B, L, 512] to pictures, each [1024, 1024, 3] uint8 RGB, one at a time.

    Args:
        stretch: map each picture's least and largest values to 0 and 255, as the reference code does.
    """
    return [_pixels(networks.render(networks.generator.color(row[None])), stretch) for row in codes]


def _pixels(image: Tensor, stretch: bool) -> Pixels:
    """Converts [1, 3, H, W] to [H, W, 3] uint8; stretched values are cut, not rounded, to whole numbers."""
    if not stretch:
        return to_pixels(image)[0].cpu().numpy()
    low, high = image.aminmax()
    return ((image[0] - low) / (high - low).clamp(min=1e-9) * 255).byte().permute(1, 2, 0).cpu().numpy()
