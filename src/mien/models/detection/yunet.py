"""Runs YuNet, the face detector, with OpenCV at several scales and in four orientations.

One pass of the network finds faces of about 10 to 300 pixels. A photo is therefore searched
- whole, with its longer side at 160 and at 320 px, for faces that fill it; at 320 px the photo is continued by its
  mirror image beyond the edges, which completes faces that an edge cuts;
- whole, at 800 px, for faces of usual size;
- above that, in an octave pyramid up to full size, each level cut into overlapping tiles, for small faces;
- whole, at 640 px, rotated by 90, 180 and 270 degrees, for rotated faces.

Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from mien.errors import ModelError, PhotoError
from mien.models.detection.boxes import Boxes, Rows, by_score, intersection_over_smaller, iou, suppress, usable
from mien.models.detection.tiles import check_photo, spans
from mien.models.hints import FETCH
from mien.types import Face, Floats, Pixels

# Rows here: box (x, y, width, height), five points (x, y), score; see `by_score`.
FILLING_SIDE, MIRRORED_SIDE, USUAL_SIDE, ROTATED_SIDE = 160, 320, 800, 640
LARGEST_ENLARGEMENT = 2.0  # at the usual side and the rotated photo's side
TILE = 1280
OVERLAP = 160  # px, of tiles; larger faces are whole on the next smaller level of the pyramid
ROTATED_EXTRA = 0.15  # lace, hair and hands pass for rotated faces more often than rotated faces score this low
# Halves of hair and hats make faces with their mirror images. Of 400 CelebA-HQ train photos 5 have such a detection and
# 1 at this much more; of 400 faces cut to 30..60 % of their box 373 are found, and 369 at this much more.
MIRRORED_EXTRA = 0.1
SAME, WITHIN = 0.3, 0.5  # IoU, and intersection over the smaller, of an upright and a rotated detection
_TOP = 5000
_NONE: Rows = np.empty((0, 15))
_X, _Y = [0, 4, 6, 8, 10, 12], [1, 5, 7, 9, 11, 13]  # columns of x and of y positions


class YuNet:
    """Detects faces and gives each a box, five points and a score.

    Threads may share one: they take turns at OpenCV's network.

    Args:
        model_file: `face_detection_yunet_2023mar_int8bq.onnx` or another YuNet that OpenCV reads.
        score_threshold: faces below this score, 0..1, are dropped.
        nms_threshold: of two boxes with a larger intersection over union, the one with the lower score is dropped.

    Raises:
        ModelError: the file is missing or OpenCV cannot read it.
    """

    def __init__(self, model_file: Path, score_threshold: float = 0.6, nms_threshold: float = 0.3) -> None:
        self._lock = Lock()  # OpenCV's detector keeps its input size and buffers
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        with _quiet():
            try:
                model = np.frombuffer(model_file.read_bytes(), np.uint8)
                self._net = cv2.FaceDetectorYN.create(
                    "onnx", model, np.empty(0, np.uint8), (320, 320), score_threshold, nms_threshold, _TOP
                )
            except (OSError, cv2.error) as error:
                message = f"{model_file} does not hold YuNet: {error}"
                raise ModelError(message, FETCH) from error

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Finds the faces in a photo.

        Boxes may reach over the photo's edges; those with less than 30 % of their area inside are dropped.
        The points of a rotated face keep the person's order: the first eye is the one that would be on the left
        if the face were upright.

        Args:
            photo: [H, W, 3] uint8 RGB, any size from 1 x 1.
            lying: search the rotated photo too; else a rotated face may be missed or have misplaced points.

        Returns:
            faces, the surest first; equal photos give equal lists.

        Raises:
            PhotoError: the array is not a photo, or OpenCV fails on it.
        """
        check_photo(photo)
        try:
            upright = usable(np.vstack(list(self._upright(photo))), photo.shape)
            passes = [self._rotated(photo, quarters) for quarters in (1, 2, 3)] if lying else []
            rotated = usable(np.vstack([_NONE, *passes]), photo.shape)
        except cv2.error as error:
            raise PhotoError(f"faces cannot be searched: {error}") from error
        rotated = rotated[rotated[:, 14] >= self.score_threshold + ROTATED_EXTRA]
        upright, rotated = suppress(upright, self.nms_threshold), suppress(rotated, self.nms_threshold)
        return [_face(row) for row in choose(upright, rotated)]

    def _upright(self, photo: Pixels) -> Iterator[Rows]:
        yield self._scaled(photo, FILLING_SIDE / max(photo.shape[:2]))
        yield self._mirrored(photo)
        yield self._scaled(photo, _scale(photo, USUAL_SIDE))
        scale = 1.0
        while max(photo.shape[:2]) * scale > USUAL_SIDE * 1.25:
            yield from self._tiles(photo, scale)
            scale /= 2

    def _mirrored(self, photo: Pixels) -> Rows:
        """Searches the photo continued by a quarter of its mirror image on each side."""
        height, width = photo.shape[:2]
        small = _resize(photo, MIRRORED_SIDE / max(height, width))
        across, down = small.shape[1] // 4, small.shape[0] // 4
        wide = cv2.copyMakeBorder(small, down, down, across, across, cv2.BORDER_REFLECT)
        rows = self._run(np.asarray(wide, dtype=np.uint8))
        rows[:, _X] -= across
        rows[:, _Y] -= down
        rows = rows[rows[:, 14] >= self.score_threshold + MIRRORED_EXTRA]
        return _zoom(rows, width / small.shape[1], height / small.shape[0])

    def _rotated(self, photo: Pixels, quarters: int) -> Rows:
        """Searches the photo rotated counterclockwise by quarter turns; rows are in the photo's own pixels."""
        height, width = photo.shape[:2]
        small = _resize(photo, _scale(photo, ROTATED_SIDE))
        rows = self._run(np.rot90(small, quarters))
        rows = rotate_back(rows, quarters, small.shape[1], small.shape[0])
        return _zoom(rows, width / small.shape[1], height / small.shape[0])

    def _tiles(self, photo: Pixels, scale: float) -> Iterator[Rows]:
        """Searches one level; tiles are cut from the photo before scaling, so memory does not grow with the scale.

        Faces centered near an edge between tiles are left to the neighbor, which has them whole.
        """
        height, width = photo.shape[:2]
        rim = OVERLAP / scale / 4
        for top, bottom in spans(height, TILE / scale, OVERLAP / scale):
            for left, right in spans(width, TILE / scale, OVERLAP / scale):
                rows = self._scaled(photo[top:bottom, left:right], scale)
                rows[:, _X] += left
                rows[:, _Y] += top
                x, y = (rows[:, :2] + rows[:, 2:4] / 2).T
                mine = ((x >= left + rim) | (left == 0)) & ((x < right - rim) | (right == width))
                mine &= ((y >= top + rim) | (top == 0)) & ((y < bottom - rim) | (bottom == height))
                yield rows[mine]

    def _scaled(self, image: Pixels, scale: float) -> Rows:
        """Searches an image at another scale; rows are in the image's own pixels."""
        small = _resize(image, scale)
        return _zoom(self._run(small), image.shape[1] / small.shape[1], image.shape[0] / small.shape[0])

    def _run(self, image: Pixels) -> Rows:
        bgr = np.ascontiguousarray(image[:, :, ::-1])  # OpenCV's order
        with self._lock:
            self._net.setInputSize((image.shape[1], image.shape[0]))
            found = self._net.detect(bgr)[1]
        return _NONE.copy() if found is None else np.asarray(found, dtype=np.float64)


