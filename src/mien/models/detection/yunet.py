"""YuNet, the face detector, run by OpenCV at several scales and in four orientations.

One pass of the network finds faces of about 10 to 300 pixels. A photo is therefore searched
- whole, at long sides of 160 and 320 px: faces that fill it; the latter continued by its mirror image beyond
  the edges, which makes faces whole that the edge cuts;
- whole, at 800 px: the usual faces;
- above that, in an octave pyramid up to full size, each level cut into overlapping tiles: the small faces;
- whole, at 640 px, turned by 90, 180 and 270 degrees: faces that lie or stand on their heads.

Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mien.errors import ModelError, PhotoError
from mien.models.detection.tiles import Rows, check_photo, spans, usable
from mien.types import Face, Floats, Pixels

# Rows here: box (x, y, width, height), five points (x, y), score.
FILLING_SIDE, MIRRORED_SIDE, USUAL_SIDE, TURNED_SIDE = 160, 320, 800, 640
LARGEST_ENLARGEMENT = 2.0  # for the latter two
TILE = 1280
OVERLAP = 160  # of tiles; larger faces are whole on the next smaller level of the pyramid
TURNED_EXTRA = 0.15  # lace, hair and hands pass for turned faces more often than turned faces score this low
# Halves of hair and hats make faces with their mirror images. Of 400 CelebA-HQ train photos 5 have such a finding and
# 1 at this much more; of 400 faces cut to 30..60 % of their box 373 are found, and 369 at this much more.
MIRRORED_EXTRA = 0.1
SAME, WITHIN = 0.3, 0.5  # intersection over union and over the smaller, of an upright and a turned finding
_TOP = 5000
_NONE: Rows = np.empty((0, 15))
_X, _Y = [0, 4, 6, 8, 10, 12], [1, 5, 7, 9, 11, 13]  # columns that move with the picture


class YuNet:
    """Face detector: boxes, five points and a score.

    Not safe to share between threads: OpenCV's detector keeps its input size and buffers.

    Args:
        model_file: `face_detection_yunet_2023mar_int8bq.onnx` or another YuNet that OpenCV reads.
        score_threshold: faces below this score, 0..1, are left out.
        nms_threshold: of two boxes with a larger intersection over union, the less sure is left out.

    Raises:
        ModelError: the file is missing or OpenCV cannot read it.
    """

    def __init__(self, model_file: Path, score_threshold: float = 0.6, nms_threshold: float = 0.3) -> None:
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
                raise ModelError(message, "Fetch the weights again.") from error

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Find the faces in a photo.

        Boxes may reach over the photo's edges; those with less than 30 % of their area inside are left out.
        The points of a face that lies or stands on its head stay the person's own: the first eye is the one
        that would be on the left were the face upright.

        Args:
            photo: [H, W, 3] uint8 RGB, any size from 1 x 1.
            lying: search the turned photo too; without, a face that lies may be missed or have its points elsewhere.

        Returns:
            faces, the surest first; equal photos give equal lists.

        Raises:
            PhotoError: not such an array, or OpenCV gives up on it.
        """
        check_photo(photo)
        try:
            upright = usable(np.vstack(list(self._upright(photo))), photo.shape)
            passes = [self._turned(photo, turns) for turns in (1, 2, 3)] if lying else []
            turned = usable(np.vstack([_NONE, *passes]), photo.shape)
        except cv2.error as error:
            raise PhotoError(f"faces cannot be searched: {error}") from error
        turned = turned[turned[:, 14] >= self.score_threshold + TURNED_EXTRA]
        upright, turned = suppress(upright, self.nms_threshold), suppress(turned, self.nms_threshold)
        return [_face(row) for row in choose(upright, turned)]

    def _upright(self, photo: Pixels) -> Iterator[Rows]:
        yield self._scaled(photo, FILLING_SIDE / max(photo.shape[:2]))
        yield self._mirrored(photo)
        yield self._scaled(photo, _scale(photo, USUAL_SIDE))
        scale = 1.0
        while max(photo.shape[:2]) * scale > USUAL_SIDE * 1.25:
            yield from self._tiles(photo, scale)
            scale /= 2

    def _mirrored(self, photo: Pixels) -> Rows:
        """Search the photo continued by a quarter of its mirror image on each side."""
        height, width = photo.shape[:2]
        small = _resize(photo, MIRRORED_SIDE / max(height, width))
        across, down = small.shape[1] // 4, small.shape[0] // 4
        wide = cv2.copyMakeBorder(small, down, down, across, across, cv2.BORDER_REFLECT)
        rows = self._run(np.asarray(wide, dtype=np.uint8))
        rows[:, _X] -= across
        rows[:, _Y] -= down
        rows = rows[rows[:, 14] >= self.score_threshold + MIRRORED_EXTRA]
        return _zoom(rows, width / small.shape[1], height / small.shape[0])

    def _turned(self, photo: Pixels, turns: int) -> Rows:
        """Search a photo turned by `turns` quarters anticlockwise; rows in the photo's own pixels."""
        height, width = photo.shape[:2]
        small = _resize(photo, _scale(photo, TURNED_SIDE))
        rows = self._run(np.rot90(small, turns))
        rows = turn_back(rows, turns, small.shape[1], small.shape[0])
        return _zoom(rows, width / small.shape[1], height / small.shape[0])

    def _tiles(self, photo: Pixels, scale: float) -> Iterator[Rows]:
        """Search one level; tiles are cut from the photo before scaling, so memory does not grow with it.

        Faces centerd near an edge between tiles are left to the neighbor, which has them whole.
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
        """Search an image at another scale; rows in the image's own pixels."""
        small = _resize(image, scale)
        return _zoom(self._run(small), image.shape[1] / small.shape[1], image.shape[0] / small.shape[0])

    def _run(self, image: Pixels) -> Rows:
        self._net.setInputSize((image.shape[1], image.shape[0]))
        found = self._net.detect(np.ascontiguousarray(image[:, :, ::-1]))[1]  # OpenCV's order is BGR
        return _NONE.copy() if found is None else np.asarray(found, dtype=np.float64)


