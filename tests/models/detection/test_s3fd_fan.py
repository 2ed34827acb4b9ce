"""S3FD's boxes with FAN's points, on stand-ins that find red squares: which pictures are searched, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mien.errors import PhotoError
from mien.models.detection.s3fd import suppress
from mien.models.detection.s3fd_fan import TILE, LandmarkDetector, five_points
from mien.types import Face, Pixels

# A place for each of the 68 points within the box: the eyes' corners around their middles.
PLACES = np.full((68, 2), 0.5, np.float32)
PLACES[36:42] = [[0.3 + dx, 0.4 + dy] for dx, dy in ((-0.1, 0), (0, -0.1), (0, -0.1), (0.1, 0), (0, 0.1), (0, 0.1))]
PLACES[42:48] = PLACES[36:42] + np.float32([0.4, 0])
PLACES[[30, 48, 54]] = [[0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]
FIVE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


class Squares:
    """In place of S3FD: red squares up to a size, the redder the surer."""

    def __init__(self, largest: float = 1e9, surer: Callable[[Tensor], float] = lambda image: 0.0) -> None:
        self.largest = largest
        self.surer = surer
        self.searched: list[tuple[int, int]] = []

    def detect(self, image: Tensor, score: float) -> Tensor:
        assert image.dtype == torch.float32 and min(image.shape[2:]) >= 32
        self.searched.append((image.shape[3], image.shape[2]))
        red = image[0, 0].numpy()
        _, _, boxes, _ = cv2.connectedComponentsWithStats((red > 100).astype(np.uint8))
        rows = [[x, y, x + w, y + h, red[y + h // 2, x + w // 2] / 256 + self.surer(image)]
                for x, y, w, h, area in boxes[1:].tolist() if area >= 9 and max(w, h) <= self.largest]
        found = torch.tensor(rows).reshape(-1, 5)
        return suppress(found[found[:, 4] > score])


class Places:
    """In place of FAN: every point at its share of the box."""

    def landmarks(self, image: Tensor, boxes: Tensor) -> Tensor:
        assert image.dtype == torch.uint8 and image.shape[0] == 3
        return boxes[:, None, :2] + torch.from_numpy(PLACES) * (boxes[:, None, 2:] - boxes[:, None, :2])


def detector(boxes: Any, threshold: float = 0.5) -> LandmarkDetector:
    return LandmarkDetector(boxes, Places(), threshold)  # type: ignore[arg-type]


def photo(height: int, width: int, *squares: tuple[int, int, int], red: int = 200) -> Pixels:
    """Black, with red squares (x, y, side)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for x, y, side in squares:
        pixels[y : y + side, x : x + side, 0] = red
    return pixels


def boxes_of(faces: list[Face]) -> list[tuple[float, ...]]:
    return sorted(tuple(round(value) for value in face.box) for face in faces)


def test_a_face_has_its_box_its_five_points_and_its_score() -> None:
    (face,) = detector(Squares()).detect(photo(300, 400, (100, 50, 80)))
    assert face.box == (100, 50, 80, 80)
    assert face.points.dtype == np.float32
    np.testing.assert_allclose(face.points, FIVE * 80 + (100, 50), atol=1e-3)
    assert face.score == pytest.approx(200 / 256)


def test_five_points_of_68() -> None:
    np.testing.assert_allclose(five_points(PLACES), FIVE, atol=1e-6)


def test_the_surest_come_first_and_the_unsure_not_at_all() -> None:
    pixels = photo(200, 600, (20, 20, 40), (120, 20, 40), (220, 20, 40))
    pixels[20:60, 20:60, 0] = 150
    pixels[20:60, 220:260, 0] = 250
    faces = detector(Squares()).detect(pixels)
    assert [face.box[0] for face in faces] == [220, 120, 20]
    assert [face.box[0] for face in detector(Squares(), 0.7).detect(pixels)] == [220, 120]
    assert detector(Squares(), 0.99).detect(pixels) == []


