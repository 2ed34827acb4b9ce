"""Cuts faces out of photos step by step as the scripts of FFHQ and e4e do, which fed the published encoders: 256 px.

Sources: Karras et al. 2019 (arXiv 1812.04948), Tov et al. 2021 (arXiv 2102.02766). The square is that of
`mien.anonymizer.align`; beyond its edge the photo is mirrored and blurred, and fades to its median color.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.anonymizer.align import SIZE, align, crop_of, crop_quad
from mien.types import Crop, Face, Floats, Pixels

Quad = npt.NDArray[np.float64]  # corners [4, 2]; whole coordinates are the centers of pixels here
Aligner = Callable[[Pixels, Face], Crop]
BLUR = 0.01  # Gaussian sigma beyond the photo's edge, as a share of the square's side; FALCO's is half of FFHQ's


def side_of(quad: Quad) -> float:
    """Computes the length of a square's sides, pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def shrinking(quad: Quad) -> int:
    """Computes how many times the square is larger than twice the crop, rounded down.

    From 2 on the photo is shrunk first. At 0 (squares below 512 px) the original passes the photo on unaligned; mien
    aligns it all the same.
    """
    return int(side_of(quad) / SIZE * 0.5)


def align_as_published(photo: Pixels, face: Face) -> Crop:
    """Cuts the 256 px crop of a face; pixels beyond the photo's edge are marked as not `inside`.

    Args:
        photo: [H, W, 3] uint8 RGB.
    """
    quad = crop_quad(face.points)
    if (quad.max(axis=0) < 0).any() or (quad.min(axis=0) >= photo.shape[1::-1]).any():
        return align(photo, face)  # no part of the photo is in the square, so that there is nothing to mirror
    pixels = np.asarray(_cut(photo, quad), dtype=np.uint8)
    return crop_of(pixels, quad + 0.5, face.points, photo.shape)  # in a crop whole coordinates are edges of pixels


ALIGNERS: dict[str, Aligner] = {"mirrored": align, "published": align_as_published}


def _cut(photo: Pixels, quad: Quad) -> Image.Image:
    photo, quad = _shrunk(photo, quad)
    border = max(round(side_of(quad) * 0.1), 3)
    part, quad = _around(photo, quad, border)
    part, quad = _continued(part, quad, border)
    corners = tuple((quad + 0.5).flatten())
    return Image.fromarray(part).transform((SIZE, SIZE), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)


def _shrunk(photo: Pixels, quad: Quad) -> tuple[Pixels, Quad]:
    factor = shrinking(quad)
    if factor < 2:
        return photo, quad
    height, width = photo.shape[:2]
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)), quad / factor


def _around(photo: Pixels, quad: Quad, border: int) -> tuple[Pixels, Quad]:
    """Cuts out the part of a photo that the square and a border cover, at least one pixel."""
    size = np.array(photo.shape[1::-1])
    x0, y0 = low = np.clip(np.floor(quad.min(axis=0)).astype(int) - border, 0, size - 1)
    x1, y1 = np.clip(np.ceil(quad.max(axis=0)).astype(int) + border, low + 1, size)
    return photo[y0:y1, x0:x1], quad - low


def _continued(part: Pixels, quad: Quad, border: int) -> tuple[Pixels, Quad]:
    """Mirrors a picture beyond its edges if the square comes nearer than 4 pixels to one, or reaches over it."""
    size = np.array(part.shape[1::-1])
    before = np.maximum(border - np.floor(quad.min(axis=0)).astype(int), 0)
    after = np.maximum(np.ceil(quad.max(axis=0)).astype(int) - size + border, 0)
    if max(*before, *after) <= border - 4:
        return part, quad
    before, after = (np.maximum(pad, round(side_of(quad) * 0.3)) for pad in (before, after))
    wide = np.pad(part.astype(np.float32), ((before[1], after[1]), (before[0], after[0]), (0, 0)), "reflect")
    depth = _depth(wide.shape, before, after)
    wide += (_blurred(wide, side_of(quad) * BLUR) - wide) * np.clip(depth * 3 + 1, 0, 1)
    wide += (np.median(wide, axis=(0, 1)) - wide) * np.clip(depth, 0, 1)
    return np.clip(np.rint(wide), 0, 255).astype(np.uint8), quad + before


def _depth(shape: tuple[int, ...], before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> Floats:
    """Computes how far out each pixel is, [H, W, 1]: 1 at the rim, 0 at the photo's edge, negative inside."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    across, down = (np.minimum(np.float32(position) / pad[0], np.float32(length - 1 - position) / pad[1])
                    for position, length, pad in ((x, shape[1], (before[0], after[0])),
                                                  (y, shape[0], (before[1], after[1]))))
    return np.asarray(np.maximum(1 - across, 1 - down)[..., None], dtype=np.float32)


def _blurred(image: Floats, sigma: float) -> Floats:
    """Applies a Gaussian filter, cut off at four sigmas; the picture is mirrored, with its edge pixels repeated."""
    reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    kernel = np.exp(-0.5 / sigma**2 * reach**2)
    kernel /= kernel.sum()
    return np.asarray(cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT), dtype=np.float32)
