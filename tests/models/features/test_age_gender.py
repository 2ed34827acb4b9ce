from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import ModelError
from mien.models.features.age_gender import AGE_SIZE, AGES, GENDER_SIZE, PADDING, AgeGender
from mien.models.recognition.face_chip import face_chip
from mien.types import Pixels

REFERENCE = np.load(Path(__file__).parents[2] / "reference" / "age_gender.npz")


@pytest.fixture(scope="module")
def network(weights: Callable[[str], Path]) -> AgeGender:
    return AgeGender(weights("age"), weights("gender"))


@pytest.fixture(scope="module")
def photo(weights: Callable[[str], Path]) -> Pixels:
    with Image.open(weights("astronaut")) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize(("size", "name"), [(AGE_SIZE, "age_chip"), (GENDER_SIZE, "gender_chip")])
def test_chips_are_dlib_s(photo: Pixels, size: int, name: str) -> None:
    chip = face_chip(photo, REFERENCE["landmarks"].astype(float), size, PADDING)
    assert np.abs(chip.astype(int) - REFERENCE[name]).max() <= 1


def test_answers_are_the_published_ones(network: AgeGender, photo: Pixels) -> None:
    age, man = network.tell(photo, REFERENCE["landmarks"].astype(float))
    assert age == pytest.approx(float(REFERENCE["age"] @ AGES), abs=0.05)
    assert man == pytest.approx(float(REFERENCE["gender"][1]), abs=1e-3)
    assert 25 < age < 45 and man < 0.5  # Eileen Collins at 35


def test_points_in_one_place_are_refused(network: AgeGender, photo: Pixels) -> None:
    with pytest.raises(ValueError, match="one place"):
        network.tell(photo, np.full((5, 2), 7.0))


def test_other_files_are_refused(weights: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "age.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="age judge"):
        AgeGender(tmp_path / "age.onnx", weights("gender"))
    with pytest.raises(ModelError, match="gender judge"):
        AgeGender(weights("age"), tmp_path / "missing.onnx")
