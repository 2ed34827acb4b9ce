"""Implements CenterFace, a second face detector, which only judges results and takes no part in making them.

Source: Xu et al. 2020, "CenterFace: Joint Face Detection and Alignment Using Face as Point", Scientific
Programming; the decoding follows `deface` 1.5.0 (MIT).
"""

# SPDX-License-Identifier: Apache-2.0 AND MIT

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import ModelError, PhotoError
from mien.models.detection.boxes import suppress
from mien.models.detection.tiles import check_photo
from mien.models.hints import FETCH
from mien.types import Face, Pixels

STRIDE = 4  # input pixels to a cell of the network's maps
LONGEST_SIDE = 1600  # larger photos are searched at this size: memory stays flat
_OUTPUTS = ("537", "538", "539", "540")  # heat, log size, offset, points
_SAME = 0.3  # intersection over union
_Array = npt.NDArray[np.float64]


class CenterFace:
    """Detects faces and gives each a box, five points and a score.

    Args:
        model_file: `centerface.onnx`.
        score_threshold: faces at or below this score, 0..1, are dropped.

    Raises:
        ModelError: the file is missing or OpenCV cannot read it.
    """

    def __init__(self, model_file: Path, score_threshold: float = 0.5) -> None:
        self.score_threshold = score_threshold
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(model_file.read_bytes(), np.uint8))
        except (OSError, cv2.error) as error:
            message = f"{model_file} does not hold CenterFace: {error}"
            raise ModelError(message, FETCH) from error

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Finds the faces in a photo, in one pass at its own size; a longer side above 1600 px is shrunk to that.

        Args:
            photo: [H, W, 3] uint8 RGB.
            lying: has no effect.

        Returns:
            faces, the surest first, their boxes within the photo.

        Raises:
            PhotoError: the array is not a photo, or OpenCV fails on it.
        """
        check_photo(photo)
        height, width = photo.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        # The network halves its maps five times; the photo is stretched, not padded, to fit.
        size = (math.ceil(width * scale / 32) * 32, math.ceil(height * scale / 32) * 32)
        try:
            self._net.setInput(cv2.dnn.blobFromImage(photo, 1.0, size, (0, 0, 0), swapRB=False, crop=False))
            maps = [np.asarray(output[0], dtype=np.float64) for output in self._net.forward(_OUTPUTS)]
        except cv2.error as error:
            raise PhotoError(f"faces cannot be searched: {error}") from error
        rows = suppress(decode(maps, size, self.score_threshold), _SAME)
        rows[:, :14] *= np.array([width / size[0], height / size[1]] * 7)
        return [_face(row) for row in rows]


def decode(maps: list[_Array], size: tuple[int, int], threshold: float) -> _Array:
    """Decodes the network's maps into faces, before non-maximum suppression.

    Args:
        maps: heat [1, h, w], log size [2, h, w], offset [2, h, w], points [10, h, w]; pairs are y before x,
            sizes and offsets in cells, points as fractions of the box from its upper left corner.
        size: (4 w, 4 h), width and height of the network's input.
        threshold: cells whose heat is not above it hold no face.

    Returns:
        [N, 15]: box (x, y, width, height), five points (x, y), score; positions in pixels of the input.
    """
    heat, log_size, offset, points = maps
    row, column = np.nonzero(heat[0] > threshold)
    tall, wide = np.exp(log_size[:, row, column]) * STRIDE
    down, right = offset[:, row, column]
    # As published, a box over the left or upper edge is moved to the edge, and its points with it.
    x = np.clip((column + right + 0.5) * STRIDE - wide / 2, 0, size[0])
    y = np.clip((row + down + 0.5) * STRIDE - tall / 2, 0, size[1])
    box = [x, y, np.minimum(wide, size[0] - x), np.minimum(tall, size[1] - y)]
    place = points[:, row, column]  # [10, N]: y, x, y, x, ...
    pairs = [part for i in range(0, 10, 2) for part in (place[i + 1] * wide + x, place[i] * tall + y)]
    return np.stack([*box, *pairs, heat[0, row, column]], axis=1)


def _face(row: _Array) -> Face:
    x, y, width, height = (float(value) for value in row[:4])
    return Face((x, y, width, height), row[4:14].reshape(5, 2).astype(np.float32), float(row[14]))
