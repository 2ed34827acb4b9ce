"""Every published file is recognized by its keys and shapes; one generator in three formats gives one picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.agreement import assert_image, assert_same
from mien.models.generators.stylegan2 import StyleGAN2
from mien.models.hub.published import recognize

pytestmark = pytest.mark.slow

State = dict[str, Tensor]

TO_ROSINALITY: dict[str, Callable[[Tensor], Tensor]] = {
    "same": lambda x: x, "plus 1": lambda x: x + 1, "unsqueeze(0)": lambda x: x[None],
    "reshape (1,)": lambda x: x.reshape(1), "reshape (4,4)": lambda x: x.reshape(4, 4),
    "reshape (1,3,1,1)": lambda x: x.reshape(1, 3, 1, 1),
    "unsqueeze(0), then flip of both kernel axes": lambda x: x[None].flip(3, 4)}
# The key map gives these in the other direction.
TO_NVIDIA: dict[str, Callable[[Tensor], Tensor]] = {
    "same": lambda x: x, "minus 1": lambda x: x + 1, "unsqueeze(0)": lambda x: x[0],
    "unsqueeze twice to (1,1,r,r)": lambda x: x[0, 0], "flip of both kernel axes": lambda x: x.flip(2, 3)}
WRAPPED: dict[str, Callable[[State], Any]] = {
    "stylegan2_ffhq1024": lambda state: {"generator_smooth": state, "discriminator": {}},
    "rosinality_stylegan2_1024": lambda state: {"g_ema": state, "latent_avg": torch.zeros(512)},
    "nvidia_ada_g_ema_1024": lambda state: {"G": {}, "D": {}, "G_ema": state},
    "e4e_ffhq_encode": lambda state: {"state_dict": state, "latent_avg": torch.zeros(18, 512), "opts": {}},
    "arcface_ir_se50": lambda state: state,
    "farl_vitb16_visual": lambda state: {"state_dict": state},
    "clip_vitb16": lambda state: state | {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77),
                                          "vocab_size": torch.tensor(49408)},
    "clip_vitb32": lambda state: state, "dino_vitb16": lambda state: state, "s3fd": lambda state: state,
    "fan4_2d": lambda state: state}
NAMES = {"rosinality_stylegan2_1024": "stylegan2_ffhq1024", "nvidia_ada_g_ema_1024": "stylegan2_ffhq1024",
         "e4e_ffhq_encode": "e4e", "arcface_ir_se50": "arcface", "farl_vitb16_visual": "farl", "fan4_2d": "fan"}


@pytest.fixture(scope="module")
def genforce(filled: Any) -> State:
    return filled("stylegan2_ffhq1024")


@pytest.fixture(scope="module")
def key_map(fill: Any) -> dict[str, Any]:
    return fill.read_json("stylegan2_key_map")


def shapes(manifest: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {entry["key"]: tuple(entry["shape"]) for entry in manifest["tensors"]}


@pytest.mark.parametrize("name", WRAPPED)
@torch.inference_mode()
def test_names_and_shapes_are_recognized(manifest: Any, name: str) -> None:
    dtypes = {"int64": torch.int64, "float32": torch.float32}
    state = {entry["key"]: torch.zeros((), dtype=dtypes[entry["dtype"]]).expand(entry["shape"])
             for entry in manifest(name)["tensors"]}
    assert recognize(WRAPPED[name](state)).name == NAMES.get(name, name)
    if name.startswith("clip"):
        halved = {key: value.half() for key, value in state.items()}
        found = recognize(WRAPPED[name](halved))
        assert found.name == name and {value.dtype for value in found.state.values()} == {torch.float32}


@torch.inference_mode()
def test_rosinality_by_its_own_vectors(filled: Any, vectors: Any, fill: Any) -> None:
    reference = vectors("rosinality_stylegan2_1024")
    content = {"g_ema": filled("rosinality_stylegan2_1024"), "latent_avg": torch.zeros(512)}
    generator = StyleGAN2(recognize(content).state)
    assert_same(generator.map(torch.from_numpy(fill.normal("rosinality/z", (2, 512)))), reference["w"])
    wp = torch.from_numpy(fill.normal("rosinality/wp", (1, 18, 512)))
    assert_image(generator(wp), reference, "image_from_wp")


def as_rosinality(genforce: State, key_map: dict[str, Any]) -> dict[str, Any]:
    state = {row["rosinality"]: TO_ROSINALITY[row["genforce_to_rosinality"]](genforce[row["genforce"]])
             for row in key_map["genforce_rosinality"]}
    mean = next(key for key in state if "latent_avg" in key)
    return {"latent_avg": state.pop(mean), "g_ema": state}


def as_nvidia(genforce: State, key_map: dict[str, Any], fixed: State) -> dict[str, Any]:
    state = {row["nvidia"]: TO_NVIDIA[row["nvidia_to_genforce"]](genforce[row["genforce"]])
             for row in key_map["nvidia_genforce"]}
    return {"G_ema": fixed | state}


@torch.inference_mode()
def test_three_formats_give_one_picture(genforce: State, key_map: dict[str, Any], manifest: Any, fill: Any) -> None:
    rosinality = as_rosinality(genforce, key_map)
    assert {key: tuple(value.shape) for key, value in rosinality["g_ema"].items()} == shapes(
        manifest("rosinality_stylegan2_1024"))
    entries = manifest("nvidia_ada_g_ema_1024")["tensors"]
    fixed = {entry["key"]: torch.from_numpy(fill.tensor(entry)) for entry in entries if entry["fill"] == "blur"}
    nvidia = as_nvidia(genforce, key_map, fixed)
    assert {key: tuple(value.shape) for key, value in nvidia["G_ema"].items()} == shapes(
        manifest("nvidia_ada_g_ema_1024"))
    wp = torch.from_numpy(fill.normal("stylegan2_ffhq1024/wp", (1, 18, 512)))
    mine = StyleGAN2(recognize({"generator_smooth": genforce}).state)(wp)
    for content in (rosinality, nvidia):
        other = StyleGAN2(recognize(content).state)(wp)
        assert (other - mine).abs().max() <= 3e-6
