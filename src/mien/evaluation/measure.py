"""What every figure is made of: all that the judges see of one face, in the original or in the new photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from mien.anonymizer.align import Matrix, align, from_photo, map_points
from mien.anonymizer.blend import face_radius, radius_within, window_of
from mien.anonymizer.verify import find_again
from mien.evaluation.judges import FaceJudge
from mien.evaluation.quality import outside_difference, seam, sharpness
from mien.models.bundle import Detector
from mien.models.features.age_gender import AgeGender
from mien.models.features.attribute_network import AttributeJudge
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.features.inception import Inception
from mien.models.recognition.dlib_judge import Judge, find_landmarks
from mien.models.recognition.shape_predictor import ShapePredictor
from mien.types import Crop, Face, Floats, Pixels
from mien.util.image_tensors import to_tensor

Numbers = dict[str, npt.NDArray[np.float32]]
FEATURES_SIZE = 224
REGION = 1.15  # of a face's radius: JPEG's blocks reach beyond what was changed


@dataclass(frozen=True)
class Evaluators:
    """Networks that judge, none of which has a part in anonymizing but those that say so.

    Attributes:
        detector: finds the originals' faces. second: another one. features: ImageNet's, for the distances of sets.
        landmarks: dlib's five points, by which age and gender are cut out. contours: dlib's 68 points.
        inception: what FID is defined by, where the user has imported it.
    """

    judges: list[FaceJudge]
    detector: Detector
    second: Detector
    attributes: AttributeJudge
    features: EfficientNetLite0
    landmarks: Judge
    contours: ShapePredictor
    age_gender: AgeGender
    inception: Inception | None = None


def largest(detector: Detector, photo: Pixels) -> Face | None:
    """The face that a photo [H, W, 3] is about; None where the detector finds none."""
    return next(iter(by_size(detector, photo)), None)


def by_size(detector: Detector, photo: Pixels) -> list[Face]:
    """All faces of a photo [H, W, 3], the largest first."""
    return sorted(detector.detect(photo), key=lambda face: face.area, reverse=True)


def observe(instruments: Evaluators, photo: Pixels, face: Face, original: Pixels,
            others: Sequence[Face] = ()) -> Numbers:
    """What is seen of a face [H, W, 3] uint8 RGB in the place where the original photo has it.

    Args:
        face: in the original photo. original: of the same size; the photo itself for the originals' own row. others:
            further faces in it, which may have been changed too.

    Returns:
        found, found_second: 0 or 1. points: [5, 2] in original eye distances from the crop's middle, NaN when not
        found; points68: [68, 2] likewise. attributes: [40] logits. age: years. man: probability. sharpness.
        features: [1280]; inception: [2048], where it is there. outside, seam: see `quality`. Of each judge NAME,
        vector_NAME: [D]; NaN where it cannot judge.
    """
    (found,), (second,) = (find_again(one, photo, [face]) for one in (instruments.detector, instruments.second))
    now = found or face  # who is not found is looked at where the original was
    crop = align(photo, face)
    picture = to_tensor(crop.pixels)
    to_crop = from_photo(crop.quad, 1)
    eyes = map_points(to_crop, face.points)
    unit = float(np.linalg.norm(eyes[0] - eyes[1]))
    side = len(crop.pixels)
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    inner = np.asarray(face_radius(*np.meshgrid(axis, axis), crop.turn) < 1) & crop.inside
    with torch.inference_mode():
        logits = instruments.attributes(picture)[0].numpy()
        small = F.interpolate(picture, size=(FEATURES_SIZE, FEATURES_SIZE), mode="area")
        features = instruments.features.head(small).mean(dim=(2, 3))[0].numpy()
        inception = {} if instruments.inception is None else {"inception": instruments.inception(picture)[0].numpy()}
    age, man = _age_and_gender(instruments, photo, now)
    seen: dict[str, npt.ArrayLike] = {
        "found": found is not None,
        "found_second": second is not None,
        "points": map_points(to_crop, found.points) / unit if found else np.full((5, 2), np.nan, np.float32),
        "points68": _contours(instruments, photo, found, to_crop) / unit,
        "attributes": logits,
        "age": age,
        "man": man,
        "sharpness": sharpness(crop.pixels, inner),
        "features": features,
        "outside": outside_difference(
            original, photo, _regions([crop, *(align(original, one) for one in others)], photo.shape)),
        "seam": seam(original, photo),
        **inception,
    }
    for judge in instruments.judges:
        seen[f"vector_{judge.name}"] = _vector(judge, photo, now)
    return {name: np.asarray(value, np.float32) for name, value in seen.items()}


def _contours(instruments: Evaluators, photo: Pixels, found: Face | None, to_crop: Matrix) -> Floats:
    if found is None:
        return np.full((68, 2), np.nan, np.float32)
    try:
        return map_points(to_crop, find_landmarks(instruments.contours, photo, found.points).astype(np.float32))
    except ValueError:  # points that no face can have
        return np.full((68, 2), np.nan, np.float32)


def _age_and_gender(instruments: Evaluators, photo: Pixels, face: Face) -> tuple[float, float]:
    try:
        return instruments.age_gender.tell(photo, instruments.landmarks.landmarks(photo, face.points))
    except ValueError:  # points that no face can have
        return float("nan"), float("nan")


def _vector(judge: FaceJudge, photo: Pixels, face: Face) -> Floats:
    try:
        return judge.embed(photo, face)
    except ValueError:
        return np.full(1, np.nan, np.float32)  # broadcast when it is put beside the others


def _regions(crops: Sequence[Crop], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """[H, W]: the faces from forehead to chin, which a method may change, and a little more."""
    area = np.zeros(shape[:2], bool)
    for crop in crops:
        window = window_of(crop, shape)
        if window is not None:
            area[window] |= radius_within(crop, *window) < REGION
    return area
