"""Defines the data that flows between the stages.

Images are uint8 RGB HWC at the boundaries (photos, crops that detectors and judges get) and float32 RGB
[B, 3, H, W] in -1..1 inside (generator, encoder, losses).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # [H, W, 3] RGB 0..255
Floats = npt.NDArray[np.float32]

Status = Literal["anonymized", "blurred", "dropped", "kept", "excluded"]


@dataclass(frozen=True)
class Encoding:
    """Says how a photo was stored, so that it can be stored the same way again.

    Attributes:
        format: Pillow's name of the file format ("JPEG", "PNG", ...).
        mode: Pillow's mode of the source ("RGB", "RGBA", "P", "L", "I;16", "CMYK", ...).
        options: keyword arguments for `PIL.Image.Image.save` (JPEG tables and subsampling, the transparent
            palette index, ...).
        icc_profile: color profile, the only metadata that is kept: without it colors change.
    """

    format: str
    mode: str
    options: dict[str, Any] = field(default_factory=dict)
    icc_profile: bytes | None = None


@dataclass(frozen=True)
class Photo:
    """Holds one photograph, upright.

    Attributes:
        name: path relative to the source folder, with forward slashes.
        pixels: [H, W, 3] uint8 RGB, EXIF orientation applied.
        encoding: how to write it back.
        alpha: transparency [H, W] uint8, where the source has any.
        native: upright pixels as stored (16-bit gray, palette indices), where `pixels` cannot represent them exactly.
        palette: colors R, G, B, R, G, B, ... of a palette photo.
        scale: the values of `native` that `pixels` shows as 0 and as 255, for gray of more than 8 bits.
        verbatim: the file without its metadata, with its compressed pixels untouched, for an upright JPEG or WebP. It
            is written when no pixel changes, so that nothing is lost by compressing again.
    """

    name: str
    pixels: Pixels
    encoding: Encoding
    alpha: npt.NDArray[np.uint8] | None = None
    native: npt.NDArray[Any] | None = None
    palette: list[int] | None = None
    scale: tuple[float, float] | None = None
    verbatim: bytes | None = None


@dataclass(frozen=True)
class Face:
    """Describes one detected face.

    Attributes:
        box: (x, y, width, height) in pixels of the upright photo; may reach over its edges.
        points: [5, 2] float32 (x, y) of eye, eye, nose, mouth corner, mouth corner; of each pair first the one that
            is on the image's left when the face is upright.
        score: the detector's confidence, 0..1.
    """

    box: tuple[float, float, float, float]
    points: Floats
    score: float

    @property
    def area(self) -> float:
        """The box's area in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def is_rotated(self) -> bool:
        """Whether the face is rotated by more than 45 degrees, or its points are not known."""
        across, down = self.points[3:].mean(axis=0) - self.points[:2].mean(axis=0)
        return not abs(across) <= down


@dataclass(frozen=True)
class Crop:
    """Holds a face, cut out of a photo and aligned as in FFHQ.

    Attributes:
        pixels: [S, S, 3] uint8 RGB.
        quad: [4, 2] float64, the crop's corners (top left, bottom left, bottom right, top right) in photo pixels.
        inside: [S, S] bool, which of the crop's pixels are within the photo.
        turn: how far the head is turned: 0 frontal, 1 with the nose below the crop's right eye, -1 below the left one.
    """

    pixels: Pixels
    quad: npt.NDArray[np.float64]
    inside: npt.NDArray[np.bool_]
    turn: float = 0.0


@dataclass(frozen=True)
class Match:
    """Names the pool face that a real face is paired with.

    Attributes:
        index: the pool face's index in the pool.
        distance: distance of the two faces, as pairing measures it.
    """

    index: int
    distance: float


@dataclass
class FaceOutcome:
    """Says what became of one face. It is private: distances and points let anyone check who the original is.

    `mien.parquet` has what may be published of it, WORK/faces.parquet all of it.

    `seconds` is the face's share of the time that its photos took, from reading to writing.
    """

    file: str
    face: int
    box: tuple[float, float, float, float]
    points: list[list[float]]
    score: float
    status: Status
    reason: str = ""
    attempts: int = 0
    steps: int = 0
    seconds: float = 0.0
    similarity: float | None = None  # cosine to the original by the loss's recognizer (SFace)
    judge_distance: float | None = None  # Euclidean distance to the original by the judge (dlib)
    attribute_distance: float | None = None
    person: str = ""


@dataclass(frozen=True)
class Skipped:
    """Names a file that was not processed, and says why."""

    file: str
    reason: str


__all__ = ["Crop", "Encoding", "Face", "FaceOutcome", "Floats", "Match", "Photo", "Pixels", "Skipped", "Status"]
