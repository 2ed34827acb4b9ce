"""Compresses pixels as a JPEG and reads them again: what is left of a picture that was saved once more."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from mien.types import Pixels


def recompressed(pixels: Pixels, quality: int) -> Pixels:
    """Gives what one JPEG, without halving the colors' resolution, leaves of pixels [H, W, 3] or [H, W] uint8."""
    with BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
        return np.asarray(Image.open(file), np.uint8)
