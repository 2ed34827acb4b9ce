"""Detect: every face of a photo, with five points and a score."""

from __future__ import annotations

from mien.models.bundle import Networks
from mien.types import Face, Photo


def detect(networks: Networks, photo: Photo) -> list[Face]:
    """Faces of a photo, the surest first.

    Raises:
        PhotoError: the photo is of a size that the detector cannot take.
    """
    return networks.detector.detect(photo.pixels)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
