"""StyleGAN2 against its textbook form: weights modulated for each sample, zeros inserted, then a low-pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.models.formats.stylegan2_names import from_nvidia, from_rosinality
from mien.models.generators.base import DIM, SQRT2
from mien.models.generators.stylegan2 import Layer, StyleGAN2, expected_shapes, prepare_stylegan2

SIZE = 16  # the generator of the tests: three resolutions, 6 codes


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A small generator under genforce's names."""
    return {key: noise(shape, i) * (100 if key.startswith("mapping.dense") and len(shape) == 2 else 1)
            for i, (key, shape) in enumerate(expected_shapes(SIZE).items())}


@pytest.fixture(scope="module")
def generator(published: dict[str, Tensor]) -> StyleGAN2:
    return StyleGAN2(prepare_stylegan2(published))


def textbook(x: Tensor, w: Tensor, state: dict[str, Tensor], name: str, up: bool) -> Tensor:
    """One layer, one sample at a time, the weights scaled and normalized, up-sampled by inserted zeros."""
    weight = state[f"{name}.weight"]
    style = w @ (state[f"{name}.style.weight"] / DIM**0.5).T + state[f"{name}.style.bias"] + 1
    rows = []
    for i in range(len(x)):
        kernel = weight / weight[0].numel() ** 0.5 * style[i][None, :, None, None]
        kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        y = x[i : i + 1]
        if up:
            zeros = torch.zeros(1, y.shape[1], 2 * y.shape[2] - 1, 2 * y.shape[3] - 1)
            zeros[:, :, ::2, ::2] = y
            # a transposed convolution with the kernel turned round is a plain one with the kernel as it is
            y = F.conv2d(zeros, kernel, padding=2)
            taps = torch.tensor([1.0, 3, 3, 1])
            low_pass = torch.outer(taps, taps) / 64 * 4
            y = torch.cat([F.conv2d(channel[None], low_pass[None, None], padding=1) for channel in y[0][:, None]], 1)
        else:
            y = F.conv2d(y, kernel, padding=1)
        rows.append(y)
    y = torch.cat(rows) + state[f"{name}.noise"] * state[f"{name}.noise_strength"]
    y = y + state[f"{name}.bias"][:, None, None]
    return torch.where(y > 0, y, 0.2 * y) * SQRT2


@torch.inference_mode()
@pytest.mark.parametrize("number", [2, 3])
def test_a_layer_is_the_textbook_one(published: dict[str, Tensor], number: int) -> None:
    name, up = f"synthesis.layer{number}", number % 2 == 1
    x, w = noise((2, DIM, 8, 8), 1), noise((2, DIM), 2)
    layer = Layer(published, name, up)
    ours, theirs = layer(x, layer.style(w)), textbook(x, w, published, name, up)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-4 * theirs.std()


