from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from image_head import start_from
from safetensors.torch import load_file, save_file

from mien.errors import ModelError
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.generators.preview_head import SHAPES, PreviewHead
from mien.models.hub.shipped import shipped_file


@pytest.fixture(scope="module", params=tuple(SHAPES))
def head(request: pytest.FixtureRequest) -> PreviewHead:
    return PreviewHead.from_file(shipped_file(f"image_head_{request.param}"), request.param)


def inputs(head: PreviewHead, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rng, side = torch.Generator().manual_seed(0), head.size // 2
    features = 40 * torch.randn(count, head.shape.channels, side, side, generator=rng)
    return features, torch.randn(count, 16, 512, generator=rng)


@torch.inference_mode()
def test_shape_and_batches(head: PreviewHead) -> None:
    x, wp = inputs(head, 2)
    together = head(x, wp)
    assert together.shape == (2, 3, head.size, head.size)
    alone = torch.cat([head(x[i : i + 1], wp[i : i + 1]) for i in range(2)])
    assert (together - alone).abs().max() < 1e-4 * together.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize(("y", "x"), [(0, 0), (16, 24), (32, 32)])
def test_a_crop_gives_the_picture_s_part(head: PreviewHead, y: int, x: int) -> None:
    """Away from its edges, where the convolutions see beyond the crop. So training on crops is training on pictures."""
    features, wp = inputs(head)
    whole = head(features, wp)
    part = head(features[:, :, y : y + 32, x : x + 32], wp, (y, x))
    assert part.shape == (1, 3, 64, 64)
    wanted = whole[:, :, 2 * y : 2 * y + 64, 2 * x : 2 * x + 64]
    inner = slice(4, -4)
    assert (part - wanted)[:, :, inner, inner].abs().max() < 1e-4 * whole.abs().max()
    if (y, x) != (0, 0):
        elsewhere = head(features[:, :, y : y + 32, x : x + 32], wp)
        assert (part - elsewhere).abs().max() > 1e-3  # the fixed noise lies elsewhere


@torch.inference_mode()
def test_only_the_layers_that_were_skipped_are_read(head: PreviewHead) -> None:
    x, wp = inputs(head)
    early, late = wp.clone(), wp.clone()
    early[:, : head.shape.first] += 1
    late[:, head.shape.first :] += 1
    assert torch.equal(head(x, early), head(x, wp))
    assert not torch.equal(head(x, late), head(x, wp))


def test_gradients_reach_features_and_codes(head: PreviewHead) -> None:
    x, wp = (tensor.requires_grad_() for tensor in inputs(head))
    head(x, wp).square().mean().backward()
    assert x.grad is not None and bool(x.grad.abs().sum() > 0)
    assert wp.grad is not None and bool((wp.grad[0, head.shape.first :].abs().sum(dim=1) > 0).all())
    assert all(parameter.grad is None for parameter in head.parameters())


def test_half_precision_files_are_read_as_single(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in load_file(shipped_file("image_head_256")).items()}
    save_file(state, tmp_path / "half.safetensors")
    read = PreviewHead.from_file(tmp_path / "half.safetensors", 256)
    assert all(value.dtype == torch.float32 for value in read.state_dict().values())
    assert not read.training and not any(p.requires_grad for p in read.parameters())


@torch.inference_mode()
def test_reduced_precision_gives_nearly_the_same(head: PreviewHead) -> None:
    x, wp = inputs(head)
    exact, rough = head(x, wp), head.reduced(torch.bfloat16)(x, wp)
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).norm() < 0.05 * exact.norm()
    assert torch.equal(head(x, wp), exact)


def test_a_head_that_starts_from_the_generator_has_its_layers(weights: Callable[[str], Path]) -> None:
    generator = MobileStyleGAN.from_file(weights("mobilestylegan"))
    started = PreviewHead(128)
    start_from(started, generator)
    conv = generator.blocks[4].conv1
    rows = torch.cdist(started.pointwise1.weight.flatten(1), conv.weight.flatten(1)).min(dim=1)
    assert rows.values.max() < 5e-3 and len(rows.indices.unique()) == 128  # half of the 256, none twice
    assert torch.equal(started.depthwise1.weight, conv.depthwise)


@pytest.mark.parametrize("damage", ["missing", "text", "lacks", "shape", "more"])
def test_another_file_is_refused(tmp_path: Path, damage: str) -> None:
    path, state = tmp_path / "head.safetensors", load_file(shipped_file("image_head_256"))
    if damage == "text":
        path.write_text("not weights")
    elif damage != "missing":
        if damage == "lacks":
            del state["pointwise1.weight"]
        elif damage == "shape":
            state["pointwise1.weight"] = state["pointwise1.weight"][:3].contiguous()
        else:
            state["other"] = torch.zeros(2)
        save_file(state, path)
    with pytest.raises(ModelError, match=r"head\.safetensors does not hold the preview head"):
        PreviewHead.from_file(path, 256)
