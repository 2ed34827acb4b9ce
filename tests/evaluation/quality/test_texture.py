"""What the texture of a face is described by, and what changes it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from helpers import fake_run
from mien.evaluation.quality.texture import TAPS, TEXTURES, texture_features
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.types import Pixels
from mien.util.image_tensors import to_tensor


@pytest.fixture(scope="module")
def network(weights: Callable[[str], Path]) -> EfficientNetLite0:
    return EfficientNetLite0.from_file(weights("efficientnet_lite0"))


@pytest.fixture(scope="module")
def portrait(weights: Callable[[str], Path]) -> Pixels:
    return fake_run.portraits(MobileStyleGAN.from_file(weights("mobilestylegan")), [11])[0]


def features(network: EfficientNetLite0, picture: Pixels) -> torch.Tensor:
    return texture_features(network, to_tensor(picture))


def test_they_are_moments_within_the_face(network: EfficientNetLite0, portrait: Pixels) -> None:
    found = features(network, portrait)
    assert found.shape == (TEXTURES,) and found.isfinite().all()
    gray = np.repeat(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    first = network(to_tensor(gray), TAPS)[0][0]  # [24, 64, 64]
    middle = first[:, 20:50, 22:42].flatten(1)  # all on the face
    assert torch.nn.functional.cosine_similarity(found[:24], middle.mean(dim=1), dim=0) > 0.9
    assert torch.nn.functional.cosine_similarity(found[24:48], middle.std(dim=1), dim=0) > 0.9


def test_what_is_far_from_the_face_does_not_count(network: EfficientNetLite0, portrait: Pixels) -> None:
    """Blur of the corners changes what has seen them: as little as the network's view reaches."""
    corners, face = portrait.copy(), portrait.copy()
    soft = cv2.GaussianBlur(portrait, (0, 0), 1.0)
    corners[:20], corners[:, :20], corners[:, -20:] = soft[:20], soft[:, :20], soft[:, -20:]
    face[90:220, 70:190] = soft[90:220, 70:190]
    before = features(network, portrait)
    outer, inner = ((features(network, one) - before).norm() for one in (corners, face))
    assert 4 * outer < inner


def test_faint_blur_changes_them_more_than_saving_anew(network: EfficientNetLite0, portrait: Pixels) -> None:
    before, saved = features(network, portrait), io.BytesIO()
    Image.fromarray(portrait).save(saved, "JPEG", quality=90)  # halves the resolution of colors too
    blurred = cv2.GaussianBlur(portrait, (0, 0), 0.7)
    anew, soft = ((features(network, one) - before).norm()
                  for one in (np.array(Image.open(saved)), np.asarray(blurred, np.uint8)))
    assert 2 * anew < soft


def test_colors_do_not_count(network: EfficientNetLite0, portrait: Pixels) -> None:
    """A file of half the colors' resolution is no changed face."""
    planes = cv2.cvtColor(portrait, cv2.COLOR_RGB2YCrCb)
    planes[..., 1:] = 128  # as gray as it was light
    faded = cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)
    before = features(network, portrait)
    assert (features(network, np.asarray(faded)) - before).norm() < 0.05 * before.norm()


def test_another_shape_is_refused(network: EfficientNetLite0) -> None:
    with pytest.raises(ValueError, match=r"\[1, 3, 256, 256\]"):
        texture_features(network, torch.zeros(2, 3, 256, 256))
