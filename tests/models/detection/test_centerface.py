from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.drawn_faces import drawn_photo
from mien.errors import ModelError, PhotoError
from mien.models.detection.centerface import CenterFace, decode

REFERENCE = Path(__file__).parents[2] / "reference" / "centerface.npz"
Weights = Callable[[str], Path]


def test_equals_the_package_it_comes_from(weights: Weights) -> None:
    reference = np.load(REFERENCE)
    order = np.argsort(-reference["boxes"][:, 4])
    faces = CenterFace(weights("centerface"), score_threshold=0.2).detect(drawn_photo())
    assert len(faces) == len(order) >= 3
    for face, box, points in zip(faces, reference["boxes"][order], reference["points"][order], strict=True):
        x, y, width, height = face.box
        np.testing.assert_allclose([x, y, x + width, y + height], box[:4], atol=0.02)
        np.testing.assert_allclose(face.points.ravel(), points, atol=0.02)
        assert abs(face.score - box[4]) < 1e-4


def test_the_default_threshold_leaves_out_the_unsure(weights: Weights) -> None:
    faces = CenterFace(weights("centerface")).detect(drawn_photo())
    assert faces
    assert all(face.score > 0.5 for face in faces)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (500, 3), (97, 65), (1700, 2000)])
def test_odd_sizes_without_a_face(weights: Weights, shape: tuple[int, int]) -> None:
    assert CenterFace(weights("centerface")).detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_big_photos_are_searched_smaller_and_answered_in_their_own_pixels(weights: Weights) -> None:
    net = CenterFace(weights("centerface"), score_threshold=0.3)
    photo = np.full((1600, 1600, 3), 90, np.uint8)
    photo[200:501, 300:713] = drawn_photo()
    first = net.detect(photo)[0]
    twice = net.detect(photo.repeat(2, 0).repeat(2, 1))[0]
    np.testing.assert_allclose(np.array(twice.box), 2 * np.array(first.box), atol=3)
    np.testing.assert_allclose(twice.points, 2 * first.points, atol=3)


def test_decoding_one_cell() -> None:
    maps = [np.zeros((n, 8, 8)) for n in (1, 2, 2, 10)]
    maps[0][0, 3, 5] = 0.75
    maps[1][:, 3, 5] = np.log([2.5, 1.5])  # cells: 10 px tall, 6 px wide
    maps[2][:, 3, 5] = (0.25, -0.5)
    maps[3][:, 3, 5] = np.linspace(0, 0.9, 10)
    (row,) = decode(maps, (32, 32), 0.5)
    x, y = (5 - 0.5 + 0.5) * 4 - 3, (3 + 0.25 + 0.5) * 4 - 5
    np.testing.assert_allclose(row[:4], [x, y, 6, 10])
    np.testing.assert_allclose(row[4:8], [x + 0.1 * 6, y, x + 0.3 * 6, y + 0.2 * 10])
    assert row[14] == 0.75
    assert decode(maps, (32, 32), 0.75).shape == (0, 15)


def test_boxes_stay_within_the_photo() -> None:
    maps = [np.zeros((n, 8, 8)) for n in (1, 2, 2, 10)]
    maps[0][0, [0, 7], [0, 7]] = 0.9
    maps[1][:] = np.log(4)
    first, last = decode(maps, (32, 32), 0.5)
    np.testing.assert_allclose(first[:4], [0, 0, 16, 16])
    np.testing.assert_allclose(last[:4], [22, 22, 10, 10])


@pytest.mark.parametrize(
    "photo", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_no_photo_is_refused(weights: Weights, photo: np.ndarray) -> None:
    with pytest.raises(PhotoError):
        CenterFace(weights("centerface")).detect(photo)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 9)
    for name in ("noise", "absent"):
        with pytest.raises(ModelError, match=name):
            CenterFace(tmp_path / f"{name}.onnx")
