from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.drawn_faces import POINTS, drawn_face, drawn_photo
from mien.errors import ModelError, PhotoError
from mien.models.detection.yunet import YuNet, choose, rotate_back
from mien.types import Face

Weights = Callable[[str], Path]


@pytest.fixture(scope="module")
def yunet(weights: Weights) -> YuNet:
    return YuNet(weights("yunet"))


def row(x: float, y: float, width: float, height: float, score: float = 0.9) -> list[float]:
    points = POINTS / 200 * (width, height) + (x, y)
    return [x, y, width, height, *points.ravel(), score]


def assert_points(face: Face, expected: np.ndarray, size: float) -> None:
    assert np.abs(face.points - expected).max() < 0.09 * size


@pytest.mark.parametrize("size", [32, 64, 128, 200, 400, 900])
def test_one_face_whatever_the_size(yunet: YuNet, size: int) -> None:
    faces = yunet.detect(drawn_face(size))
    assert len(faces) == 1
    assert_points(faces[0], POINTS * size / 200, size)
    assert 0.6 <= faces[0].score <= 1
    assert faces[0].points.dtype == np.float32


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size", [90, 200, 400])
def test_a_turned_face_keeps_its_own_points(yunet: YuNet, turns: int, size: int) -> None:
    photo = np.pad(drawn_face(size), ((0, 40), (0, 10), (0, 0)), mode="edge")
    (face,) = yunet.detect(np.ascontiguousarray(np.rot90(photo, turns)))
    expected = POINTS * size / 200
    height, width = photo.shape[:2]
    for _ in range(turns):
        expected = np.stack([expected[:, 1], width - 1 - expected[:, 0]], axis=1)
        height, width = width, height
    assert_points(face, expected, size)
    x, y, across, down = face.box
    assert (expected >= (x, y)).all()
    assert (expected <= (x + across, y + down)).all()
    assert face.is_rotated


def test_upright_faces_are_found_the_same_without_turning_the_photo(yunet: YuNet) -> None:
    for size in (64, 200, 900):
        (face,) = yunet.detect(drawn_face(size), lying=False)
        (whole,) = yunet.detect(drawn_face(size))
        assert face.box == whole.box and face.score == whole.score and not face.is_rotated
        np.testing.assert_array_equal(face.points, whole.points)
    faces = yunet.detect(np.ascontiguousarray(np.rot90(drawn_face(200), 2)), lying=False)
    assert not any(face.is_rotated for face in faces)


def test_large_and_small_faces_of_one_big_photo(yunet: YuNet) -> None:
    photo = np.full((1700, 2600, 3), 90, np.uint8)
    places = {40: (100, 200), 60: (1000, 1250), 1200: (300, 1350)}
    for size, (top, left) in places.items():
        photo[top : top + size, left : left + size] = drawn_face(size)
    faces = sorted(yunet.detect(photo), key=lambda face: face.box[2])
    assert len(faces) == 3
    for face, (size, (top, left)) in zip(faces, places.items(), strict=True):
        assert_points(face, POINTS * size / 200 + (left, top), size)


def test_a_small_face_is_found_wherever_the_tiles_end(yunet: YuNet) -> None:
    photo = np.full((200, 2600, 3), 90, np.uint8)
    for left in (1180, 1230, 1280, 1330, 1380):
        photo[:] = 90
        photo[80:130, left : left + 50] = drawn_face(50)
        (face,) = yunet.detect(photo)
        assert_points(face, POINTS / 4 + (left, 80), 50)


@pytest.mark.parametrize("cut", ["left", "right", "top", "bottom"])
def test_a_face_half_outside_is_found(yunet: YuNet, cut: str) -> None:
    whole = np.pad(drawn_face(200), ((60, 60), (60, 60), (0, 0)), mode="edge")
    part = {"left": whole[:, 150:], "right": whole[:, :170], "top": whole[145:], "bottom": whole[:185]}[cut]
    assert yunet.detect(np.ascontiguousarray(part))


def test_equal_photos_give_equal_lists_surest_first(yunet: YuNet) -> None:
    first, second = yunet.detect(drawn_photo()), yunet.detect(drawn_photo())
    assert len(first) == 4
    assert [face.score for face in first] == sorted((face.score for face in first), reverse=True)
    for a, b in zip(first, second, strict=True):
        assert (a.box, a.score) == (b.box, b.score)
        np.testing.assert_array_equal(a.points, b.points)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 7), (33, 17), (31, 1001)])
def test_odd_sizes_without_a_face(yunet: YuNet, shape: tuple[int, int]) -> None:
    assert yunet.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_views_into_other_arrays_are_taken(yunet: YuNet) -> None:
    photo = drawn_face(200)
    mirrored = yunet.detect(photo[:, ::-1])
    assert len(mirrored) == len(yunet.detect(np.asfortranarray(photo))) == 1


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_photo_is_refused(yunet: YuNet, photo: np.ndarray) -> None:
    with pytest.raises(PhotoError):
        yunet.detect(photo)


def test_a_higher_threshold_finds_less(weights: Weights) -> None:
    assert YuNet(weights("yunet"), score_threshold=0.99).detect(drawn_face()) == []


def test_a_file_that_is_no_network_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "empty.onnx").touch()
    for name in ("noise", "empty", "absent"):
        with pytest.raises(ModelError, match=name):
            YuNet(tmp_path / f"{name}.onnx")
    capfd.readouterr()


def test_loading_is_silent(weights: Weights, capfd: pytest.CaptureFixture[str]) -> None:
    YuNet(weights("yunet"))
    assert capfd.readouterr() == ("", "")


def test_a_surer_turned_finding_takes_the_place_of_the_same_face() -> None:
    upright, turned = np.array([row(0, 0, 100, 100, 0.8)]), np.array([row(10, 0, 100, 90, 0.9)])
    np.testing.assert_array_equal(choose(upright, turned), turned)


def test_a_less_sure_turned_finding_does_not_count_on_a_face() -> None:
    upright, turned = np.array([row(0, 0, 100, 100, 0.9)]), np.array([row(30, 30, 40, 40, 0.8)])
    np.testing.assert_array_equal(choose(upright, turned), upright)


def test_a_surer_turned_finding_never_hides_another_face() -> None:
    upright = np.array([row(0, 0, 300, 300, 0.7), row(400, 0, 30, 30, 0.65)])
    turned = np.array([row(100, 100, 50, 50, 0.95), row(350, 0, 300, 300, 0.95)])
    assert len(choose(upright, turned)) == 4


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turning_back_undoes_turning(turns: int) -> None:
    height, width = 30, 50
    image = np.zeros((height, width), np.uint8)
    image[7, 41] = 255
    y, x = (int(v) for v in np.argwhere(np.rot90(image, turns))[0])
    found = np.array([[x - 2.0, y - 1.0, 4.0, 2.0, *([x, y] * 5), 0.9]])
    back = rotate_back(found, turns, width, height)[0]
    np.testing.assert_array_equal(back[4:14], [41, 7] * 5)
    across, down = (4, 2) if turns % 2 == 0 else (2, 4)
    np.testing.assert_array_equal(back[:4], [41 - across / 2, 7 - down / 2, across, down])
