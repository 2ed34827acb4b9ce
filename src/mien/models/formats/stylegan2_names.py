"""Renames StyleGAN2's tensors: rosinality's and NVIDIA's files hold the same generator as genforce's.

In genforce's files up-sampling kernels are flipped, and style biases are smaller by 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

State = dict[str, Tensor]


def _layers(size: int) -> Iterator[tuple[int, int]]:
    """Yields (layer, resolution): 4 px has one layer, every other resolution two."""
    yield 0, 4
    layer, resolution = 1, 8
    while resolution <= size:
        yield layer, resolution
        yield layer + 1, resolution
        layer, resolution = layer + 2, resolution * 2


def from_rosinality(state: State, mean: Tensor) -> State:
    """Renames the tensors of a rosinality file to genforce's names.

    Args:
        state: its `g_ema`. mean: its `latent_avg`.

    Raises:
        KeyError: a tensor is missing.
    """
    found: State = {"truncation.w_avg": mean.reshape(-1, 512)[0], "synthesis.early_layer.const": state["input.input"]}
    for i in range(8):
        for kind in ("weight", "bias"):
            found[f"mapping.dense{i}.{kind}"] = state[f"style.{i + 1}.{kind}"]
    size = 4 * 2 ** (sum(key.startswith("to_rgbs.") and key.endswith("conv.weight") for key in state))
    for layer, resolution in _layers(size):
        theirs, ours = "conv1" if layer == 0 else f"convs.{layer - 1}", f"synthesis.layer{layer}"
        found |= _modulated(state, theirs, ours, up=layer % 2 == 1)
        found[f"{ours}.bias"] = state[f"{theirs}.activate.bias"]
        found[f"{ours}.noise_strength"] = state[f"{theirs}.noise.weight"].reshape(())
        # Some files lack the noise maps, and their code then draws random noise, whose mean is zero.
        none = state["input.input"].new_zeros(1, 1, resolution, resolution)
        found[f"{ours}.noise"] = state.get(f"noises.noise_{layer}", none)
        if layer % 2 == 0:
            rgb = "to_rgb1" if layer == 0 else f"to_rgbs.{layer // 2 - 1}"
            found |= _modulated(state, rgb, f"synthesis.output{layer // 2}", up=False)
            found[f"synthesis.output{layer // 2}.bias"] = state[f"{rgb}.bias"].reshape(3)
    return found


def _modulated(state: State, theirs: str, ours: str, up: bool) -> State:
    weight = state[f"{theirs}.conv.weight"][0]
    return {f"{ours}.weight": weight.flip(2, 3) if up else weight,
            f"{ours}.style.weight": state[f"{theirs}.conv.modulation.weight"],
            f"{ours}.style.bias": state[f"{theirs}.conv.modulation.bias"] - 1}


def from_nvidia(state: State) -> State:
    """Renames the tensors of an NVIDIA pickle's `G_ema` to genforce's names.

    Raises:
        KeyError: a tensor is missing.
    """
    found: State = {"truncation.w_avg": state["mapping.w_avg"],
                    "synthesis.early_layer.const": state["synthesis.b4.const"][None]}
    for i in range(8):
        for kind in ("weight", "bias"):
            found[f"mapping.dense{i}.{kind}"] = state[f"mapping.fc{i}.{kind}"]
    size = max(int(key.split(".")[1][1:]) for key in state if key.startswith("synthesis.b"))
    for layer, resolution in _layers(size):
        up = layer % 2 == 1
        theirs, ours = f"synthesis.b{resolution}.conv{0 if up else 1}", f"synthesis.layer{layer}"
        weight = state[f"{theirs}.weight"]
        found |= {f"{ours}.weight": weight.flip(2, 3) if up else weight, **_affine(state, theirs, ours),
                  f"{ours}.noise_strength": state[f"{theirs}.noise_strength"].reshape(()),
                  f"{ours}.noise": state[f"{theirs}.noise_const"][None, None]}
        if not up:
            theirs, ours = f"synthesis.b{resolution}.torgb", f"synthesis.output{layer // 2}"
            found |= {f"{ours}.weight": state[f"{theirs}.weight"], **_affine(state, theirs, ours)}
    return found


def _affine(state: State, theirs: str, ours: str) -> State:
    return {f"{ours}.bias": state[f"{theirs}.bias"], f"{ours}.style.weight": state[f"{theirs}.affine.weight"],
            f"{ours}.style.bias": state[f"{theirs}.affine.bias"] - 1}
