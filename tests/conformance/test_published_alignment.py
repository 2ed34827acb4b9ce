from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mien.anonymizer.align import crop_quad
from mien.anonymizer.align_ffhq import align_as_published, shrinking, side_of
from mien.models.detection.s3fd_fan import five_points
from mien.types import Face

CASES = ["frontal", "rotated", "border_pad", "large_shrink2", "too_small"]


@pytest.fixture(scope="module")
def photo(fill: Any) -> Any:
    return fill.formula_image(1024, 1024, 4)


@pytest.mark.parametrize("name", CASES)
def test_the_square_of_68_points(vectors: Any, name: str) -> None:
    reference = vectors("alignment")
    quad = crop_quad(five_points(reference[f"lm_{name}"]))
    assert np.abs(quad - reference[f"quad_{name}"]).max() < 2e-4  # the reference's points are float32
    assert side_of(quad) == pytest.approx(float(reference[f"qsize_{name}"]), abs=2e-4)
    assert shrinking(quad) == reference[f"shrink_{name}"]
    assert (shrinking(quad) >= 1) == reference[f"accepted_{name}"]


@pytest.mark.parametrize("name", CASES)
def test_the_picture_to_a_gray_level(vectors: Any, photo: Any, name: str) -> None:
    reference = vectors("alignment")
    face = Face((0, 0, 100, 100), five_points(reference[f"lm_{name}"]), 0.9)
    crop = align_as_published(photo, face)
    differences = np.abs(crop.pixels.astype(int) - reference[f"aligned_{name}"].astype(int)).max(axis=2)
    assert differences.max() <= 1 and (differences > 0).mean() <= 0.01
    assert np.abs(crop.quad - 0.5 - reference[f"quad_{name}"]).max() < 2e-4
