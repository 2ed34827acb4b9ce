"""The port against TensorFlow Lite; tests/reference/make_mediapipe.py made the numbers."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mien.errors import ModelError
from mien.models.features.iris import CONTOUR, IRIS, LEFT_EYE, RIGHT_EYE, SIZE, Iris, convert_iris
from mien.types import Floats, Pixels

REFERENCE = Path(__file__).parents[2] / "reference"
EXPECTED = np.load(REFERENCE / "mediapipe.npz")
INPUTS = runpy.run_path(str(REFERENCE / "make_mediapipe.py"))["inputs"]
MESH = EXPECTED["astronaut"]
EYES = (110, 290)  # x of the drawn eyes


@pytest.fixture(scope="module")
def network(weights: Callable[[str], Path]) -> Iris:
    return Iris.from_file(weights("iris"))


@pytest.fixture(scope="module")
def photo(weights: Callable[[str], Path]) -> Pixels:
    with Image.open(weights("astronaut")) as image:
        return np.array(image.convert("RGB"))


def test_answers_are_tensorflow_lite_s(network: Iris) -> None:
    contour, iris = network(torch.from_numpy(INPUTS(SIZE)).permute(0, 3, 1, 2))
    assert contour.shape == (3, CONTOUR, 3) and iris.shape == (3, IRIS, 3)
    assert np.abs(contour.flatten(1).numpy() - EXPECTED["iris_points"]).max() < 1e-3
    assert np.abs(iris.flatten(1).numpy() - EXPECTED["iris_second"]).max() < 1e-3


def drawn(shift: int) -> tuple[Pixels, Floats]:
    """Two drawn eyes whose irises are `shift` px to the right of the middle, and a mesh with their corners."""
    photo, mesh = np.full((200, 400, 3), (225, 178, 150), np.uint8), np.zeros((468, 3), np.float32)
    for (left, right), x in ((RIGHT_EYE, EYES[0]), (LEFT_EYE, EYES[1])):
        open_part, ball = np.zeros((200, 400), np.uint8), np.full_like(photo, 245)
        cv2.ellipse(open_part, (x, 100), (45, 17), 0, 0, 360, 255, -1)
        cv2.circle(ball, (x + shift, 100), 18, (90, 60, 40), -1)
        cv2.circle(ball, (x + shift, 100), 7, (10, 10, 10), -1)
        photo = np.where(open_part[..., None] > 0, ball, photo)
        cv2.ellipse(photo, (x, 100), (45, 17), 0, 180, 360, (60, 40, 30), 4)
        cv2.ellipse(photo, (x, 60), (50, 10), 0, 180, 360, (60, 40, 30), 6)
        mesh[left], mesh[right] = (x - 45, 100, 0), (x + 45, 100, 0)
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 1.5), np.uint8), mesh


def test_irises_are_found_and_followed(network: Iris) -> None:
    found = {shift: [eye.iris[0] for eye in network.tell(*drawn(shift))] for shift in (-20, 0, 20)}
    for shift, irises in found.items():
        for iris, x in zip(irises, EYES, strict=True):
            assert abs(iris[0] - x - shift) < 15 and abs(iris[1] - 100) < 8  # of eyes 90 px wide
    assert all(found[20][i][0] - found[-20][i][0] > 25 for i in (0, 1))


def test_contours_end_at_the_mesh_s_corners(network: Iris, photo: Pixels) -> None:
    for eye, (outer, inner) in zip(network.tell(photo, MESH), ((33, 133), (263, 362)), strict=True):
        width = np.linalg.norm(MESH[outer] - MESH[inner])
        assert np.linalg.norm(eye.contour[0, :2] - MESH[outer, :2]) < 0.25 * width
        assert np.linalg.norm(eye.contour[8, :2] - MESH[inner, :2]) < 0.25 * width
        assert eye.contour[12, 1] < eye.iris[0, 1] < eye.contour[4, 1]  # between the lids


def test_a_mirrored_photograph_exchanges_the_eyes(network: Iris, photo: Pixels) -> None:
    last = photo.shape[1] - 1
    mirrored = MESH.copy()
    mirrored[:, 0] = last - MESH[:, 0]
    mirrored[[33, 133, 263, 362]] = mirrored[[263, 362, 33, 133]]
    plain, other = network.tell(photo, MESH), network.tell(np.ascontiguousarray(photo[:, ::-1]), mirrored)
    for eye, back in zip(plain, other[::-1], strict=True):
        expected = eye.iris[:, :2].copy()
        expected[:, 0] = last - expected[:, 0]
        assert np.abs(back.iris[:, :2] - expected).max() < 0.5


def test_corners_in_one_place_are_refused(network: Iris, photo: Pixels) -> None:
    with pytest.raises(ValueError, match="one place"):
        network.tell(photo, np.zeros_like(MESH))


def test_other_shapes_and_files_are_refused(network: Iris, weights: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="iris network takes"):
        network(torch.zeros(1, 3, 192, 192))
    with pytest.raises(ModelError, match="iris"):
        Iris.from_file(weights("face_mesh"))
    (tmp_path / "iris_landmark.tflite").write_bytes(b"")
    with pytest.raises(ModelError, match="TFLite"):
        convert_iris(tmp_path / "iris_landmark.tflite")
