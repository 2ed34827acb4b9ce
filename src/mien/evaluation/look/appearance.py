"""Measures what a face's pixels show: colors of skin and iris, direction of the light, sharpness, grain, chroma.

Everything is measured in the photo's own pixels, not in the aligned crop, whose sampling smooths grain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from mien.anonymizer.blend import radius_within, window_of
from mien.types import Crop, Floats, Pixels

Mask = npt.NDArray[np.bool_]  # [H, W]
# Outlines of skin that beards, hair and glasses seldom cover, as vertices of MediaPipe's mesh of 468 points.
SKIN = ((50, 101, 118, 117, 123, 147, 187, 205), (280, 330, 347, 346, 352, 376, 411, 425),
        (9, 107, 66, 105, 104, 69, 108, 151, 337, 299, 333, 334, 296, 336))
LIT = (*SKIN, (168, 122, 196, 3, 51, 45, 4, 275, 281, 248, 419, 351))  # where light is measured: the nose as well
NEIGHBORS = 9  # vertices that a normal is fitted to
RIDGE = 0.05  # keeps the fitted light near none where the normals tell little
LEAST_IRIS = 2.5  # pixels of radius; the color of a smaller iris is that of lids and lashes
LEAST_PIXELS = 12


@dataclass(frozen=True)
class PixelLook:
    """What a face's pixels show; NaN where it cannot be measured.

    Attributes:
        skin, iris: [3] CIELAB (D65), the median over the skin of cheeks and forehead, and over both irises.
        light: [3] how much brighter a patch of skin is that faces to the image's right, down, and away from the camera,
            relative to the mean; its direction is the light's.
        sharpness: variance of the Laplacian of gray levels on the face. grain: standard deviation of the noise there,
            in gray levels. chroma: mean distance from gray, in CIELAB.
    """

    skin: Floats
    iris: Floats
    light: Floats
    sharpness: float
    grain: float
    chroma: float


def pixel_look(photo: Pixels, crop: Crop, mesh: Floats | None, irises: Floats | None) -> PixelLook:
    """Measures the face of a crop in its photo [H, W, 3] uint8 RGB.

    Args:
        mesh: [468, 3] MediaPipe's points in photo pixels. irises: [I, 3] (x, y, radius) of the visible ones.
    """
    nothing = np.full(3, np.nan, np.float32)
    window = window_of(crop, photo.shape)
    if window is None:
        return PixelLook(nothing, nothing, nothing, float("nan"), float("nan"), float("nan"))
    part = photo[window]
    face = np.asarray(radius_within(crop, *window) < 1)
    gray = np.asarray(cv2.cvtColor(part.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)  # not rounded: for grain
    lab = to_lab(part)
    origin = np.array([window[1].start, window[0].start, 0], np.float32)
    skin = light = nothing
    if mesh is not None:
        here = mesh - origin
        skin = _median(lab, skin_mask(here, gray.shape))
        light = light_direction(gray, here)
    iris = nothing if irises is None else _median(lab, iris_mask(irises - origin, gray.shape))
    return PixelLook(skin, iris, light, sharpness(gray, face), grain(gray, face), chroma(lab, face))


def to_lab(pixels: Pixels) -> Floats:
    """Converts [H, W, 3] uint8 sRGB to CIELAB [H, W, 3]: L 0..100, a and b about -128..127."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def skin_mask(mesh: Floats, shape: tuple[int, ...]) -> Mask:
    """Marks the skin of cheeks and forehead in a picture of this shape; mesh: [468, 3] in its pixels."""
    mask = np.zeros(shape[:2], np.uint8)
    for outline in SKIN:
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(mesh[list(outline), :2]).astype(np.int32)), 1)
    return mask > 0


def iris_mask(irises: Floats, shape: tuple[int, ...]) -> Mask:
    """Marks the rings between pupil and the iris' rim that upper lids leave free; irises: [I, 3] (x, y, radius)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape[:2], bool)
    for center_x, center_y, radius in irises:
        if radius >= LEAST_IRIS:
            away = np.hypot(x - center_x, y - center_y) / radius
            mask |= (away > 0.45) & (away < 0.9) & (np.abs(y - center_y) < 0.6 * radius)
    return mask


def light_direction(gray: Floats, mesh: Floats) -> Floats:
    """Fits the light [3] that explains how bright the skin is by where it faces (first-order shading).

    Brightness = ambient + light . normal, by least squares over the mesh's vertices on cheeks, forehead and nose.

    Source: Basri and Jacobs 2003, "Lambertian reflectance and linear subspaces": the first harmonics.
    """
    rows = np.unique(np.concatenate(LIT))
    points = mesh[rows]
    side = float(np.ptp(mesh[:, 0])) / 24 + 1e-6  # of the neighborhood whose brightness counts
    smooth = cv2.GaussianBlur(gray, (0, 0), max(side / 2, 0.5))
    height, width = gray.shape
    inside = (points[:, 0] >= 0) & (points[:, 0] < width) & (points[:, 1] >= 0) & (points[:, 1] < height)
    if inside.sum() < LEAST_PIXELS:
        return np.full(3, np.nan, np.float32)
    places = points[inside, :2].astype(int)
    bright = smooth[places[:, 1], places[:, 0]].astype(np.float64)
    mean = max(float(bright.mean()), 1.0)
    normal = normals(mesh)[rows][inside]
    centered = normal - normal.mean(axis=0)
    gram = centered.T @ centered / len(normal) + RIDGE * np.diag([0.2, 0.2, 1.0])
    fitted = np.linalg.solve(gram, centered.T @ (bright / mean - 1) / len(normal))
    return np.asarray(fitted, np.float32)


def normals(mesh: Floats) -> npt.NDArray[np.float64]:
    """Computes unit normals [468, 3], towards the camera (-z), of planes through each vertex' nearest neighbors."""
    points = mesh.astype(np.float64)
    _, near = cKDTree(points).query(points, k=NEIGHBORS)
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    normal = np.linalg.svd(around)[2][:, 2]  # the direction of least spread
    return np.asarray(normal * np.where(normal[:, 2:] > 0, -1, 1))


def sharpness(gray: Floats, face: Mask) -> float:
    """Variance of the Laplacian of gray levels [H, W] on the face; NaN where the face has no pixels."""
    return float(cv2.Laplacian(gray, cv2.CV_32F)[face].var()) if face.any() else float("nan")


def grain(gray: Floats, face: Mask) -> float:
    """Standard deviation of the noise of gray levels [H, W] on the face; NaN where the face has too few pixels.

    The median of the absolute diagonal differences over 0.6745: edges, which are few, do not count.

    Source: Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """
    diagonal = (gray[:-1, :-1] - gray[1:, :-1] - gray[:-1, 1:] + gray[1:, 1:]) / 2
    values = diagonal[face[:-1, :-1]]
    return float(np.median(np.abs(values)) / 0.6745) if len(values) >= LEAST_PIXELS else float("nan")


def chroma(lab: Floats, face: Mask) -> float:
    """Mean distance of CIELAB colors [H, W, 3] from gray on the face; NaN where the face has no pixels."""
    return float(np.hypot(lab[..., 1], lab[..., 2])[face].mean()) if face.any() else float("nan")


def _median(lab: Floats, mask: Mask) -> Floats:
    if mask.sum() < LEAST_PIXELS:
        return np.full(3, np.nan, np.float32)
    return np.asarray(np.median(lab[mask], axis=0), np.float32)