@pytest.mark.parametrize(("height", "width", "sizes"), [
    (480, 640, [(640, 480)]),
    (1024, 1024, [(1024, 1024), (512, 512)]),
    (700, 1500, [(1500, 700), (750, 350), (375, 175)]),
    (1, 1, [(32, 32)]),
    (7, 700, [(700, 32), (350, 32)]),
])
def test_a_photo_is_searched_at_its_own_size_and_at_smaller_ones(
    height: int, width: int, sizes: list[tuple[int, int]]
) -> None:
    squares = Squares()
    detector(squares).detect(photo(height, width))
    assert squares.searched == sizes


def test_what_is_found_at_the_photo_s_own_size_decides() -> None:
    """However sure a smaller size is, so that the published detector's boxes are kept to the digit."""
    squares = Squares(surer=lambda image: 0.0 if image.shape[3] == 1001 else 0.2)
    (face,) = detector(squares).detect(photo(1001, 1001, (301, 303, 101)))
    assert face.box == (301, 303, 101, 101) and face.score == pytest.approx(200 / 256)


def test_a_face_too_large_for_the_network_is_found_at_a_smaller_size() -> None:
    (face,) = detector(Squares(largest=400)).detect(photo(1200, 1300, (100, 60, 1000)))
    assert boxes_of([face]) == [(100, 60, 1000, 1000)]
    np.testing.assert_allclose(face.points, FIVE * 1000 + (100, 60), atol=1)


def test_a_large_photo_is_searched_in_tiles_at_all_sizes() -> None:
    squares = Squares(largest=700)
    places = [(5, 7, 60), (1400, 1390, 200), (2500, 40, 120), (300, 2200, 700), (3000, 1000, 1900)]
    faces = detector(squares).detect(photo(3100, 5000, *places))
    assert boxes_of(faces) == sorted((x, y, side, side) for x, y, side in places)
    assert max(max(size) for size in squares.searched) <= TILE
    assert squares.searched[-1] == (625, 387)


def test_a_face_is_found_once_wherever_the_tiles_end() -> None:
    for left in range(1100, 1700, 31):
        faces = detector(Squares()).detect(photo(300, 2700, (left, 40, 200)))
        assert boxes_of(faces) == [(left, 40, 200, 200)], left


class Told:
    """In place of S3FD: finds what it is told."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        self.rows = torch.tensor(rows).reshape(-1, 5)

    def detect(self, image: Tensor, score: float) -> Tensor:
        return self.rows


def test_boxes_reach_over_the_edge_but_not_far_nor_are_they_empty_or_infinite() -> None:
    faces = detector(Told((-30, 20, 70, 120, 0.9), (-80, 20, 20, 120, 0.8), (50, 50, 50, 90, 0.8),
                          (0, 0, float("inf"), 9, 0.8), (float("nan"), 0, 9, 9, 0.8))).detect(photo(150, 200))
    assert [face.box for face in faces] == [(-30, 20, 100, 100)]


@pytest.mark.parametrize("pixels", [
    np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32),
    np.zeros((0, 8, 3), np.uint8),
])
def test_what_is_no_photo_is_refused(pixels: Pixels) -> None:
    with pytest.raises(PhotoError, match="a photo is uint8"):
        detector(Squares()).detect(pixels)


def test_too_little_memory_is_the_photo_s_fault_not_the_run_s() -> None:
    class Full:
        def detect(self, image: Tensor, score: float) -> Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore")

    with pytest.raises(PhotoError, match=r"faces cannot be searched: .* memory$"):
        detector(Full()).detect(photo(40, 40))


def test_views_and_arrays_that_cannot_be_written_are_taken() -> None:
    pixels = photo(300, 400, (100, 50, 80))
    pixels.setflags(write=False)
    assert boxes_of(detector(Squares()).detect(pixels[:, ::-1])) == [(220, 50, 80, 80)]
    assert boxes_of(detector(Squares()).detect(pixels)) == [(100, 50, 80, 80)]
