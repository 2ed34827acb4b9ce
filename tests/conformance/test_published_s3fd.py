from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from helpers.agreement import assert_same
from mien.models.detection.fan import FAN
from mien.models.detection.s3fd import LEVELS, S3FD
from mien.models.detection.s3fd_fan import LandmarkDetector, five_points

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector(filled: Any) -> S3FD:
    network = S3FD()
    network.load_state_dict(filled("s3fd"))
    return network


@pytest.fixture(scope="module")
def picture(fill: Any) -> torch.Tensor:
    return torch.from_numpy(fill.formula_image(192, 256, 1).astype(np.float32)).permute(2, 0, 1)[None]


@torch.inference_mode()
def test_raw_outputs(detector: S3FD, picture: torch.Tensor, vectors: Any) -> None:
    reference = vectors("s3fd")
    for level, (scores, offsets) in zip(LEVELS, detector(picture), strict=True):
        name = level.removesuffix("_norm")
        assert_same(scores, reference[f"raw_{name}_cls"].reshape(scores.shape))
        assert_same(offsets, reference[f"raw_{name}_reg"].reshape(offsets.shape))


def test_boxes(detector: S3FD, picture: torch.Tensor, vectors: Any) -> None:
    reference = vectors("s3fd")
    candidates = detector.candidates(picture)
    assert candidates.shape == reference["decoded_all"].shape
    assert np.abs(candidates.numpy() - reference["decoded_all"]).max() < 1e-3
    boxes = detector.detect(picture)
    assert boxes.shape == reference["boxes_after_nms_and_threshold"].shape
    assert np.abs(boxes.numpy() - reference["boxes_after_nms_and_threshold"]).max() < 1e-3


def test_boxes_with_the_channels_means_subtracted(detector: S3FD, picture: torch.Tensor, vectors: Any) -> None:
    means = torch.tensor([104.0, 117.0, 123.0])[:, None, None]
    boxes = detector.detect(picture - means)[:50]
    reference = vectors("s3fd")["detect_from_image_boxes"]
    assert boxes.shape == reference.shape
    assert np.abs(boxes.numpy() - reference).max() < 1e-3


def test_the_faces_of_a_photo_are_these_boxes_with_the_landmarks_of_fan(
    detector: S3FD, filled: Any, fill: Any, vectors: Any
) -> None:
    landmarks = FAN()
    landmarks.load_state_dict(filled("fan4_2d"))
    photo, reference = fill.formula_image(192, 256, 1), vectors("s3fd")["boxes_after_nms_and_threshold"]
    threshold = float(reference[3:5, 4].mean())  # four boxes score higher
    faces = LandmarkDetector(detector, landmarks, threshold).detect(photo)
    boxes = np.array([face.box for face in faces])
    boxes[:, 2:] += boxes[:, :2]
    kept = [row for row in reference[:4] if inside(row, photo.shape)]
    assert len(kept) == len(faces) >= 2
    assert np.abs(boxes - np.array(kept)[:, :4]).max() < 1e-3
    picture = torch.from_numpy(photo).permute(2, 0, 1)
    for face, row in zip(faces, kept, strict=True):
        points = landmarks.landmarks(picture, torch.from_numpy(row[None, :4]))[0].numpy()
        assert np.abs(face.points - five_points(points)).max() <= 1  # the boxes differ in the last digits
        assert face.score == pytest.approx(row[4], abs=1e-5)


def inside(box: Any, shape: tuple[int, ...]) -> bool:
    """Tells whether at least 30 % of a box is inside the photo."""
    low, high = np.clip(box[:2], 0, shape[1::-1]), np.clip(box[2:4], 0, shape[1::-1])
    return bool(np.prod(high - low) >= 0.3 * np.prod(box[2:4] - box[:2]))
