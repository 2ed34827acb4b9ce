from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from mien.errors import ModelError
from mien.models.formats.dlib_archive import Layer
from mien.models.recognition.dlib_resnet import DlibResNet, _fold, convert_dlib_resnet

REFERENCE = Path(__file__).parents[2] / "reference"
MAKE = runpy.run_path(str(REFERENCE / "make_dlib.py"))


@pytest.fixture(scope="module")
def network(weights: Callable[[str], Path]) -> DlibResNet:
    return DlibResNet.from_file(weights("dlib_resnet"))


@pytest.mark.parametrize("kind", ["waves", "noise"])
def test_matches_dlib(network: DlibResNet, kind: str) -> None:
    expected = np.load(REFERENCE / "dlib.npz")[f"{kind.removesuffix('s')}_descriptors"]
    chips = np.stack([MAKE[kind](seed, 150, 150) for seed in range(len(expected))])
    found = network(torch.from_numpy(chips).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_lends_no_gradients(network: DlibResNet) -> None:
    x = torch.rand(1, 3, 150, 150, requires_grad=True)
    with torch.enable_grad():
        y = network(x)
    assert not y.requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(3, 150, 150), (1, 3, 112, 112), (1, 1, 150, 150)])
def test_another_shape_is_a_value_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="150"):
        DlibResNet()(torch.zeros(shape))


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    gamma, beta, x = torch.randn(4), torch.randn(4), torch.randn(2, 3, 9, 9)
    conv = Layer("con_4", (), torch.cat([weight.ravel(), bias]).numpy())
    folded = _fold(conv, Layer("affine_", (), torch.cat([gamma, beta]).numpy()), weight.shape)
    expected = F.conv2d(x, weight, bias) * gamma.view(-1, 1, 1) + beta.view(-1, 1, 1)
    torch.testing.assert_close(F.conv2d(x, *folded), expected, rtol=1e-5, atol=1e-5)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    save_file({"mean": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"no safetensors")
    for name in ("other", "noise", "missing"):
        with pytest.raises(ModelError, match=name):
            DlibResNet.from_file(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("data", [b"", b"\x01\x01", b"PK\x03\x04", bytes(1000)])
def test_converting_something_else(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.dat").write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.dat"):
        convert_dlib_resnet(tmp_path / "model.dat")
