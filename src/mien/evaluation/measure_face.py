"""Measures one face, in the original or in the new photo: what every figure of an evaluation is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.align import Matrix, align, from_photo, map_points
from mien.anonymizer.blend import radius_within, window_of
from mien.anonymizer.verify import find_again
from mien.evaluation.judges.face_judges import FaceJudge
from mien.evaluation.look.measure_look import LookEvaluators, measure_look
from mien.evaluation.measurements import Columns
from mien.evaluation.quality.changes import outside_difference, seam
from mien.evaluation.quality.texture import texture_features
from mien.models.bundle import Detector
from mien.models.features.age_gender import AgeGender
from mien.models.features.attribute_network import AttributeJudge
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.features.inception import Inception
from mien.models.recognition.dlib_judge import Judge, find_landmarks
from mien.models.recognition.shape_predictor import ShapePredictor
from mien.types import Crop, Face, Floats, Pixels
from mien.util.image_tensors import to_tensor

FEATURES_SIZE = 224
REGION = 1.15  # of a face's radius: JPEG's blocks extend beyond what was changed


@dataclass(frozen=True)
class Evaluators:
    """Networks that faces are measured with.

    The pipeline uses some of them too: `detector` (YuNet) finds its faces, `landmarks` (dlib) is its gate, and judges
    may be in its loss (SFace, ArcFace). The others took no part in anonymizing.

    Attributes:
        judges: recognizers. detector: finds the originals' faces. second: another detector, CenterFace.
        attributes: tells CelebA's 40 attributes. features: ImageNet's, for the distances between sets.
        landmarks: dlib's five points, from which age and gender are cut out. contours: dlib's 68 points.
        look: sees what people see of a face. inception: the network that FID is defined by, where the user has
            imported it.
    """

    judges: list[FaceJudge]
    detector: Detector
    second: Detector
    attributes: AttributeJudge
    features: EfficientNetLite0
    landmarks: Judge
    contours: ShapePredictor
    age_gender: AgeGender
    look: LookEvaluators
    inception: Inception | None = None


def largest_face(detector: Detector, photo: Pixels) -> Face | None:
    """The largest face of a photo [H, W, 3]; None where the detector finds none."""
    return next(iter(faces_by_size(detector, photo)), None)


def faces_by_size(detector: Detector, photo: Pixels) -> list[Face]:
    """All faces of a photo [H, W, 3], the largest first."""
    return sorted(detector.detect(photo), key=lambda face: face.area, reverse=True)


def measure_face(evaluators: Evaluators, photo: Pixels, face: Face, original: Pixels,
                 others: Sequence[Face] = ()) -> Columns:
    """Measures the face of a photo [H, W, 3] uint8 RGB that is where the original photo has one.

    Args:
        face: the face in the original photo. original: of the same size; to measure the original, the photo itself.
        others: further faces of the original, which may have been changed too.

    Returns:
        found, found_second: 0 or 1. points: [5, 2] from the crop's middle in units of the original's eye distance, NaN
        where the face is not found; points68: [68, 2] likewise. attributes: [40] logits. age: years. man: probability.
        features: [1280]; inception: [2048], where it was imported; texture: [352]. outside, seam: see
        `quality.changes`. vector_NAME: [D] of each judge NAME; NaN where it cannot judge. Those of `measure_look`.
    """
    (found,), (second,) = (find_again(one, photo, [face]) for one in (evaluators.detector, evaluators.second))
    now = found or face  # a face that is not found is measured where the original's is
    crop = align(photo, face)
    to_crop = from_photo(crop.quad, 1)
    eyes = map_points(to_crop, face.points)
    unit = float(np.linalg.norm(eyes[0] - eyes[1]))
    age, man = _age_and_gender(evaluators, photo, now)
    measured: dict[str, npt.ArrayLike] = {
        "found": found is not None,
        "found_second": second is not None,
        "points": map_points(to_crop, found.points) / unit if found else np.full((5, 2), np.nan, np.float32),
        "points68": _contours(evaluators, photo, found, to_crop) / unit,
        "age": age,
        "man": man,
        "outside": outside_difference(
            original, photo, _regions([crop, *(align(original, one) for one in others)], photo.shape)),
        "seam": seam(original, photo),
    }
    for judge in evaluators.judges:
        measured[f"vector_{judge.name}"] = _vector(judge, photo, now)
    with torch.inference_mode():
        picture = to_tensor(crop.pixels)
        pooled = evaluators.attributes.pooled(picture)
        measured |= _network_outputs(evaluators, picture, pooled)
        measured |= measure_look(evaluators.look, photo, now, crop, pooled)
    return {name: np.asarray(value, np.float32) for name, value in measured.items()}


def _network_outputs(evaluators: Evaluators, picture: Tensor, pooled: Tensor) -> dict[str, npt.ArrayLike]:
    """Attributes and features of an aligned face [1, 3, 256, 256] in -1..1; pooled: the attribute judge's of it."""
    small = F.interpolate(picture, size=(FEATURES_SIZE, FEATURES_SIZE), mode="area")
    outputs = {"attributes": evaluators.attributes.classify(pooled)[0],
               "features": evaluators.features.head(small).mean(dim=(2, 3))[0],
               "texture": texture_features(evaluators.features, picture)}
    if evaluators.inception is not None:
        outputs["inception"] = evaluators.inception(picture)[0]
    return {name: output.numpy() for name, output in outputs.items()}


def _contours(evaluators: Evaluators, photo: Pixels, found: Face | None, to_crop: Matrix) -> Floats:
    if found is None:
        return np.full((68, 2), np.nan, np.float32)
    try:
        return map_points(to_crop, find_landmarks(evaluators.contours, photo, found.points).astype(np.float32))
    except ValueError:  # points that no face can have
        return np.full((68, 2), np.nan, np.float32)


def _age_and_gender(evaluators: Evaluators, photo: Pixels, face: Face) -> tuple[float, float]:
    try:
        return evaluators.age_gender.tell(photo, evaluators.landmarks.landmarks(photo, face.points))
    except ValueError:  # points that no face can have
        return float("nan"), float("nan")


def _vector(judge: FaceJudge, photo: Pixels, face: Face) -> Floats:
    try:
        return judge.embed(photo, face)
    except ValueError:
        return np.full(1, np.nan, np.float32)  # broadcast when it is put beside the others


def _regions(crops: Sequence[Crop], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """[H, W], true for the faces from forehead to chin, which a method may change, and a little around them."""
    area = np.zeros(shape[:2], bool)
    for crop in crops:
        window = window_of(crop, shape)
        if window is not None:
            area[window] |= radius_within(crop, *window) < REGION
    return area
