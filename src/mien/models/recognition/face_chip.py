"""Cuts the aligned face that dlib's recognizer expects: dlib's get_face_chip in numpy.

It is ported from dlib's image_transforms/interpolation.h and image_pyramid.h (pyramid_down<2>), including the
rounding, because every other alignment costs the recognizer accuracy. Points in the plane are complex
numbers x + iy here, so that multiplying by one complex number is a rotation and a scaling.
"""

# SPDX-License-Identifier: Apache-2.0 AND BSL-1.0

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Pixels

Points = npt.NDArray[np.float64]

CHIP_SIZE = 150
CHIP_PADDING = 0.25
MAX_SIDE = 1e7  # pixels
# Positions of the eye corners and the base of the nose in an average face, whose width and height are 1.
MEAN_POINTS = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)


def chip_points(size: int = CHIP_SIZE, padding: float = CHIP_PADDING) -> Points:
    """Returns the positions of the five points in a chip, see `face_chip`: [5, 2] (x, y) in pixels."""
    return np.asarray((MEAN_POINTS + padding) / (1 + 2 * padding) * size)


def fit_similarity(
    source: npt.NDArray[np.floating[Any]], target: npt.NDArray[np.floating[Any]]
) -> tuple[complex, complex]:
    """Fits a similarity transform without reflection by least squares (Umeyama 1991, closed form in the plane).

    `sface.align_matrix` does the same for the ArcFace template. Its sums round differently in the last digits, which
    decide single pixels, so the two remain separate.

    Args:
        source, target: [N, 2] (x, y) each, N >= 2.

    Returns:
        (factor, offset): z -> factor * z + offset maps source to target.

    Raises:
        ValueError: the points are not finite, or all in one place.
    """
    s, t = as_complex(source), as_complex(target)
    s_mean, t_mean = s.mean(), t.mean()
    s_centered = s - s_mean
    spread = float(np.sum(np.abs(s_centered) ** 2))
    factor = complex(np.sum(s_centered.conj() * (t - t_mean)))
    if not (np.isfinite(factor) and np.isfinite(spread) and spread > 0 and factor != 0):
        raise ValueError("points that are all in one place or not finite have no similarity transform")
    factor /= spread
    return factor, complex(t_mean - factor * s_mean)


def as_complex(points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.complex128]:
    """Converts points [..., 2] (x, y) to complex numbers [...] x + iy."""
    z: npt.NDArray[np.complex128] = np.asarray(points) @ np.array([1, 1j])
    return z


def as_points(z: npt.NDArray[np.complex128]) -> Points:
    """Converts complex numbers [...] x + iy to points [..., 2] (x, y)."""
    return np.stack([z.real, z.imag], axis=-1)


def face_chip(photo: Pixels, points: Points, size: int = CHIP_SIZE, padding: float = CHIP_PADDING) -> Pixels:
    """Cuts a face out upright, as in the training of dlib's networks; the defaults are those of its recognizer.

    Args:
        photo: [H, W, 3] uint8 RGB.
        points: [5, 2] (x, y) in pixels of the photo, in the order of dlib's predictor: outer and inner corner
            of the eye on the image's right, outer and inner corner of the eye on its left, base of the nose.
        size: side of the chip, pixels.
        padding: margin around the face on each side, in sizes of the face.

    Returns:
        [size, size, 3] uint8 RGB, black outside the photo.

    Raises:
        ValueError: the points cannot be those of a face: they are not finite, all in one place, or too far apart.
    """
    factor, offset = fit_similarity(chip_points(size, padding), points)
    center = factor * (size / 2) * (1 + 1j) + offset
    # dlib's rectangles count pixels: the distance from the first pixel's middle to the last one's is one less
    return extract_square(photo, center, factor, abs(factor) * size - 1, size)


def extract_square(photo: Pixels, center: complex, direction: complex, side: float, size: int) -> Pixels:
    """Resamples a rotated square: halves the photo while the square is at least twice too large, then bilinear.

    Args:
        photo: [H, W, 3] uint8 RGB.
        center: the middle of the square, in pixels of the photo.
        direction: direction of the square's x axis; its length is ignored.
        side: distance from the middle of the square's first pixel to that of its last, in pixels of the photo.
        size: side of the result, pixels.

    Returns:
        [size, size, 3] uint8 RGB, black outside the photo.

    Raises:
        ValueError: the square is not finite, has no extent, or is larger than MAX_SIDE.
    """
    if not (np.isfinite(center) and 0 < side < MAX_SIDE):
        raise ValueError(f"no photo has a square with a side of {side} around {center}")
    turn = direction / abs(direction)
    levels, margin = _depth(side, size)
    reach = side / 2 * (abs(turn.real) + abs(turn.imag))  # from the center to the left, the top, ...
    left, top, right, bottom = _bounds(photo, center, reach + margin)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), dtype=np.uint8)
    image = photo[top:bottom, left:right]
    center -= complex(left, top)
    for _ in range(levels):
        image, center, side = _halve(image), center / 2 - complex(1.25, 0.75), side / 2

    grid = np.linspace(-side / 2, side / 2, size)
    return _bilinear(image, center + turn * (grid[None, :] + 1j * grid[:, None]))


def _depth(side: float, size: int) -> tuple[int, float]:
    """Returns how often to halve, and how many pixels around the square the filters need for that."""
    levels, margin = 0, 2.0
    while (side / 2 + 1) ** 2 > size * size:
        side, levels, margin = side / 2, levels + 1, margin * 2 + 2
    return levels, margin


def _bounds(photo: Pixels, center: complex, reach: float) -> tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) of the part of the photo that is needed; right and bottom are exclusive."""
    height, width = photo.shape[:2]

    def pixel(value: float, last: int) -> int:
        return int(np.floor(min(max(value, 0), last) + 0.5))

    if center.real + reach < 0 or center.imag + reach < 0:
        return 0, 0, 0, 0
    left, right = pixel(center.real - reach, width), pixel(center.real + reach, width - 1) + 1
    top, bottom = pixel(center.imag - reach, height), pixel(center.imag + reach, height - 1) + 1
    return left, top, right, bottom


def _halve(image: Pixels) -> Pixels:
    """Filters by (1 4 6 4 1) / 16 in both directions and keeps every second pixel from the third on."""
    rows, columns = ((length - 3) // 2 for length in image.shape[:2])
    if min(image.shape[:2]) <= 8:
        return image[:0, :0]
    # OpenCV's filter is the same, but rounds bytes; floats can be truncated afterwards, as dlib does
    halved = cv2.pyrDown(image.astype(np.float32, order="C"))[1 : 1 + rows, 1 : 1 + columns]
    return halved.astype(np.uint8)


def _bilinear(image: Pixels, where: npt.NDArray[np.complex128]) -> Pixels:
    """Samples at [h, w] positions x + iy; values are truncated, not rounded, and black outside the image."""
    height, width = image.shape[:2]
    x, y = np.floor(where.real), np.floor(where.imag)
    inside = (x >= 0) & (y >= 0) & (x + 1 < width) & (y + 1 < height)
    chip = np.zeros((3, *where.shape), dtype=np.uint8)
    right, down = (where.real - x)[inside], (where.imag - y)[inside]
    left, up = 1 - right, 1 - down
    first = y[inside].astype(np.intp) * width + x[inside].astype(np.intp)
    for channel in range(3):  # one after another: three times as fast as rows of three
        plane = image[:, :, channel].reshape(-1)
        a, b, c, d = (plane.take(first + step) for step in (0, 1, width, width + 1))
        chip[channel, inside] = (up * (left * a + right * b) + down * (left * c + right * d)).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(chip, 0, -1))
