from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mien.errors import ModelError
from mien.models.image_head import FIRST, ImageHead
from mien.models.sets import shipped_file


@pytest.fixture(scope="module")
def head() -> ImageHead:
    return ImageHead.from_file(shipped_file("image_head"))


def inputs(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(count, 512, 64, 64, generator=rng), torch.randn(count, 16, 512, generator=rng)


@torch.inference_mode()
def test_shape_and_batches(head: ImageHead) -> None:
    x, wp = inputs(2)
    together = head(x, wp)
    assert together.shape == (2, 3, 256, 256)
    alone = torch.cat([head(x[i : i + 1], wp[i : i + 1]) for i in range(2)])
    assert (together - alone).abs().max() < 1e-4 * together.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize(("y", "x"), [(0, 0), (16, 24), (32, 32)])
def test_a_crop_gives_the_picture_s_part(head: ImageHead, y: int, x: int) -> None:
    """Away from its edges, where the convolutions see beyond the crop. So training on crops is training on pictures."""
    features, wp = inputs()
    whole = head(features, wp)
    part = head(features[:, :, y : y + 32, x : x + 32], wp, (y, x))
    assert part.shape == (1, 3, 128, 128)
    wanted = whole[:, :, 4 * y : 4 * y + 128, 4 * x : 4 * x + 128]
    inner = slice(8, -8)
    assert (part - wanted)[:, :, inner, inner].abs().max() < 1e-4 * whole.abs().max()
    if (y, x) != (0, 0):
        elsewhere = head(features[:, :, y : y + 32, x : x + 32], wp)
        assert (part - elsewhere).abs().max() > 1e-3  # the fixed noise lies elsewhere


@torch.inference_mode()
def test_only_the_layers_that_were_skipped_are_read(head: ImageHead) -> None:
    x, wp = inputs()
    early, late = wp.clone(), wp.clone()
    early[:, :FIRST] += 1
    late[:, FIRST:] += 1
    assert torch.equal(head(x, early), head(x, wp))
    assert not torch.equal(head(x, late), head(x, wp))


def test_gradients_reach_features_and_codes(head: ImageHead) -> None:
    x, wp = (tensor.requires_grad_() for tensor in inputs())
    head(x, wp).square().mean().backward()
    assert x.grad is not None and bool(x.grad.abs().sum() > 0)
    assert wp.grad is not None and bool((wp.grad[0, FIRST:].abs().sum(dim=1) > 0).all())
    assert all(parameter.grad is None for parameter in head.parameters())


def test_half_precision_files_are_read_as_single(tmp_path: Path, head: ImageHead) -> None:
    state = {key: value.half() for key, value in load_file(shipped_file("image_head")).items()}
    save_file(state, tmp_path / "half.safetensors")
    read = ImageHead.from_file(tmp_path / "half.safetensors")
    assert all(value.dtype == torch.float32 for value in read.state_dict().values())
    assert not read.training and not any(p.requires_grad for p in read.parameters())


@pytest.mark.parametrize("damage", ["missing", "text", "lacks", "shape", "more"])
def test_another_file_is_refused(tmp_path: Path, damage: str) -> None:
    path, state = tmp_path / "head.safetensors", load_file(shipped_file("image_head"))
    if damage == "text":
        path.write_text("not weights")
    elif damage != "missing":
        if damage == "lacks":
            del state["mix.weight"]
        elif damage == "shape":
            state["mix.weight"] = state["mix.weight"][:3].contiguous()
        else:
            state["other"] = torch.zeros(2)
        save_file(state, path)
    with pytest.raises(ModelError, match=r"head\.safetensors does not hold the image head"):
        ImageHead.from_file(path)
