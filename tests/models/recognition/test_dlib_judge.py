from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mien.models.recognition.dlib_judge import Judge, find_landmarks
from mien.models.recognition.dlib_resnet import DlibResNet
from mien.models.recognition.shape_predictor import ShapePredictor
from mien.types import Floats, Pixels

# Eye, eye, nose and mouth corners of the astronaut, as YuNet gives them.
POINTS = np.array(
    [[(200.1, 101.8), (247.2, 102.6), (220.3, 124.7), (198.9, 143.2), (239.8, 143.9)]], dtype=np.float32
)


@pytest.fixture(scope="module")
def judge(weights: Callable[[str], Path]) -> Judge:
    predictor = ShapePredictor.from_file(weights("shape_predictor"))
    return Judge(DlibResNet.from_file(weights("dlib_resnet")), predictor)


@pytest.fixture(scope="module")
def photo(weights: Callable[[str], Path]) -> Pixels:
    with Image.open(weights("astronaut")) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(scope="module")
def embedding(judge: Judge, photo: Pixels) -> Floats:
    return judge.embed(photo, POINTS)


def turned(photo: Pixels, degrees: float, scale: float) -> tuple[Pixels, Floats]:
    """The photo and its points, turned and scaled so that the face is in the middle of the result."""
    side = int(300 * scale)
    matrix = cv2.getRotationMatrix2D((220.0, 120.0), degrees, scale)
    matrix[:, 2] += (side / 2 - 220, side / 2 - 120)
    moved = cv2.warpAffine(photo, matrix, (side, side), flags=cv2.INTER_AREA)
    return np.asarray(moved, np.uint8), (POINTS @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def test_landmarks_lie_where_they_should(judge: Judge, photo: Pixels) -> None:
    outer_right, inner_right, outer_left, inner_left, nose = judge.landmarks(photo, POINTS[0])
    left, right, tip = POINTS[0, :3]
    np.testing.assert_allclose((outer_left + inner_left) / 2, left, atol=4)
    np.testing.assert_allclose((outer_right + inner_right) / 2, right, atol=4)
    assert outer_left[0] < inner_left[0] < nose[0] < inner_right[0] < outer_right[0]
    assert 0 < nose[1] - tip[1] < 15


def test_sixty_eight_points_lie_where_they_should(weights: Callable[[str], Path], photo: Pixels) -> None:
    """In 300-W's order: 36 to 41 and 42 to 47 are the eyes, 30 the tip of the nose, 48 and 54 the mouth's corners."""
    found = find_landmarks(ShapePredictor.from_file(weights("shape_predictor_68")), photo, POINTS[0])
    assert found.shape == (68, 2)
    left, right, tip, mouth_left, mouth_right = POINTS[0]
    for points, wanted in ((found[36:42].mean(0), left), (found[42:48].mean(0), right), (found[30], tip),
                           (found[48], mouth_left), (found[54], mouth_right)):
        assert np.linalg.norm(points - wanted) < 0.2 * np.linalg.norm(right - left)


def test_embeds_as_float32(embedding: Floats) -> None:
    assert embedding.shape == (1, 128)
    assert embedding.dtype == np.float32


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo_is_the_same_face(
    judge: Judge, photo: Pixels, embedding: Floats, quarters: int
) -> None:
    middle = (511 / 2) * (1 + 1j)
    z = ((POINTS @ np.array([1, 1j])) - middle) * (-1j) ** quarters + middle
    points = np.stack([z.real, z.imag], axis=-1)
    found = judge.embed(np.rot90(photo, quarters), points)
    assert judge.distance(found, embedding)[0] < 0.1


@pytest.mark.parametrize(
    ("degrees", "scale"), [(0, 1), (30, 1), (-60, 1), (180, 1), (0, 0.5), (135, 0.5), (0, 4), (20, 8)]
)
def test_an_oblique_small_or_large_face_is_the_same(
    judge: Judge, photo: Pixels, embedding: Floats, degrees: float, scale: float
) -> None:
    found = judge.embed(*turned(photo, degrees, scale))
    assert judge.distance(found, embedding)[0] < 0.25


def test_points_need_not_be_exact(judge: Judge, photo: Pixels, embedding: Floats) -> None:
    jitter = np.random.RandomState(0).randn(4, 5, 2)
    assert judge.distance(judge.embed(photo, POINTS + jitter), embedding).max() < 0.2


def test_another_picture_is_not_the_same(judge: Judge, photo: Pixels, embedding: Floats) -> None:
    mouthless = photo.copy()
    mouthless[85:160, 185:260] = mouthless[85:160, 185:260][::-1]
    assert judge.distance(judge.embed(mouthless, POINTS), embedding)[0] > 0.6  # dlib's limit for one person


def test_other_faces_change_nothing(judge: Judge, photo: Pixels, embedding: Floats) -> None:
    together = judge.embed(photo, np.concatenate([POINTS + 40, POINTS, POINTS * 0.5]))
    np.testing.assert_array_equal(together[1:2], embedding)


def test_no_faces(judge: Judge, photo: Pixels) -> None:
    assert judge.embed(photo, np.zeros((0, 5, 2), np.float32)).shape == (0, 128)


def test_a_face_over_the_edge_of_a_tiny_photo(judge: Judge) -> None:
    found = judge.embed(np.full((12, 9, 3), 90, np.uint8), POINTS)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("points", [np.full((1, 5, 2), np.nan), np.full((1, 5, 2), 3.0)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_points_that_no_face_can_have(judge: Judge, photo: Pixels, points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="points"):
        judge.embed(photo, points)


def test_shapes_are_checked(judge: Judge, photo: Pixels) -> None:
    with pytest.raises(ValueError, match=r"\[N, 5, 2\]"):
        judge.embed(photo, POINTS[0])
    for wrong in (photo[..., 0], photo.astype(np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            judge.embed(wrong, POINTS)


def test_distance() -> None:
    a, b = np.zeros((3, 128), np.float32), np.zeros((1, 128), np.float32)
    a[:, 0], b[0, 1] = (3, 0, 8), 4
    np.testing.assert_allclose(Judge.distance(a, b), (5, 4, 80**0.5))
    with pytest.raises(ValueError, match="finite"):
        Judge.distance(a, np.full(128, np.nan, np.float32))
