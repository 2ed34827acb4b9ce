"""Cuts faces out of photos as the upright squares that FFHQ's generators were trained on, and maps points back.

Source: Karras et al. 2019 (arXiv 1812.04948): the square follows the line of the eyes and the line from eyes to mouth.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Crop, Face, Floats, Pixels

SIZE = 256
Matrix = npt.NDArray[np.float64]  # [2, 3] affine


def crop_quad(points: Floats) -> npt.NDArray[np.float64]:
    """Computes corners (top left, bottom left, bottom right, top right) [4, 2] of the FFHQ crop of points [5, 2]."""
    left, right, _, mouth_left, mouth_right = points.astype(np.float64)
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    eye_to_eye, eye_to_mouth = right - left, mouth - eyes
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    length = np.hypot(*x)
    x = np.array([1.0, 0.0]) if length < 1e-6 else x / length
    x = x * max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8, 2.0)
    y = x[::-1] * (-1, 1)
    center = eyes + eye_to_mouth * 0.1
    return np.stack([center - x - y, center - x + y, center + x + y, center + x - y])


def to_photo(quad: npt.NDArray[np.float64], size: int) -> Matrix:
    """Computes the affine [2, 3] from pixel centers of a size x size crop to pixel centers of the photo."""
    right, down = (quad[3] - quad[0]) / size, (quad[1] - quad[0]) / size
    origin = quad[0] + (right + down) / 2 - 0.5
    return np.stack([right, down, origin], axis=1)


def from_photo(quad: npt.NDArray[np.float64], size: int) -> Matrix:
    """Computes the inverse of `to_photo`."""
    return np.asarray(cv2.invertAffineTransform(to_photo(quad, size)), dtype=np.float64)


def map_points(matrix: Matrix, points: Floats) -> Floats:
    """Maps points [N, 2] by an affine [2, 3]."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def mirrored(coordinates: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Folds coordinates back into 0..length-1, as if the picture were mirrored at its edge pixels."""
    if length == 1:
        return np.zeros_like(coordinates)
    return np.asarray(np.abs((coordinates + length - 1) % (2 * length - 2) - (length - 1)))


def head_turn(points: Floats) -> float:
    """Measures how far the nose is from the middle of the eyes, in half eye distances, in five points in crop pixels.

    Returns:
        -1..1, 0 for a frontal face.
    """
    left, right, nose = points[0, 0], points[1, 0], points[2, 0]
    return float(np.clip((nose - (left + right) / 2) / max((right - left) / 2, 1.0), -1, 1))


def align(photo: Pixels, face: Face, size: int = SIZE) -> Crop:
    """Cuts the FFHQ crop of a face; beyond its edge the photo is mirrored, and these pixels are marked as not `inside`.

    Args:
        photo: [H, W, 3] uint8 RGB. size: the crop's side, pixels.
    """
    quad = crop_quad(face.points)
    matrix = to_photo(quad, size)
    scale = float(np.hypot(*matrix[:, 0]))
    height, width = photo.shape[:2]
    # Only the crop's neighborhood is read: a photo may be far larger than the face.
    pad = int(3 * scale) + 3
    low = np.floor(quad.min(axis=0)).astype(int) - pad
    high = np.ceil(quad.max(axis=0)).astype(int) + pad
    x0, y0 = np.clip(low, 0, [width - 1, height - 1])
    x1, y1 = np.maximum(np.clip(high, 1, [width, height]), [x0 + 1, y0 + 1])
    part = photo[y0:y1, x0:x1]
    if scale > 1:  # low-pass before shrinking
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.45 * scale, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)
    grid = sampling_grid(quad, size)
    # Mirrored here: OpenCV's own mirroring borders do not come back from far outside a tiny picture.
    columns = mirrored(grid[..., 0] - x0, part.shape[1]).astype(np.float32)
    rows = mirrored(grid[..., 1] - y0, part.shape[0]).astype(np.float32)
    pixels = cv2.remap(part, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return crop_of(np.asarray(pixels, dtype=np.uint8), quad, face.points, photo.shape)


def sampling_grid(quad: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Computes where in the photo each pixel of a crop is: (x, y) [size, size, 2]."""
    matrix = to_photo(quad, size)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1) @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(grid)


def crop_of(pixels: Pixels, quad: npt.NDArray[np.float64], points: Floats, photo: tuple[int, ...]) -> Crop:
    """Builds the crop of pixels [S, S, 3]: marks which of them are within the photo, and measures the head's turn.

    Args:
        points: the face's five points [5, 2] in the photo. photo: the photo's shape (H, W, 3).
    """
    grid = sampling_grid(quad, len(pixels))
    inside = np.all((grid >= -0.5) & (grid <= [photo[1] - 0.5, photo[0] - 0.5]), axis=-1)
    turn = head_turn(map_points(from_photo(quad, len(pixels)), points))
    return Crop(pixels, quad, np.asarray(inside), turn)
