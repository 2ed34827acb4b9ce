"""The port against TensorFlow Lite, and whole against mediapipe; tests/reference/make_mediapipe.py made the numbers."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_faces import POINTS as DRAWN
from helpers.drawn_faces import drawn_face
from mien.errors import ModelError
from mien.models.detection.yunet import YuNet
from mien.models.features.face_mesh import POINTS, SIZE, FaceMesh, convert_face_mesh
from mien.types import Face, Pixels

REFERENCE = Path(__file__).parents[2] / "reference"
EXPECTED = np.load(REFERENCE / "mediapipe.npz")
INPUTS = runpy.run_path(str(REFERENCE / "make_mediapipe.py"))["inputs"]
# Points on the midline and at the sides: tip of the nose, chin, forehead, cheeks.
NOSE, CHIN, FOREHEAD, CHEEKS = 1, 152, 10, (234, 454)


@pytest.fixture(scope="module")
def network(weights: Callable[[str], Path]) -> FaceMesh:
    return FaceMesh.from_file(weights("face_mesh"))


@pytest.fixture(scope="module")
def photo(weights: Callable[[str], Path]) -> Pixels:
    with Image.open(weights("astronaut")) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(scope="module")
def face(weights: Callable[[str], Path], photo: Pixels) -> Face:
    return YuNet(weights("yunet"), score_threshold=0.6).detect(photo)[0]


def test_answers_are_tensorflow_lite_s(network: FaceMesh) -> None:
    points, presence = network(torch.from_numpy(INPUTS(SIZE)).permute(0, 3, 1, 2))
    assert points.shape == (3, POINTS, 3) and presence.shape == (3,)
    assert np.abs(points.flatten(1).numpy() - EXPECTED["face_mesh_points"]).max() < 1e-3
    logits = torch.from_numpy(EXPECTED["face_mesh_second"][:, 0])
    torch.testing.assert_close(presence, torch.sigmoid(logits), atol=1e-6, rtol=1e-3)


def test_the_mesh_of_a_photograph_is_mediapipe_s(network: FaceMesh, photo: Pixels, face: Face) -> None:
    """Detectors and passes differ, so the region does a little: 1 to 2 percent of the distance of the eyes."""
    mesh, expected = network.tell(photo, face), EXPECTED["astronaut"]
    eyes = np.linalg.norm(expected[33] - expected[263])
    away = np.linalg.norm((mesh - expected)[:, :2], axis=1) / eyes
    assert away.mean() < 0.025 and away.max() < 0.06
    assert np.abs((mesh - expected)[:, 2]).mean() / eyes < 0.02


def test_the_mesh_turns_with_the_photograph(network: FaceMesh, photo: Pixels, face: Face) -> None:
    mesh = network.tell(photo, face)
    turned = np.ascontiguousarray(np.rot90(photo))  # counterclockwise: (x, y) goes to (y, width - 1 - x)
    x, y, width, height = face.box
    last = photo.shape[1] - 1
    lying = Face((y, last - x - width, height, width), np.stack([face.points[:, 1], last - face.points[:, 0]], 1), 1.0)
    expected = np.stack([mesh[:, 1], last - mesh[:, 0]], axis=1)
    eyes = np.linalg.norm(mesh[33] - mesh[263])
    assert np.linalg.norm(network.tell(turned, lying)[:, :2] - expected, axis=1).mean() / eyes < 0.02


def test_the_nose_is_in_front(network: FaceMesh, photo: Pixels, face: Face) -> None:
    mesh = network.tell(photo, face)
    assert mesh[NOSE, 2] < mesh[[CHIN, FOREHEAD, *CHEEKS], 2].min()
    assert mesh[FOREHEAD, 1] < mesh[NOSE, 1] < mesh[CHIN, 1]


def test_a_drawing_of_a_face_will_do_and_plain_ground_will_not(network: FaceMesh) -> None:
    face = Face((45.0, 40.0, 110.0, 140.0), DRAWN.astype(np.float32), 1.0)
    mesh = network.tell(drawn_face(), face)
    assert np.linalg.norm(mesh[[33, 133], :2].mean(axis=0) - DRAWN[0]) < 12
    with pytest.raises(ValueError, match="sees no face"):
        network.tell(np.full((200, 200, 3), 128, np.uint8), face)


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
def test_points_that_are_no_face_s_are_refused(network: FaceMesh, photo: Pixels, points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="in one place, or are not finite"):
        network.tell(photo, Face((10.0, 10.0, 50.0, 50.0), points.astype(np.float32), 1.0))


def test_other_shapes_and_files_are_refused(network: FaceMesh, weights: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="face mesh takes"):
        network(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ModelError, match="face mesh"):
        FaceMesh.from_file(weights("iris"))
    (tmp_path / "face_landmark.tflite").write_bytes(b"no network")
    with pytest.raises(ModelError, match="TFLite"):
        convert_face_mesh(tmp_path / "face_landmark.tflite")
