from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from mien.errors import ModelError
from mien.models.recognition.shape_predictor import ShapePredictor, convert_shape_predictor

REFERENCE = Path(__file__).parents[2] / "reference"
MAKE = runpy.run_path(str(REFERENCE / "make_dlib.py"))


def pack(*values: int) -> bytes:
    """Integers below 256 as dlib writes them."""
    return b"".join(bytes([1 | (0x80 if value < 0 else 0), abs(value)]) for value in values)


def floats(*values: int) -> bytes:
    """Quarters as dlib writes floating-point numbers."""
    return b"".join(pack(value, -2) for value in values)


def column(*values: int) -> bytes:
    return pack(-len(values), -1) + floats(*values)


def small(*, first: int = 0, anchor: int = 1, leaves: int = 2) -> bytes:
    """Two points at (0, 0) and (1, 1), and a tree that asks whether one pixel is brighter by 10 than another.

    The first pixel lies at point 0, the second a quarter to the left of point 1.
    """
    tree = pack(1) + pack(first, 1) + floats(40)
    tree += pack(leaves) + b"".join(column(*[4 * k + 1] * 4) for k in range(leaves))
    forests = pack(1) + pack(1) + tree
    return pack(1) + column(0, 0, 4, 4) + forests + pack(1, 2, 0, anchor) + pack(1, 2) + floats(0, 0, -1, 0)


def convert(tmp_path: Path, data: bytes) -> dict[str, Tensor]:
    (tmp_path / "small.dat").write_bytes(data)
    return convert_shape_predictor(tmp_path / "small.dat")


@pytest.fixture(scope="module")
def predictor(weights: Callable[[str], Path]) -> ShapePredictor:
    return ShapePredictor.from_file(weights("shape_predictor"))


@pytest.mark.parametrize("kind", ["waves", "noise"])
def test_matches_dlib(predictor: ShapePredictor, kind: str) -> None:
    expected = np.load(REFERENCE / "dlib.npz")[f"landmarks_{kind}"]
    picture = MAKE[kind](7, 400, 500)
    found = np.stack([predictor(picture, tuple(box)) for box in MAKE["boxes"]().tolist()])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(np.floor(found + 0.5), expected)  # dlib rounds to pixels


def test_a_box_may_lie_outside(predictor: ShapePredictor) -> None:
    picture = np.zeros((50, 60, 3), dtype=np.uint8)
    near, far = predictor(picture, (0, 0, 40, 40)), predictor(picture, (9000, 9000, 9040, 9040))
    np.testing.assert_allclose(far - 9000, near, atol=1e-9)


def test_a_tree_compares_two_pixels(tmp_path: Path) -> None:
    predictor = ShapePredictor(convert(tmp_path, small()))
    box = (10.0, 20.0, 18.0, 28.0)
    bright = np.zeros((40, 40, 3), dtype=np.uint8)
    bright[20, 10] = (30, 2, 0)  # 32 / 3 is cut to 10, which is not brighter by more than 10
    corners = np.array([(10.0, 20.0), (18.0, 28.0)])
    np.testing.assert_allclose(predictor(bright, box), corners + 8 * 1.25)
    bright[20, 10] = (30, 3, 0)
    np.testing.assert_allclose(predictor(bright, box), corners + 8 * 0.25)
    bright[28, 16] = 1  # the second pixel, a quarter of the box to the left of the second point
    np.testing.assert_allclose(predictor(bright, box), corners + 8 * 1.25)


def test_every_truncation_is_a_model_error(tmp_path: Path) -> None:
    data = small()
    for size in range(len(data)):
        with pytest.raises(ModelError):
            convert(tmp_path, data[:size])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(small() + b"\x01", id="bytes behind the end"),
        pytest.param(small(first=2), id="a split that compares a pixel that is not there"),
        pytest.param(small(first=-1), id="a negative pixel"),
        pytest.param(small(anchor=2), id="a pixel anchored to no point"),
        pytest.param(small(leaves=3), id="a tree with too many leaves"),
        pytest.param(small(leaves=0), id="a tree without leaves"),
        pytest.param(pack(1) + column() + small()[22:], id="no points"),
        pytest.param(pack(1) + column(0, 0, 4, 4) + pack(0, 0, 0), id="no cascades"),
        pytest.param(b"\x01\x02" + small()[2:], id="another version"),
    ],
)
def test_what_cannot_be_is_a_model_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelError):
        convert(tmp_path, data)


@settings(max_examples=300)
@given(st.integers(0, len(small()) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_a_model_error(at: int, value: int) -> None:
    data = bytearray(small())
    data[at] = value
    with TemporaryDirectory() as folder:
        try:
            predictor = ShapePredictor(convert(Path(folder), bytes(data)))
        except ModelError:
            return
    assert predictor(np.zeros((40, 40, 3), dtype=np.uint8), (10, 20, 18, 28)).shape[1] == 2


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    state = convert(tmp_path, small())
    save_file({**state, "leaves": torch.zeros(1, 1, 3, 4)}, tmp_path / "other.safetensors")
    save_file({"leaves": state["leaves"]}, tmp_path / "part.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"no safetensors")
    for name in ("other", "part", "noise", "missing"):
        with pytest.raises(ModelError):
            ShapePredictor.from_file(tmp_path / f"{name}.safetensors")


def test_another_image_is_a_value_error(tmp_path: Path) -> None:
    predictor = ShapePredictor(convert(tmp_path, small()))
    for image in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            predictor(image, (0, 0, 5, 5))
