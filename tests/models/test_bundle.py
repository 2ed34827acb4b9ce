from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from helpers.generated_people import Generated
from mien.errors import ModelError
from mien.models.bundle import Networks
from mien.models.generators.preview_head import PreviewHead
from mien.models.hub.shipped import SHIPPED, shipped_file
from mien.models.model_sets import MOBILE, model_set


def test_all_networks_that_gradients_pass_are_frozen(networks: Networks) -> None:
    for network in (networks.generator, networks.features.attributes, networks.recognizer):
        assert not network.training
        assert not any(tensor.requires_grad for tensor in [*network.parameters(), *network.buffers()])


@pytest.mark.parametrize(("size", "blocks"), [(256, 5), (128, 4)])
def test_a_preview_is_the_head_s_on_the_generator_s_middle(networks: Networks, generated: Generated, size: int,
                                                        blocks: int) -> None:
    with torch.inference_mode():
        wp = networks.generator.color(generated.codes[:1, None].expand(-1, 16, -1))
        preview = networks.preview(wp, size)
        features = networks.generator.modulated(wp, blocks)
        assert preview.shape == (1, 3, size, size)
        assert torch.equal(preview, PreviewHead.from_file(shipped_file(f"image_head_{size}"), size)(features, wp))


@pytest.mark.parametrize("size", [256, 128])
def test_a_preview_resembles_the_full_output(networks: Networks, generated: Generated, size: int) -> None:
    """On codes that were in nobody's training. The real bar lies where the head is trained."""
    with torch.inference_mode():
        preview = networks.preview(networks.generator.color(generated.codes[:, None].expand(-1, 16, -1)), size)
        full = F.interpolate(generated.full, size=(size, size), mode="area")
    error = (preview.clamp(-1, 1) - full.clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    assert (10 * torch.log10(4 / error)).min() > 20


def test_a_preview_has_gradients_for_the_layers_that_move(networks: Networks, generated: Generated) -> None:
    wp = networks.generator.color(generated.codes[:1, None].repeat(1, 16, 1)).requires_grad_()
    networks.preview(wp).square().mean().backward()
    assert wp.grad is not None
    assert (wp.grad[0].abs().sum(dim=1) > 0).all()


def test_render_is_the_generator_one_by_one(networks: Networks, generated: Generated) -> None:
    assert generated.full.shape == (2, 3, 1024, 1024)
    with torch.inference_mode():
        wp = networks.generator.color(generated.codes[1:, None].expand(-1, 16, -1))
        assert (networks.generator(wp) - generated.full[1:]).abs().max() < 0.02
    assert not generated.full.requires_grad


@pytest.mark.parametrize("name", [name for name in MOBILE if name != "yunet"])
def test_a_file_that_is_not_the_network_is_named(weights: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    chosen = model_set("mobile")
    paths = chosen.gather()
    for other in (tmp_path / "missing.safetensors", weights("yunet")):
        with pytest.raises(ModelError) as caught:
            chosen.load(paths | {name: other})
        assert other.name in caught.value.message


def test_the_trained_networks_ship_with_the_package() -> None:
    assert all(one.path.is_file() for one in SHIPPED.values())
    assert sum(one.path.stat().st_size for one in SHIPPED.values()) < 60_000_000
