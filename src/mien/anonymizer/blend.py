"""Blends new faces into a photo; pixels outside their soft masks stay exactly as they were."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.anonymizer.align import from_photo
from mien.types import Crop, Pixels
from mien.util.image_tensors import FACE_AXES, FACE_CENTER

Map = npt.NDArray[np.float32]

FEATHER = 0.2  # width of the mask's soft rim within the ellipse, as a share of the ellipse's radius
FAR_SIDE = 0.27  # how much narrower the mask's far side gets when the head is fully turned, in half-crop units
FIELD = 64  # side of the color field, pixels
# In gray levels: differences at the rim beyond COLOR_SCALE are not caused by light but by hair or background, and
# corrections are limited, those of tint more than those of light.
COLOR_SCALE = 28.0
LIGHT_LIMIT = 40.0
TINT_LIMIT = 14.0
SHARPNESS_SIGMAS = (0.0, 0.5, 0.7, 0.9, 1.2, 1.6, 2.1, 2.8, 3.7, 5.0)  # blurs to choose from, pixels


@dataclass(frozen=True)
class Patch:
    """Holds the new face for a crop: its picture [S, S, 3] uint8 RGB, where S is the generator's size."""

    crop: Crop
    picture: Pixels


def blend(photo: Pixels, patches: list[Patch],
          original: Pixels | None = None) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Blends new faces into a photo.

    Where masks meet, each pixel goes to the face whose center it is nearer to, so that neighbors do not
    paint over one another.

    Args:
        original: the photo whose sharpness the new faces get, where parts of `photo` have been blurred already.

    Returns:
        The new photo [H, W, 3] uint8, and a mask [H, W] bool of the pixels that may have changed.
    """
    out, changed = photo.copy(), np.zeros(photo.shape[:2], dtype=bool)
    sharp = photo if original is None else original
    for i, patch in enumerate(patches):
        window = window_of(patch.crop, photo.shape)
        if window is None:
            continue
        ys, xs = window
        radius = radius_within(patch.crop, ys, xs)
        mask = np.clip((1 - radius) / FEATHER, 0, 1)
        mask = mask * mask * (3 - 2 * mask)
        for other in patches[:i] + patches[i + 1 :]:
            mask *= np.clip((radius_within(other.crop, ys, xs) - radius) / FEATHER + 0.5, 0, 1)
        new = _warp(patch, sharp[ys, xs], mask, ys, xs)
        here = mask[:, :, None]
        mixed = out[ys, xs] * (1 - here) + new * here
        touched = mask > 0
        out[ys, xs][touched] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)[touched]
        changed[ys, xs] |= touched
    return out, changed


def window_of(crop: Crop, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Finds the rows and columns of a photo [H, W, ...] that a crop covers; None where it covers none."""
    low = np.floor(np.clip(crop.quad.min(axis=0), 0, [shape[1], shape[0]])).astype(int)
    high = np.ceil(np.clip(crop.quad.max(axis=0), 0, [shape[1], shape[0]])).astype(int)
    if (high <= low).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def radius_within(crop: Crop, ys: slice, xs: slice) -> Map:
    """Computes for every pixel of a window the distance from the face's center: 1 on the face's ellipse."""
    y, x = np.mgrid[ys, xs]
    matrix = from_photo(crop.quad, 2)  # crop coordinates -0.5..1.5, pixel centers
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] - 0.5  # -1..1 over the crop
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] - 0.5
    return face_radius(u, v, crop.turn)


def face_radius(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64], turn: float) -> Map:
    """Computes the distance from the face's center, 1 on its ellipse, at points (u, v) in -1..1 over the crop.

    A turned head shows little of its far cheek: the ellipse is narrower there, so that the background stays.
    """
    u, v = u - FACE_CENTER[0], v - FACE_CENTER[1]
    far = u * np.sign(turn) > 0
    width = np.where(far, FACE_AXES[0] - FAR_SIDE * abs(turn), FACE_AXES[0])
    return np.asarray(np.hypot(u / width, v / FACE_AXES[1]), dtype=np.float32)


