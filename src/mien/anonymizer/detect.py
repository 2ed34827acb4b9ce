"""Detects the faces of a photo, each with five points and a score."""

from __future__ import annotations

from mien.models.bundle import Networks
from mien.models.detection.boxes import Boxes, iou
from mien.types import Face, Photo


def detect(networks: Networks, photo: Photo) -> list[Face]:
    """Detects the faces of a photo, the surest first.

    Raises:
        PhotoError: the detector cannot search the photo.
    """
    return networks.detector.detect(photo.pixels)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Computes the intersection over union of two boxes (x, y, width, height)."""
    return float(iou(Boxes.from_sizes([a]), Boxes.from_sizes([b]))[0, 0])
