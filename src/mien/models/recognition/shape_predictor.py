"""Implements dlib's shape predictor in numpy, which finds facial landmarks by an ensemble of regression trees.

Kazemi and Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression Trees" (CVPR 2014), as in
dlib's image_processing/shape_predictor.h. A cascade of forests moves an average shape step by step; every
split compares the brightness of two pixels, whose places move along with the shape.
"""

# SPDX-License-Identifier: Apache-2.0 AND BSL-1.0

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mien.errors import ModelError
from mien.models.formats.dlib_archive import DlibArchive
from mien.models.hints import FETCH
from mien.models.recognition.face_chip import as_complex
from mien.types import Pixels

Box = tuple[float, float, float, float]
Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
MAX_CASCADES, MAX_TREES, MAX_SPLITS, MAX_PIXELS = 64, 4096, 1023, 65536


class ShapePredictor:
    """Finds P landmarks of a face in a box; P is 5 for the model that the judge uses.

    Args:
        state: the result of `convert_shape_predictor`; for C cascades of T trees with S splits, and F pixels:
            initial_shape [P, 2], anchors [C, F], deltas [C, F, 2], first, second and thresholds [C, T, S],
            leaves [C, T, S + 1, 2 * P].

    Raises:
        ModelError: a part is missing or does not fit the others.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        try:
            arrays = {key: np.ascontiguousarray(state[key].numpy()) for key in _SHAPES}
        except KeyError as error:
            raise ModelError(f"a shape predictor without {error}", FETCH) from error
        _check(arrays)
        cascades, trees, splits = arrays["first"].shape
        self._initial: Single = arrays["initial_shape"].ravel()  # [2P]
        centered = as_complex(arrays["initial_shape"])
        centered -= centered.mean()
        # [P]: the product with a shape is the factor of the similarity transform to that shape
        self._similarity = centered.conj() / np.sum(np.abs(centered) ** 2)
        self._anchors = arrays["anchors"]  # [C, F]
        self._deltas = np.ascontiguousarray(arrays["deltas"].swapaxes(1, 2))  # [C, 2, F]
        self._first, self._second, self._thresholds = (
            arrays[key].reshape(cascades, -1) for key in ("first", "second", "thresholds")
        )  # [C, T * S] each
        self._leaves = arrays["leaves"].reshape(cascades, -1, self._initial.size)  # [C, T * (S + 1), 2P]
        self._levels = (splits + 1).bit_length() - 1
        # index of each tree's first split, and of its first leaf minus the splits that are numbered before it
        self._rows = np.arange(trees) * splits
        self._leaf_rows = np.arange(trees) * (splits + 1) - splits

    @classmethod
    def from_file(cls, path: Path) -> ShapePredictor:
        """Loads a state converted by `convert_shape_predictor` (safetensors).

        Raises:
            ModelError: the file is missing, damaged or holds something else.
        """
        try:
            return cls(load_file(path))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} holds no shape predictor: {error}", FETCH) from error

    def __call__(self, image: Pixels, box: Box) -> Double:
        """Finds the landmarks of one upright face.

        Args:
            image: [H, W, 3] uint8 RGB.
            box: (left, top, right, bottom) as in dlib's face detector: the corner pixels belong to the box.

        Returns:
            [P, 2] float64 (x, y); dlib rounds these to whole pixels.

        Raises:
            ValueError: the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"the shape predictor takes [H, W, 3] uint8, not {image.shape} {image.dtype}")
        left, top, right, bottom = (float(value) for value in box)
        shape = self._initial  # [2P]: x, y, x, y, ... in units of the box
        for cascade in range(len(self._deltas)):
            x, y = self._places(cascade, shape)  # [F] each, in units of the box
            values = _brightness(image, left + (right - left) * x, top + (bottom - top) * y)  # [F]
            shape = self._step(cascade, shape, values)
        points = shape.reshape(-1, 2).astype(np.float64)
        return points * (right - left, bottom - top) + (left, top)

    def _places(self, cascade: int, shape: Single) -> tuple[Double, Double]:
        """Returns the places of this cascade's pixels: anchored to points of the shape, rotated and scaled with it."""
        factor = complex(self._similarity @ as_complex(shape.reshape(-1, 2)))
        a, b = np.float32(factor.real), np.float32(factor.imag)
        x, y = self._deltas[cascade]
        anchors = self._anchors[cascade]
        turned_x = (a * x - b * y) + shape[0::2].take(anchors)
        turned_y = (b * x + a * y) + shape[1::2].take(anchors)
        return turned_x.astype(np.float64), turned_y.astype(np.float64)

    def _step(self, cascade: int, shape: Single, values: Single) -> Single:
        """Adds to the shape the moves that the cascade's trees choose by the pixels' brightness."""
        difference = values.take(self._first[cascade]) - values.take(self._second[cascade])  # [T * S]
        right = difference <= self._thresholds[cascade]
        node = right.take(self._rows) + 1  # [T]: the child of the root
        for _ in range(self._levels - 1):
            node = 2 * node + 1 + right.take(self._rows + node)
        moves = self._leaves[cascade].take(self._leaf_rows + node, axis=0)  # [T, 2P]
        # one addition after the other in single precision, as in dlib: the sum decides which pixels come next
        total: Single = np.add.reduce(np.concatenate([shape[None], moves]), axis=0)
        return total


