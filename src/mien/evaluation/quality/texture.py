"""Describes the texture of an aligned face: smoothness, grain and seams, which a pooled head averages away."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mien.images.recompress import recompressed
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.util.image_tensors import ellipse, to_pixels, to_tensor

SIZE = 256  # side of an aligned crop, pixels
QUALITY = 75  # of the JPEG that every crop passes through
TAPS = (2, 4, 10)  # blocks whose maps are described: 64, 32 and 16 px wide, of 24, 40 and 112 channels
GROW = 0.1  # the area reaches beyond the face's ellipse, where a seam would be
TEXTURES = 2 * (24 + 40 + 112)  # numbers that describe a face


@torch.inference_mode()
def texture_features(network: EfficientNetLite0, picture: Tensor) -> Tensor:
    """Describes an aligned face [1, 3, 256, 256] in -1..1 by early maps of the network, at the crop's own resolution.

    The face is described in gray, after one JPEG of quality 75: without that, photographs that were only saved anew
    are told from their originals, by the grid of blocks and by the colors' halved resolution.

    Returns:
        [352]: for each map the means of its channels over the face and a rim around it, then the standard deviations.

    Raises:
        ValueError: the picture has another shape.
    """
    if picture.shape != (1, 3, SIZE, SIZE):
        raise ValueError(f"an aligned face is [1, 3, {SIZE}, {SIZE}], got {list(picture.shape)}")
    area = ellipse(SIZE, GROW)
    return torch.cat([_moments(one, area) for one in network(_leveled(picture), TAPS)])


def _leveled(picture: Tensor) -> Tensor:
    """The picture in gray, with the traces of how it was stored covered by those of one JPEG."""
    gray = np.asarray(Image.fromarray(to_pixels(picture)[0].numpy()).convert("L"))
    return to_tensor(np.repeat(recompressed(gray, QUALITY)[:, :, None], 3, axis=2))


def _moments(maps: Tensor, area: Tensor) -> Tensor:
    """Means [C] and standard deviations [C] of maps [1, C, H, W] over the face's area [1, 1, 256, 256]: [2 C]."""
    mask = F.interpolate(area, size=maps.shape[-2:], mode="area")
    weight = mask / mask.sum()
    mean = (maps * weight).sum(dim=(2, 3), keepdim=True)
    variance = ((maps - mean).square() * weight).sum(dim=(2, 3))
    return torch.cat([mean.flatten(), variance.sqrt().flatten()])