@torch.inference_mode()
def test_the_image_is_the_sum_of_all_outputs(generator: StyleGAN2, published: dict[str, Tensor]) -> None:
    wp = noise((2, generator.n_layers, DIM), 3)
    x = published["synthesis.early_layer.const"].expand(2, -1, -1, -1)
    image: Tensor | None = None
    for i in range(5):
        x = textbook(x, wp[:, i], published, f"synthesis.layer{i}", up=i % 2 == 1)
        if i % 2 == 0:
            name = f"synthesis.output{i // 2}"
            style = wp[:, i + 1] @ (published[f"{name}.style.weight"] / DIM**0.5).T
            style = style + published[f"{name}.style.bias"] + 1
            weight = published[f"{name}.weight"][:, :, 0, 0] / DIM**0.5
            rgb = torch.einsum("oc,bc,bchw->bohw", weight, style, x) + published[f"{name}.bias"][:, None, None]
            if image is not None:
                # doubling with [1, 3, 3, 1] is linear interpolation, black beyond the edge
                wide = F.interpolate(F.pad(image, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")
                rgb = rgb + wide[:, :, 2:-2, 2:-2]
            image = rgb
    ours = generator(wp)
    assert image is not None and ours.shape == (2, 3, SIZE, SIZE)
    assert (ours - image).abs().max() < 1e-4 * image.std()


@torch.inference_mode()
def test_a_smaller_image_ends_early_and_styles_say_the_same(generator: StyleGAN2) -> None:
    wp = noise((2, generator.n_layers, DIM), 4)
    small = generator(wp, 8)
    assert small.shape == (2, 3, 8, 8)
    changed = wp.clone()
    changed[:, 4:] += 1  # the codes of the last layers
    assert torch.equal(generator(changed, 8), small)
    assert not torch.equal(generator(changed), generator(wp))
    assert torch.equal(generator.synthesize(generator.styles(wp)), generator(wp))
    one = torch.cat([generator(row[None]) for row in wp])
    assert (one - generator(wp)).abs().max() < 1e-4
    with pytest.raises(ValueError, match="no output of 10 px"):
        generator(wp, 10)


def rosinality(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    found = {"input.input": state["synthesis.early_layer.const"]}
    for i in range(8):
        for kind in ("weight", "bias"):
            found[f"style.{i + 1}.{kind}"] = state[f"mapping.dense{i}.{kind}"]
    for i in range(5):
        name, ours = ("conv1" if i == 0 else f"convs.{i - 1}"), f"synthesis.layer{i}"
        weight = state[f"{ours}.weight"]
        found |= {f"{name}.conv.weight": (weight.flip(2, 3) if i % 2 else weight)[None],
                  f"{name}.conv.modulation.weight": state[f"{ours}.style.weight"],
                  f"{name}.conv.modulation.bias": state[f"{ours}.style.bias"] + 1,
                  f"{name}.activate.bias": state[f"{ours}.bias"],
                  f"{name}.noise.weight": state[f"{ours}.noise_strength"][None],
                  f"noises.noise_{i}": state[f"{ours}.noise"]}
    for i in range(3):
        name, ours = ("to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"), f"synthesis.output{i}"
        found |= {f"{name}.conv.weight": state[f"{ours}.weight"][None],
                  f"{name}.conv.modulation.weight": state[f"{ours}.style.weight"],
                  f"{name}.conv.modulation.bias": state[f"{ours}.style.bias"] + 1,
                  f"{name}.bias": state[f"{ours}.bias"].reshape(1, 3, 1, 1)}
    return found, state["truncation.w_avg"]


def nvidia(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {"mapping.w_avg": state["truncation.w_avg"], "synthesis.b4.const": state["synthesis.early_layer.const"][0]}
    for i in range(8):
        for kind in ("weight", "bias"):
            found[f"mapping.fc{i}.{kind}"] = state[f"mapping.dense{i}.{kind}"]
    for i in range(5):
        side = 4 * 2 ** ((i + 1) // 2)
        name, ours = f"synthesis.b{side}.conv{0 if i % 2 else 1}", f"synthesis.layer{i}"
        weight = state[f"{ours}.weight"]
        found |= {f"{name}.weight": weight.flip(2, 3) if i % 2 else weight, f"{name}.bias": state[f"{ours}.bias"],
                  f"{name}.noise_strength": state[f"{ours}.noise_strength"],
                  f"{name}.noise_const": state[f"{ours}.noise"][0, 0],
                  f"{name}.affine.weight": state[f"{ours}.style.weight"],
                  f"{name}.affine.bias": state[f"{ours}.style.bias"] + 1}
    for i in range(3):
        name, ours = f"synthesis.b{4 * 2**i}.torgb", f"synthesis.output{i}"
        found |= {f"{name}.weight": state[f"{ours}.weight"], f"{name}.bias": state[f"{ours}.bias"],
                  f"{name}.affine.weight": state[f"{ours}.style.weight"],
                  f"{name}.affine.bias": state[f"{ours}.style.bias"] + 1}
    return found


def test_three_sets_of_names_are_one_generator(published: dict[str, Tensor]) -> None:
    for found in (from_rosinality(*rosinality(published)), from_nvidia(nvidia(published))):
        assert found.keys() == published.keys()
        assert all((found[key] - published[key]).abs().max() < 1e-6 for key in published)


def test_a_rosinality_file_without_noise_has_none(published: dict[str, Tensor]) -> None:
    state, mean = rosinality(published)
    quiet = from_rosinality({key: value for key, value in state.items() if "noises" not in key}, mean)
    assert quiet["synthesis.layer4.noise"].shape == (1, 1, 16, 16) and not quiet["synthesis.layer4.noise"].any()


def test_whitening_is_unit_normal_and_invertible(generator: StyleGAN2) -> None:
    w = generator.map(noise((4000, DIM), 5))
    v = generator.whiten(w)
    assert (generator.color(v) - w).abs().max() < 1e-3 * w.std()
    strong = v[:, generator.whiten_spread > 0.05]
    assert abs(strong.var() - 1) < 0.15