def choose(upright: Rows, turned: Rows) -> Rows:
    """Put upright and turned findings together, the surest first.

    The upright passes find most turned faces too, with a lower score and points in the wrong places. So a
    turned finding counts unless one at least as sure overlaps it, and takes the place of a less sure one of
    its face.
    """
    surer = turned[:, 14, None] > upright[None, :, 14]  # [turned, upright]
    turned_counts = ((overlaps(turned, upright) <= WITHIN) | surer).all(1)
    replaced = ((iou(turned, upright) > SAME) & surer)[turned_counts].any(0)
    return _sorted(np.vstack([upright[~replaced], turned[turned_counts]]))


def suppress(rows: Rows, threshold: float) -> Rows:
    """Keep the surest of each bunch of overlapping faces (non-maximum suppression), the surest first."""
    rows = _sorted(rows)
    kept: list[int] = []
    for i in range(len(rows)):
        if not kept or iou(rows[i : i + 1], rows[kept]).max() <= threshold:
            kept.append(i)
    return rows[kept]


def iou(a: Rows, b: Rows) -> Rows:
    """Intersection over union of rows that begin with x, y, width, height: [N, ...], [M, ...] -> [N, M]."""
    common = _common(a, b)
    areas = a[:, 2:4].prod(1)[:, None] + b[:, 2:4].prod(1)[None]
    return np.asarray(common / np.maximum(areas - common, 1e-9))


def overlaps(a: Rows, b: Rows) -> Rows:
    """Intersection over the smaller area of boxes, as `iou`."""
    smaller = np.minimum(a[:, 2:4].prod(1)[:, None], b[:, 2:4].prod(1)[None])
    return np.asarray(_common(a, b) / np.maximum(smaller, 1e-9))


def _common(a: Rows, b: Rows) -> Rows:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:4], b[None, :, :2] + b[None, :, 2:4])
    return np.asarray(np.maximum(high - low, 0).prod(2))


def turn_back(rows: Rows, turns: int, width: int, height: int) -> Rows:
    """Take rows found in an image turned anticlockwise by quarters back to the image as it was.

    Args:
        rows: [N, 15] in pixels of the turned image.
        turns: how many quarters it was turned, 0..3.
        width: of the image as it was, in pixels.
        height: of the same.
    """
    corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4], rows[:, 4:14]], axis=1)
    xy = corners.reshape(-1, 7, 2)
    for turn in range(turns):
        across = width if (turns - turn) % 2 else height
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
    """Multiply positions and sizes; whole numbers are the centers of pixels, before and after."""
    rows = rows * np.array([x, y] * 7 + [1.0])
    rows[:, _X] += (x - 1) / 2
    rows[:, _Y] += (y - 1) / 2
    return rows


def _sorted(rows: Rows) -> Rows:
    """The surest first; ties by box, so that the order never depends on the passes."""
    return rows[np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0], -rows[:, 14]))]


def _face(row: Rows) -> Face:
    x, y, width, height = (float(value) for value in row[:4])
    points: Floats = row[4:14].reshape(5, 2).astype(np.float32)
    return Face(box=(x, y, width, height), points=points, score=float(min(row[14], 1.0)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's warning about targets, which nobody set, off the terminal."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
