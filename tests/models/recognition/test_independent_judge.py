"""The independent judge gives the vectors that its original file gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.hub.shipped import shipped_file
from mien.models.recognition.independent_judge import IndependentJudge

REFERENCE = Path(__file__).parents[2] / "reference" / "independent_judge.npz"


def images() -> torch.Tensor:
    """The images of reference/make_independent_judge.py, in -1..1."""
    noise = np.random.RandomState(7).randint(0, 256, (3, 112, 112)).astype(np.float32)
    y, x = np.mgrid[:112, :112].astype(np.float32)
    waves = np.stack([127 + 120 * np.sin(x / (5 + 3 * c) + y / (11 - 2 * c)) for c in range(3)])
    flat = np.stack([np.full((112, 112), value) for value in (255, 0, 90)])
    return torch.from_numpy(np.stack([noise, waves, flat]).astype(np.float32)) / 127.5 - 1


@pytest.fixture(scope="module")
def judge() -> IndependentJudge:
    return IndependentJudge.from_file(shipped_file("independent_judge"))


def expected(name: str) -> torch.Tensor:
    return F.normalize(torch.from_numpy(np.load(REFERENCE)[name]), dim=1)


def test_equals_onnxruntime(judge: IndependentJudge) -> None:
    """With the same rounded weights; the scale of the colors is that of the package's own script."""
    assert (judge.identify(images()) - expected("rounded")).abs().max() < 1e-4


def test_16_bits_are_enough(judge: IndependentJudge) -> None:
    """The flat picture is far from any face; faces are nearer to their exact vectors than noise and waves are."""
    cosines = (judge.identify(images()) * expected("embeddings")).sum(dim=1)
    assert cosines[:2].min() > 0.9999 and cosines[2] > 0.9998


def test_its_vectors_have_length_1(judge: IndependentJudge) -> None:
    vectors = judge.identify(images())
    assert vectors.shape == (3, 512)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    state = load_file(shipped_file("independent_judge"))
    save_file(state | {"embed.weight": state["embed.weight"][:192].contiguous()}, tmp_path / "narrow.safetensors")
    (tmp_path / "text.safetensors").write_bytes(b"nothing of the kind")
    for name in ("narrow", "text", "absent"):
        with pytest.raises(ModelError, match=f"{name}.safetensors"):
            IndependentJudge.from_file(tmp_path / f"{name}.safetensors")
