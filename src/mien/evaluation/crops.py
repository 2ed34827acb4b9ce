"""Aligned faces of originals and new photographs, cut from the same square of both, for attacks and trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.anonymizer.align import SIZE, align, from_photo, map_points
from mien.anonymizer.losses import VIEW, view_matrix
from mien.anonymizer.verify import find_again
from mien.errors import PhotoError
from mien.evaluation.measure_face import largest_face
from mien.evaluation.pairs import PhotoPairs
from mien.evaluation.progress_callbacks import CountProgress
from mien.images.decode import read_photo
from mien.models.bundle import Detector
from mien.types import Crop, Face, Floats, Pixels
from mien.util.image_tensors import to_tensor, view


@dataclass(frozen=True)
class Crops:
    """N aligned faces.

    Attributes:
        pixels: [N, 256, 256, 3] uint8 RGB. points: [N, 5, 2] in crop pixels.
    """

    pixels: Pixels
    points: Floats

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Crops:
        """Some of the faces."""
        return Crops(self.pixels[which], self.points[which])

    def images(self) -> Tensor:
        """All faces as [N, 3, 256, 256] in -1..1."""
        return to_tensor(self.pixels)

    def views(self) -> Tensor:
        """All faces as recognizers take them: [N, 3, 112, 112] in -1..1."""
        return torch.cat([view(to_tensor(self.pixels[i]), view_matrix(self.points[i]), VIEW)
                          for i in range(len(self))])


def cut_faces(pairs: PhotoPairs, detector: Detector, progress: CountProgress = lambda done, total: None
              ) -> tuple[Crops, Crops, npt.NDArray[np.int64]]:
    """Cuts the largest face out of every original, and what is in its place out of the new photograph.

    Returns:
        originals, new faces, and which rows of the pairs they are: photographs that cannot be compared are left out.
    """
    old, new, rows = [], [], []
    for i, (name, path) in enumerate(zip(pairs.names, pairs.new, strict=True)):
        cuts = _cut(pairs.root / name, path, detector)
        if cuts:
            old.append(cuts[0])
            new.append(cuts[1])
            rows.append(i)
        progress(i + 1, len(pairs.names))
    first = _stacked(old)
    same = all(one is other for one, other in zip(old, new, strict=True))
    return first, first if same else _stacked(new), np.array(rows, np.int64)


Cut = tuple[Pixels, Floats]  # of one face: pixels [256, 256, 3], points [5, 2]


def _cut(before: Path, after: Path, detector: Detector) -> tuple[Cut, Cut] | None:
    try:
        original = read_photo(before, before.name).pixels
        photo = original if before == after else read_photo(after, after.name).pixels
        face = largest_face(detector, original)
    except PhotoError:
        return None
    if face is None or photo.shape != original.shape:
        return None
    if photo is original:
        cut = _points_in(align(original, face), face)
        return cut, cut
    now = find_again(detector, photo, [face])[0] or face
    crops = align(original, face), align(photo, face)  # the same square of both
    return _points_in(crops[0], face), _points_in(crops[1], now)


def _points_in(crop: Crop, face: Face) -> Cut:
    return crop.pixels, map_points(from_photo(crop.quad, len(crop.pixels)), face.points)


def _stacked(cuts: Sequence[Cut]) -> Crops:
    if not cuts:
        return Crops(np.zeros((0, SIZE, SIZE, 3), np.uint8), np.zeros((0, 5, 2), np.float32))
    return Crops(np.stack([pixels for pixels, _ in cuts]), np.stack([points for _, points in cuts]))
