from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agreement import assert_same

from mien.models.s3fd import LEVELS, S3FD

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
