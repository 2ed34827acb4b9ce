from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from helpers.nvidia_pickles import write_snapshot
from mien.errors import ModelError
from mien.models.formats.torch_file import read_checkpoint, tensors_of


@pytest.fixture
def state() -> dict[str, Tensor]:
    shapes = {"mapping.w_avg": (8,), "mapping.fc0.weight": (8, 8), "mapping.fc0.bias": (8,),
              "synthesis.b4.const": (8, 4, 4), "synthesis.b4.conv1.weight": (8, 8, 3, 3),
              "synthesis.b4.conv1.noise_strength": (), "synthesis.b4.conv1.noise_const": (4, 4),
              "synthesis.b4.conv1.affine.bias": (8,), "synthesis.b4.torgb.weight": (3, 8, 1, 1)}
    state = {key: torch.randn(shape, generator=torch.Generator().manual_seed(i))
             for i, (key, shape) in enumerate(shapes.items())}
    state["synthesis.b4.torgb.weight"] = torch.randn(8, 3, 1, 1).transpose(0, 1)  # strides unlike its shape's
    return state


@pytest.mark.parametrize("protocol", [3, 4])
def test_tensors_arrive_exactly_and_no_source_is_run(tmp_path: Path, state: dict[str, Tensor], protocol: int) -> None:
    file = write_snapshot(tmp_path / "ffhq.pkl", state, tmp_path / "executed", protocol)
    with pytest.raises((ModuleNotFoundError, AttributeError)):  # it is what an ordinary unpickler cannot read
        pickle.loads(file.read_bytes())
    found = tensors_of(read_checkpoint(file)["G_ema"])
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) and found[key].shape == state[key].shape for key in state)
    assert not any(value.requires_grad for value in found.values())
    assert not (tmp_path / "executed").exists()
    assert "torch_utils" not in sys.modules and "dnnlib" not in sys.modules


def test_a_pickle_of_tensorflow_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "stylegan2-ffhq-config-f.pkl").write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81.")
    with pytest.raises(ModelError, match=r"dnnlib\.tflib\.network\.Network"):
        read_checkpoint(tmp_path / "stylegan2-ffhq-config-f.pkl")
