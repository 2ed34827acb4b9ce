"""Reads dlib's serialization, the `.dat` files of its networks and predictors, without dlib.

The format, as written by dlib's serialize.h and dnn/core.h:

- an integer is one head byte (sign in bit 7, byte count 1..8 in the low nibble) and that many bytes,
  little-endian;
- a floating-point number is two integers, mantissa and exponent: mantissa * 2^exponent;
- a flag is the character "0" or "1"; a string is its length and its bytes;
- a vector is its length and its items; a matrix is minus its rows, minus its columns, its items row by row;
- a tensor is version 2, four dimensions and raw little-endian float32;
- a network is one version number for every wrapper from the loss inwards, the input layer, and then, from the
  input outwards, each layer's name, settings and weights, followed by leftovers of the training.
"""

# SPDX-License-Identifier: Apache-2.0 AND BSL-1.0

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.models.hints import FETCH

MAX_BYTES = 128 << 20  # the largest of dlib's published models is below 100 MB
MAX_WRAPPERS = 4096
SIGN, RESERVED, LENGTH = 0x80, 0x70, 0x0F  # the fields of an integer's head byte
SPECIAL_EXPONENT = 32000  # infinities and NaN are written as exponents from here on

INPUT_LAYER, TAG = 3, 1  # version numbers of two kinds of wrappers; all other layers have 2


