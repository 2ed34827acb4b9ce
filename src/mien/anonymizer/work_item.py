"""Describes one photo on its way through the pipeline, with its faces and what is decided about each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mien.types import Crop, Face, FaceOutcome, Floats, Match, Photo, Pixels


@dataclass
class Subject:
    """Describes a face that is to be replaced.

    Attributes:
        fixed: the pool face that its person always gets (per-person runs), or None.
        judged: the judge's vector [128] of the original face.
        identity: the loss recognizer's unit vector [D] of the original face.
        inverted: the original's whitened codes [L, 512], where the recipe inverts.
        codes: the new face's whitened codes [L, 512].
        match: the pool face that it starts from. tried: indices of all pool faces that it started from so far.
        picture: the new face [1024, 1024, 3], once it is rendered.
        passed: whether the judge took the new face for another person.
    """

    face: Face
    crop: Crop
    outcome: FaceOutcome
    fixed: Match | None = None
    judged: Floats = field(default_factory=lambda: np.zeros(128, np.float32))
    identity: Tensor | None = None
    inverted: Tensor | None = None
    codes: Tensor | None = None
    match: Match | None = None
    picture: Pixels | None = None
    tried: set[int] = field(default_factory=set)
    passed: bool = False


@dataclass
class WorkItem:
    """Describes a photo, and what is done to each face found in it.

    Attributes:
        found: all faces of the photo, in the detector's order.
        subjects: faces to replace. concealed: faces to blur. left: faces that stay as they are, as the owner asked.
        pixels: the photo [H, W, 3] uint8 as it stands now. changed: [H, W] bool, where it differs from the original.
    """

    photo: Photo
    found: list[Face] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    concealed: list[tuple[Face, FaceOutcome]] = field(default_factory=list)
    left: list[tuple[Face, FaceOutcome]] = field(default_factory=list)
    pixels: Pixels | None = None
    changed: npt.NDArray[np.bool_] | None = None

    @property
    def outcomes(self) -> list[FaceOutcome]:
        """What became of every face, in the order of their numbers."""
        rows = [s.outcome for s in self.subjects] + [o for _, o in self.concealed] + [o for _, o in self.left]
        return sorted(rows, key=lambda row: row.face)

    @property
    def originals(self) -> Floats:
        """The judge's vectors [N, 128] of the subjects' original faces."""
        return np.stack([s.judged for s in self.subjects]) if self.subjects else np.zeros((0, 128), np.float32)
