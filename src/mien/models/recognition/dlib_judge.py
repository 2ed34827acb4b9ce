"""Implements the judge, which tells whether two faces are one person, independently of the recognizer in the loss.

It is dlib's face recognition with dlib's own alignment, but without its face detector: dlib's landmarks are searched
in a crop that the five points of mien's detector have turned upright, not in a box of dlib's detector.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mien.models.recognition.dlib_resnet import DlibResNet
from mien.models.recognition.face_chip import Points, as_complex, as_points, extract_square, face_chip, fit_similarity
from mien.models.recognition.shape_predictor import ShapePredictor
from mien.types import Floats, Pixels

# Mean positions of the detector's five points in the box of dlib's frontal face detector, whose width and
# height are 1; measured on 195 photographs. The landmark predictor was trained on faces in such boxes.
POINTS_IN_BOX = np.array([(0.315, 0.282), (0.716, 0.288), (0.502, 0.534), (0.329, 0.706), (0.686, 0.711)])
CROP_SIZE = 320
CROP_BOX = (60.0, 60.0, 260.0, 260.0)
CROP_POINTS = CROP_BOX[0] + (CROP_BOX[2] - CROP_BOX[0]) * POINTS_IN_BOX


class Judge:
    """Embeds faces so that the distance between two tells whether they are the same person."""

    def __init__(self, network: DlibResNet, predictor: ShapePredictor) -> None:
        self._network = network
        self._predictor = predictor

    def embed(self, photo: Pixels, points: npt.NDArray[np.floating]) -> Floats:
        """Embeds the faces of one photo, each independently of the others.

        Args:
            photo: [H, W, 3] uint8 RGB.
            points: [N, 5, 2] (x, y) in pixels of the photo: eye, eye, nose, mouth corner, mouth corner; each
                pair starts at the image's left. Faces may be rotated by any angle and have any size.

        Returns:
            [N, 128] float32.

        Raises:
            ValueError: the photo or the points have another shape or type, or points cannot be those of a face:
                they are not finite, or all in one place.
        """
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise ValueError(f"the judge takes [H, W, 3] uint8, not {list(photo.shape)} {photo.dtype}")
        if points.ndim != 3 or points.shape[1:] != (5, 2):
            raise ValueError(f"the judge takes [N, 5, 2] points, not {list(points.shape)}")
        embeddings = np.zeros((len(points), 128), dtype=np.float32)
        for number, face in enumerate(points):
            chip = torch.from_numpy(face_chip(photo, self.landmarks(photo, face)))
            ready = chip.to(self._network.mean.device).permute(2, 0, 1)[None].float()
            embeddings[number] = self._network(ready)[0].cpu().numpy()
        return embeddings

    def landmarks(self, photo: Pixels, points: npt.NDArray[np.floating]) -> Points:
        """Finds dlib's five points of one face.

        Args:
            photo: [H, W, 3] uint8 RGB.
            points: [5, 2] (x, y) as for `embed`.

        Returns:
            [5, 2] float64 (x, y) in pixels of the photo, in the order that `face_chip` needs.

        Raises:
            ValueError: the points cannot be those of a face.
        """
        return find_landmarks(self._predictor, photo, points)

    @staticmethod
    def distance(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
        """Computes the Euclidean distance between embeddings, along the last axis.

        Args:
            a, b: [..., 128], as `embed` returns them; axes before the last are broadcast.

        Returns:
            [...] float64: 0 for the same image, about 0.4 for one person, about 0.8 for two. Below 0.6 dlib's author
            takes faces for the same person, which is right for 99.38 % of LFW's pairs.

        Raises:
            ValueError: a value is not finite, and would compare as two different persons.
        """
        distance: npt.NDArray[np.float64] = np.linalg.norm(np.subtract(a, b, dtype=np.float64), axis=-1)
        if not np.isfinite(distance).all():
            raise ValueError("an embedding that is not finite cannot be judged")
        return distance


def find_landmarks(predictor: ShapePredictor, photo: Pixels, points: npt.NDArray[np.floating]) -> Points:
    """Finds a predictor's P points of a face that its five points [5, 2] turn upright, see `Judge.landmarks`.

    Returns:
        [P, 2] float64 (x, y) in pixels of the photo.

    Raises:
        ValueError: the points cannot be those of a face.
    """
    factor, offset = fit_similarity(CROP_POINTS, points)
    middle = (CROP_SIZE - 1) / 2 * (1 + 1j)
    side = abs(factor) * (CROP_SIZE - 1)
    crop = extract_square(photo, factor * middle + offset, factor, side, CROP_SIZE)
    return as_points(factor * as_complex(predictor(crop, CROP_BOX)) + offset)