def _brightness(image: Pixels, x: Double, y: Double) -> Single:
    """Returns the mean of red, green and blue, truncated, at the pixels nearest to [F] places; 0 outside."""
    height, width = image.shape[:2]
    x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    index = np.where(inside, y * width + x, 0).astype(np.intp)
    red, green, blue = image.reshape(-1, 3).take(index, axis=0).T.astype(np.int32)
    gray: Single = ((red + green + blue) // 3 * inside).astype(np.float32)
    return gray


_SHAPES = {
    "initial_shape": "P2",
    "anchors": "CF",
    "deltas": "CF2",
    "first": "CTS",
    "second": "CTS",
    "thresholds": "CTS",
    "leaves": "CTLD",
}


def _check(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Checks that the parts fit each other, so that no index is out of range."""
    sizes: dict[str, int] = {"2": 2}
    good = True
    for key, letters in _SHAPES.items():
        array = arrays[key]
        good = good and array.ndim == len(letters) and array.size > 0
        for letter, length in zip(letters, array.shape, strict=False):
            good = good and sizes.setdefault(letter, length) == length
    good = good and sizes["L"] == sizes["S"] + 1 and sizes["L"].bit_count() == 1
    good = good and sizes["D"] == 2 * sizes["P"]
    for key, high in (("anchors", "P"), ("first", "F"), ("second", "F")):
        array = arrays[key]
        good = good and array.dtype.kind == "i" and array.min() >= 0 and array.max() < sizes[high]
    if not good:
        raise ModelError("the parts of the shape predictor do not fit each other", FETCH)


def convert_shape_predictor(source: Path) -> dict[str, Tensor]:
    """Converts a `shape_predictor_*.dat` to the state of a `ShapePredictor`.

    Raises:
        ModelError: the file is damaged or holds something else.
    """
    archive = DlibArchive.open(source)
    archive.integer(1, 1)
    initial = archive.column()  # [2P]
    archive.expect(initial.size >= 4 and initial.size % 2 == 0, "a shape without points")
    forests = [_read_forest(archive, initial.size) for _ in range(archive.count(MAX_CASCADES))]
    anchors = [archive.integers(archive.count(MAX_PIXELS)) for _ in range(archive.count(MAX_CASCADES))]
    pixels = [archive.floats(2 * archive.count(MAX_PIXELS)) for _ in range(archive.count(MAX_CASCADES))]
    archive.finish()
    arrays: dict[str, npt.NDArray[Any]] = {"initial_shape": initial.reshape(-1, 2)}
    try:
        arrays["anchors"], arrays["deltas"] = np.stack(anchors), np.stack(pixels).reshape(len(pixels), -1, 2)
        for number, key in enumerate(("first", "second", "thresholds", "leaves")):
            arrays[key] = np.stack([forest[number] for forest in forests])
    except ValueError:
        raise archive.fail("cascades of different sizes") from None
    _check(arrays)
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def _read_forest(archive: DlibArchive, width: int) -> list[npt.NDArray[Any]]:
    """Reads one cascade: first [T, S], second [T, S], thresholds [T, S] and leaves [T, S + 1, width]."""
    splits, leaves = [], []
    for _ in range(archive.count(MAX_TREES)):
        # a split: two pixels and a threshold of two numbers
        splits.append(archive.integers(4 * archive.count(MAX_SPLITS)).reshape(-1, 4))
        # a leaf: minus its rows, minus its columns, and numbers of two parts
        size = 2 + 2 * width
        leaves.append(archive.integers(size * archive.count(MAX_SPLITS + 1)).reshape(-1, size))
    try:
        nodes, ends = np.stack(splits), np.stack(leaves)
    except ValueError:
        raise archive.fail("trees of different sizes") from None
    archive.expect(bool((ends[..., :2] == (-width, -1)).all()), "leaves of another size")
    values = archive.floats_of(ends[..., 2:].reshape(*ends.shape[:2], width, 2))
    return [nodes[..., 0], nodes[..., 1], archive.floats_of(nodes[..., 2:]), values]