@dataclass(frozen=True)
class Layer:
    """One layer of a network, as described in the file.

    Attributes:
        kind: dlib's name and version of the layer ("con_4", "affine_", "relu_", ...).
        settings: its integers in the order of the file (filters, window, stride, padding, ...).
        weights: all its weights as one flat float32 array; empty if it has none.
    """

    kind: str
    settings: tuple[int, ...]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A network, as described in the file.

    Attributes:
        mean: the values that the input layer subtracts from red, green and blue.
        size: (rows, columns) of the input.
        layers: the layers from the input to the output.
    """

    mean: tuple[float, float, float]
    size: tuple[int, int]
    layers: list[Layer]


class DlibArchive:
    """A cursor over the bytes of a dlib file; every method reads one value and moves on.

    No method allocates more than the remaining bytes of the file can fill.

    Args:
        data: the whole file.
        name: the file's name, for messages.

    Raises:
        ModelError: raised by every method if the file ends early or its bytes do not encode the expected value.
    """

    def __init__(self, data: bytes, name: str = "dlib archive") -> None:
        self._data = data
        self._at = 0
        self._name = name

    @classmethod
    def open(cls, path: Path) -> DlibArchive:
        """Opens a file.

        Raises:
            ModelError: it is missing, unreadable or larger than any dlib model.
        """
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise ModelError(f"{path.name} has {size} bytes, more than any dlib model", FETCH)
            return cls(path.read_bytes(), path.name)
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror or error}", FETCH) from error

    @property
    def left(self) -> int:
        """The number of bytes that have not been read yet."""
        return len(self._data) - self._at

    def fail(self, what: str) -> ModelError:
        """Returns the error to raise for an unexpected content."""
        return ModelError(f"{self._name} is not the dlib file it should be: {what} at byte {self._at}", FETCH)

    def expect(self, true: bool, what: str) -> None:
        """Raises ModelError with this reason unless the condition is true."""
        if not true:
            raise self.fail(what)

    def raw(self, size: int) -> bytes:
        """Reads the next `size` bytes."""
        self.expect(0 <= size <= self.left, "the file ends early")
        self._at += size
        return self._data[self._at - size : self._at]

    def integers(self, count: int) -> npt.NDArray[np.int64]:
        """Reads the next `count` integers: [count] int64."""
        self.expect(0 <= 2 * count <= self.left, "more numbers announced than the file can hold")
        data, at, end = self._data, self._at, len(self._data)
        values = []
        for _ in range(count):
            head = data[at] if at < end else 0
            size = head & LENGTH
            if head & RESERVED or not 1 <= size <= 8 or at + size >= end:
                self._at = at
                raise self.fail("no integer")
            value = int.from_bytes(data[at + 1 : at + 1 + size], "little")
            values.append(-value if head & SIGN else value)
            at += 1 + size
        try:
            numbers = np.array(values, dtype=np.int64)
        except OverflowError:
            raise self.fail("an integer beyond 64 bits") from None
        self._at = at
        return numbers

    def integer(self, low: int = -(2**31), high: int = 2**31 - 1) -> int:
        """Reads the next integer, which must be in low..high."""
        value = int(self.integers(1)[0])
        self.expect(low <= value <= high, f"the number {value} where {low}..{high} belongs")
        return value

    def floats_of(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Converts integers [..., 2], mantissa and exponent, to finite float32 [...]."""
        mantissa, exponent = numbers[..., 0], numbers[..., 1]
        usual = (exponent > -SPECIAL_EXPONENT) & (exponent < SPECIAL_EXPONENT)
        self.expect(bool(usual.all()), "a number that is not finite")
        with np.errstate(over="ignore", under="ignore"):
            values: npt.NDArray[np.float32] = np.ldexp(
                mantissa.astype(np.float64), exponent.astype(np.int32)
            ).astype(np.float32)
        self.expect(bool(np.isfinite(values).all()), "a number beyond float32")
        return values

    def floats(self, count: int) -> npt.NDArray[np.float32]:
        """Reads the next `count` floating-point numbers: [count] float32, all finite."""
        return self.floats_of(self.integers(2 * count).reshape(-1, 2))

    def flag(self) -> bool:
        """Reads the next flag."""
        char = self.raw(1)
        self.expect(char in (b"0", b"1"), "no flag")
        return char == b"1"

    def text(self) -> str:
        """Reads the next string, a layer's name, which is plain ASCII."""
        name = self.raw(self.integer(0, 255))
        self.expect(name.isascii(), "no name")
        return name.decode("ascii")

    def count(self, high: int = 1 << 12) -> int:
        """Reads the length of the vector that follows."""
        return self.integer(0, high)

    def column(self) -> npt.NDArray[np.float32]:
        """Reads the next matrix, a column of floats: [rows] float32."""
        rows, columns = -self.integer(-(1 << 12), 0), -self.integer(-(1 << 12), 0)
        self.expect(columns == 1, "a matrix that is no column")
        return self.floats(rows)

    def tensor(self) -> npt.NDArray[np.float32]:
        """Reads the next tensor, flat: [samples * channels * rows * columns] float32, all finite."""
        self.integer(2, 2)
        size = prod(self.integer(0) for _ in range(4))
        self.expect(4 * size <= self.left, "a tensor larger than the file")
        values = np.frombuffer(self.raw(4 * size), dtype="<f4").astype(np.float32)
        self.expect(bool(np.isfinite(values).all()), "a weight that is not finite")
        return values

    def finish(self) -> None:
        """Checks that everything has been read."""
        self.expect(self.left == 0, "bytes that should not be there")

    def network(self) -> Network:
        """Reads the next network, which must have a metric-learning loss and an RGB input of fixed size."""
        self.integer(1, 1)
        self.expect(self.text() == "loss_metric_2", "no metric-learning network")
        self.floats(2)  # margin and distance threshold of the training
        wrappers = self._wrappers()
        self.expect(self.text() == "input_rgb_image_sized", "an input layer of another kind")
        red, green, blue = (float(value) for value in self.floats(3))
        size = (self.integer(1, 4096), self.integer(1, 4096))
        layers = [self._layer(version) for version in reversed(wrappers) if version != TAG]
        self.finish()
        return Network((red, green, blue), size, layers)

    def _wrappers(self) -> list[int]:
        """Reads the version numbers of all wrappers, from the outermost to the input layer's."""
        versions: list[int] = []
        while not versions or versions[-1] != INPUT_LAYER:
            self.expect(len(versions) < MAX_WRAPPERS, "too many layers")
            versions.append(self.integer(TAG, INPUT_LAYER))
        return versions

    def _layer(self, version: int) -> Layer:
        kind = self.text()
        layer = Layer(kind, *self._details(kind))
        for _ in range(3):
            self.flag()
        for _ in range(3):  # gradients and outputs cached by the training
            self.tensor()
        if version == INPUT_LAYER:
            self.integer(1, 1)  # samples made of one input
        return layer

    def _details(self, kind: str) -> tuple[tuple[int, ...], npt.NDArray[np.float32]]:
        """Reads a layer's settings and weights; learning rates and the like are dropped."""
        none = np.zeros(0, dtype=np.float32)
        if kind == "con_4":
            weights = self.tensor()
            settings = self._settings(7)  # filters, window (2), stride (2), padding (2)
            settings += self._alias() + self._alias()
            self.floats(4)
            return settings, weights
        if kind == "affine_":
            weights = self.tensor()
            return self._alias() + self._alias() + self._settings(1), weights
        if kind == "fc_2":
            settings = self._settings(2)  # outputs, inputs
            weights = self.tensor()
            settings += self._alias() + self._alias() + self._settings(1)
            self.floats(4)
            return settings, weights
        if kind in ("max_pool_2", "avg_pool_2"):
            return self._settings(6), none  # window (2), stride (2), padding (2)
        self.expect(kind in ("relu_", "add_prev_"), f"a layer of the unknown kind {kind!r}")
        return (), none

    def _settings(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer(0, 1 << 20) for _ in range(count))

    def _alias(self) -> tuple[int, ...]:
        """Reads the shape of a part of a layer's weights, four dimensions after a version number."""
        self.integer(1, 1)
        return self._settings(4)
