from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mien.errors import ModelError
from mien.models.recognition.sface import TEMPLATE, SFace, align_matrix, convert_sface

REFERENCE = Path(__file__).parents[2] / "reference"
Weights = Callable[[str], Path]


def images() -> torch.Tensor:
    """The images of reference/make_sface.py."""
    noise = np.random.RandomState(7).randint(0, 256, (3, 112, 112)).astype(np.float32)
    y, x = np.mgrid[:112, :112].astype(np.float32)
    waves = np.stack([127 + 120 * np.sin(x / (5 + 3 * c) + y / (11 - 2 * c)) for c in range(3)])
    flat = np.stack([np.full((112, 112), value) for value in (255, 0, 90)])
    return torch.from_numpy(np.stack([noise, waves, flat]).astype(np.float32))


@pytest.fixture(scope="module")
def sface(weights: Weights) -> SFace:
    return SFace.from_file(weights("sface"))


def test_equals_onnxruntime(sface: SFace) -> None:
    expected = np.load(REFERENCE / "sface.npz")["embeddings"]
    error = np.linalg.norm(sface(images()).numpy() - expected, axis=1) / np.linalg.norm(expected, axis=1)
    # Noise and waves; the flat picture is far from any face, and onnxruntime's own rounding there is 5e-6.
    assert error[:2].max() < 4e-6
    assert error[2] < 1e-5


def test_float64_agrees_with_float32(sface: SFace, weights: Weights) -> None:
    exact = SFace.from_file(weights("sface")).double()(images().double())
    # float32 sums over 50,176 terms: up to 1e-5 off, with the processor and the number of threads
    assert ((sface(images()) - exact).norm(dim=1) / exact.norm(dim=1)).max() < 2e-5


def test_gradients_reach_the_input_and_no_weight(sface: SFace) -> None:
    x = images()[:1].requires_grad_()
    sface(x).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in sface.parameters())
    assert not sface.train().training


def test_a_batch_is_its_members(sface: SFace) -> None:
    x = images()
    alone = torch.cat([sface(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(sface(x), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 112, 112), (1, 1, 112, 112), (1, 3, 128, 128)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="112"):
        SFace()(torch.zeros(shape))


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nothing of the kind")
    for name in ("a", "b", "absent"):
        with pytest.raises(ModelError, match=f"{name}.safetensors"):
            SFace.from_file(tmp_path / f"{name}.safetensors")
        with pytest.raises(ModelError, match=f"{name}.safetensors"):
            convert_sface(tmp_path / f"{name}.safetensors")


def test_weights_are_contiguous_float32(weights: Weights) -> None:
    state = load_file(weights("sface"))
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in state.values())
    assert sum(tensor.numel() for tensor in state.values()) < 10_000_000


angles = st.floats(-np.pi, np.pi)
shifts = st.floats(-500, 500)


@given(angles, st.floats(0.05, 20), shifts, shifts)
def test_a_moved_template_is_moved_back(angle: float, scale: float, right: float, down: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T + (right, down)
    matrix = align_matrix(points)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-6)


def test_no_similarity_is_nearer_to_the_template() -> None:
    random = np.random.RandomState(1)
    points = TEMPLATE * 2 + random.randn(5, 2) * 9
    matrix = align_matrix(points)

    def error(candidate: np.ndarray) -> float:
        return float(np.square(points @ candidate[:, :2].T + candidate[:, 2] - TEMPLATE).sum())

    for _ in range(200):
        a, b, x, y = random.randn(4) * (0.02, 0.02, 1, 1)
        assert error(matrix + np.array([[a, -b, x], [b, a, y]])) >= error(matrix)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    matrix = align_matrix(TEMPLATE * (-1, 1))
    assert np.linalg.det(matrix[:, :2]) > 0
    assert abs(matrix[0, 0] - matrix[1, 1]) < 1e-12
    assert abs(matrix[0, 1] + matrix[1, 0]) < 1e-12


def test_matrix_is_what_opencv_takes() -> None:
    points = TEMPLATE * 3 + (40, 20)
    image = np.zeros((420, 420), np.uint8)
    cv2.circle(image, tuple(int(v) for v in points[2].round()), 6, 255, -1)
    chip = cv2.warpAffine(image, align_matrix(points), (112, 112), flags=cv2.INTER_AREA)
    y, x = np.unravel_index(chip.argmax(), chip.shape)
    assert abs(x - TEMPLATE[2, 0]) < 3
    assert abs(y - TEMPLATE[2, 1]) < 3


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2)), TEMPLATE * np.inf]
)
def test_points_that_say_nothing_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError), np.errstate(invalid="ignore"):
        align_matrix(points)
