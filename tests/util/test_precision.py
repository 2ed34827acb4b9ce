"""Networks in bfloat16 say about the same as in float32, and hand out float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mien.models.features.vit import VisionTransformer
from mien.models.features.vit import expected_shapes as vit_shapes
from mien.models.generators.stylegan2 import StyleGAN2, expected_shapes, prepare_stylegan2
from mien.models.model_sets import model_set
from mien.models.recognition.arcface import ArcFace
from mien.recipe import Recipe
from mien.util.precision import fastest, reduced


def seeded(shapes: dict[str, tuple[int, ...]], scale: float) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {key: scale * torch.randn(shape, generator=rng) for key, shape in shapes.items()}


@pytest.mark.slow
def test_stylegan2() -> None:
    generator = StyleGAN2(prepare_stylegan2(seeded(expected_shapes(512), 1.0)))
    codes = torch.randn(2, 16, 512, generator=torch.Generator().manual_seed(1))
    pictures, gradients = [], []
    for precision in (torch.float32, torch.bfloat16):
        wp = codes.clone().requires_grad_()
        image = generator(wp, 64, precision)
        assert image.dtype == torch.float32
        image.square().mean().backward()
        pictures.append(image.detach())
        gradients.append(wp.grad)
    for exact, rough in (pictures, gradients):
        assert exact is not None and rough is not None
        assert 0 < (exact - rough).norm() < 0.05 * exact.norm()


def test_arcface() -> None:
    state = ArcFace().state_dict()
    for i, (key, value) in enumerate(state.items()):
        if key.endswith("weight") and value.ndim > 1:
            rng = torch.Generator().manual_seed(i)
            state[key] = torch.randn(value.shape, generator=rng) / value[0].numel() ** 0.5
    chip = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    vectors = []
    for precision in (torch.float32, torch.bfloat16):
        network = ArcFace(precision)
        network.load_state_dict(state)
        vectors.append(network(chip))
        assert vectors[-1].dtype == torch.float32
    assert not torch.equal(*vectors) and (vectors[0] * vectors[1]).sum(dim=1).min() > 0.99


def test_vision_transformer() -> None:
    shapes = {key: shape for key, shape in vit_shapes(32, clip=True).items() if ".resblocks." not in key
              or key.split(".")[2] == "0"}
    state = seeded(shapes, 0.03)
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    exact, rough = (VisionTransformer(state, precision).tokens(image) for precision in (torch.float32, torch.bfloat16))
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).norm() < 0.03 * exact.norm()


def test_float32_changes_nothing() -> None:
    a, b = torch.randn(2, 9, 9)
    with reduced(a, torch.float32):
        assert torch.equal(a @ b, torch.matmul(a, b)) and (a @ b).dtype == torch.float32


def test_auto_is_settled_by_machine_and_set() -> None:
    falco = Recipe.load("falco")
    assert falco.precision == "auto" and falco.settled().precision == fastest() in ("float32", "bfloat16")
    assert falco.with_changes({"models": "mobile", "features": "auto"}).settled().precision == fastest()
    for fixed in ("float32", "bfloat16"):
        assert falco.with_changes({"precision": fixed}).settled().precision == fixed
    assert Recipe.load("falco-reference").settled().precision == "float32"


def test_a_processor_with_units_for_it_is_fastest_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for units, expected in (({"amx_bf16": True}, "bfloat16"), ({"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
                            ({"amx_bf16": False, "avx512_bf16": False}, "float32"), ({}, "float32")):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda units=units: units)
        assert fastest() == expected


def test_the_mobile_set_looks_in_bfloat16_and_renders_in_float32(weights: Callable[[str], Path]) -> None:
    chosen = model_set("mobile")
    exact, rough = (chosen.load(chosen.gather(), precision=precision) for precision in ("float32", "bfloat16"))
    wp = exact.generator.color(torch.randn(1, 1, 512, generator=torch.Generator().manual_seed(3)).repeat(1, 16, 1))
    a, b = exact.preview(wp), rough.preview(wp)
    assert b.dtype == torch.float32
    assert 0 < (a - b).square().mean() < 4e-3 * a.square().mean()
    assert torch.equal(exact.render(wp), rough.render(wp))