def choose(upright: Rows, rotated: Rows) -> Rows:
    """Merges the detections of the upright and the rotated passes, the surest first.

    The upright passes find most rotated faces too, with a lower score and misplaced points. So a rotated detection
    counts unless one with at least its score overlaps it, and replaces an upright one of the same face with a lower
    score.
    """
    surer = rotated[:, 14, None] > upright[None, :, 14]  # [rotated, upright]
    a, b = Boxes.from_sizes(rotated), Boxes.from_sizes(upright)
    counts = ((intersection_over_smaller(a, b) <= WITHIN) | surer).all(1)
    replaced = ((iou(a, b) > SAME) & surer)[counts].any(0)
    return by_score(np.vstack([upright[~replaced], rotated[counts]]))


def rotate_back(rows: Rows, quarters: int, width: int, height: int) -> Rows:
    """Maps rows found in an image rotated counterclockwise by quarter turns back to the unrotated image.

    Args:
        rows: [N, 15] in pixels of the rotated image.
        quarters: number of quarter turns, 0..3.
        width, height: of the unrotated image, in pixels.
    """
    corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4], rows[:, 4:14]], axis=1)
    xy = corners.reshape(-1, 7, 2)
    for quarter in range(quarters):
        across = width if (quarters - quarter) % 2 else height
        xy = np.stack([across - 1 - xy[..., 1], xy[..., 0]], axis=2)
    low, high = np.minimum(xy[:, 0], xy[:, 1]), np.maximum(xy[:, 0], xy[:, 1])
    return np.concatenate([low, high - low, xy[:, 2:].reshape(-1, 10), rows[:, 14:]], axis=1)


def _scale(photo: Pixels, side: int) -> float:
    longest: int = max(photo.shape[:2])
    return min(side / longest, LARGEST_ENLARGEMENT)


def _resize(image: Pixels, scale: float) -> Pixels:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return image
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _zoom(rows: Rows, x: float, y: float) -> Rows:
    """Multiplies positions and sizes; whole numbers are the centers of pixels, before and after."""
    rows = rows * np.array([x, y] * 7 + [1.0])
    rows[:, _X] += (x - 1) / 2
    rows[:, _Y] += (y - 1) / 2
    return rows


def _face(row: Rows) -> Face:
    x, y, width, height = (float(value) for value in row[:4])
    points: Floats = row[4:14].reshape(5, 2).astype(np.float32)
    return Face(box=(x, y, width, height), points=points, score=float(min(row[14], 1.0)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV's warning about targets, which are not set here, off the terminal."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