def _warp(patch: Patch, old: Pixels, mask: Map, ys: slice, xs: slice) -> Map:
    """Warps the new face to the window's pixels, with colors and sharpness matched to the photo: [h, w, 3] float32."""
    side = float(np.hypot(*(patch.crop.quad[3] - patch.crop.quad[0])))
    size = int(np.clip(round(side), 16, len(patch.picture)))
    picture = cv2.resize(patch.picture, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    picture = picture + cv2.resize(color_field(patch), (size, size), interpolation=cv2.INTER_CUBIC)
    matrix = from_photo(patch.crop.quad, size)
    matrix = matrix + np.array([[0, 0, matrix[0, :2] @ [xs.start, ys.start]],
                                [0, 0, matrix[1, :2] @ [xs.start, ys.start]]])
    new = cv2.warpAffine(picture, matrix, (old.shape[1], old.shape[0]),
                         flags=(cv2.INTER_LINEAR if side <= size else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP,
                         borderMode=cv2.BORDER_REPLICATE)
    return match_sharpness(np.asarray(new, dtype=np.float32), old, mask)


def color_field(patch: Patch) -> Map:
    """Computes the smooth color difference of old and new face around the rim, extended inwards: [64, 64, 3].

    Only pixels near the rim count that are within the photo and differ moderately: hair in front of a wall must not
    tint the skin.
    """
    old = cv2.resize(patch.crop.pixels, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32)
    new = cv2.resize(patch.picture, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.resize(patch.crop.inside.astype(np.float32), (FIELD, FIELD), interpolation=cv2.INTER_AREA)
    axis = (np.arange(FIELD) + 0.5) / FIELD * 2 - 1
    u, v = np.meshgrid(axis, axis)
    radius = face_radius(u, v, patch.crop.turn)
    difference = old - new
    size = np.abs(difference).max(axis=2)
    weight = np.exp(-(((radius - 0.92) / 0.12) ** 2)) * inside / (1 + (size / COLOR_SCALE) ** 4)
    weight = np.maximum(weight, 0).astype(np.float32)[:, :, None]
    total = np.zeros_like(difference)
    norm = np.zeros_like(weight)
    for sigma, share in ((5.0, 1.0), (10.0, 0.3), (20.0, 0.1)):  # near pixels count most, far ones fill gaps
        total += share * cv2.GaussianBlur(difference * weight, (0, 0), sigma)
        norm += share * cv2.GaussianBlur(weight, (0, 0), sigma)[:, :, None]
    field = total / (norm + 1e-3)
    light = np.clip(field.mean(axis=2, keepdims=True), -LIGHT_LIMIT, LIGHT_LIMIT)
    tint = np.clip(field - field.mean(axis=2, keepdims=True), -TINT_LIMIT, TINT_LIMIT)
    return np.asarray(light + tint, dtype=np.float32)


def match_sharpness(new: Map, old: Pixels, mask: Map) -> Map:
    """Blurs the new face until it has no more fine detail than the old one: what is out of focus stays out of focus."""
    core = mask > 0.5
    if core.sum() < 64:
        return new
    wanted = _detail(old.astype(np.float32), core)
    best, best_gap = new, np.inf
    for sigma in SHARPNESS_SIGMAS:
        candidate = np.asarray(cv2.GaussianBlur(new, (0, 0), sigma) if sigma else new, dtype=np.float32)
        gap = abs(np.log((_detail(candidate, core) + 0.05) / (wanted + 0.05)))
        if gap >= best_gap:
            break
        best, best_gap = candidate, gap
    return best


def _detail(image: Map, core: npt.NDArray[np.bool_]) -> float:
    """Measures the upper quartile of fine luminance detail, which reflects skin and grain but not lashes and hair."""
    gray = image.mean(axis=2)
    return float(np.percentile(np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 1.5))[core], 75))
