"""Implements MobileStyleGAN-FFHQ, the generator of the mobile set (Belousov 2021, arXiv 2104.04767).

It is a distilled StyleGAN2.
W+ has 16 vectors: 0 -> conv1; block i: 2i+1 -> up and conv1, 2i+2 -> conv2; 15 -> to_img. Layers 3..7 drive
the resolutions 16..64, the same that FALCO optimizes in StyleGAN2's 18 vectors. The stored noise maps are
part of the network, so the same code always gives the same image.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Self, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.formats.openvino_ir import Node, read_graph
from mien.models.generators.base import Generator, fit_whitening
from mien.models.hints import FETCH

N_LAYERS = 16
BLOCKS = 7  # 8x8 .. 512x512; to_img doubles once more


def inverse_haar(x: Tensor) -> Tensor:
    """Applies the inverse Haar wavelet transform: [B, 4C, H, W] -> [B, C, 2H, 2W].

    The input's channels are four bands of C: low, LH, HL, HH.
    """
    b, c4, h, w = x.shape
    c = c4 // 4
    if c > 1 and x.is_contiguous(memory_format=torch.channels_last):
        return _inverse_haar_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    low, lh, hl, hh = x.chunk(4, dim=1)
    s, d, t, u = low + lh, low - lh, hl + hh, hl - hh
    top = torch.stack((s + t, s - t), dim=-1)  # [B, C, H, W, 2]
    bottom = torch.stack((d + u, d - u), dim=-1)
    return 0.5 * torch.stack((top, bottom), dim=3).reshape(b, c, 2 * h, 2 * w)


def _inverse_haar_last(x: Tensor) -> Tensor:
    """Does the same in the channels-last layout: [B, H, W, 4C] -> [B, 2H, 2W, C]."""
    b, h, w, c4 = x.shape
    low, lh, hl, hh = x.chunk(4, dim=3)
    s, d, t, u = low + lh, low - lh, hl + hh, hl - hh
    top = torch.cat((s + t, s - t), dim=3)  # [B, H, W, 2C]: two neighbors of a row
    bottom = torch.cat((d + u, d - u), dim=3)
    return 0.5 * torch.stack((top, bottom), dim=2).reshape(b, 2 * h, 2 * w, c4 // 4)


def in_bands(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reorders the weights so that the channels before every wavelet transform are in four bands.

    In the file the three high bands of a channel are adjacent, which would cost strided reads at every step.
    """
    state = dict(state)
    before = ["conv1", *(f"blocks.{i}.conv2" for i in range(BLOCKS - 1)), "to_img"]
    for i, name in enumerate(before):
        channels = state[f"{name}.weight"].shape[0]
        high = torch.arange(channels // 4, channels).view(-1, 3).T.flatten()
        order = torch.cat([torch.arange(channels // 4), high])
        state[f"{name}.weight"] = state[f"{name}.weight"][order]
        state[f"{name}.bias"] = state[f"{name}.bias"][:, order]
        if i < BLOCKS:  # the image itself is not scaled by a style
            for key in (f"blocks.{i}.up.affine", f"blocks.{i}.up.affine_bias"):
                state[key] = state[key][order]
    return state


class Styled(nn.Module):
    """A modulated convolution: the style scales the input channels; the weights include the demodulation."""

    def __init__(self, state: dict[str, Tensor], name: str) -> None:
        super().__init__()
        self.names = [key.removeprefix(f"{name}.") for key in state if key.startswith(f"{name}.")]
        for key in self.names:
            self.register_buffer(key, _last(state[f"{name}.{key}"]))

    affine: Tensor
    affine_bias: Tensor
    depthwise: Tensor
    weight: Tensor
    bias: Tensor
    noise: Tensor

    def modulate(self, x: Tensor, w: Tensor) -> Tensor:
        style = F.linear(w, self.affine, self.affine_bias)  # [B, C]
        return x * style[:, :, None, None].to(x.dtype)

    def reduce(self, precision: torch.dtype) -> None:
        """Converts all weights except the styles' own to this precision."""
        for key in self.names:
            if not key.startswith("affine"):
                setattr(self, key, getattr(self, key).to(precision))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.modulate(x, w)
        if "depthwise" in self.names:
            x = F.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        x = F.conv2d(x, self.weight, self.bias.flatten(), padding=self.weight.shape[-1] // 2)
        # In place: half of a step on a CPU is memory traffic, and both gradients need the result only.
        return F.leaky_relu_(x.add_(self.noise), 0.2)


class Block(nn.Module):
    """Doubles the resolution by a wavelet transform and applies two separable modulated convolutions."""

    def __init__(self, state: dict[str, Tensor], i: int) -> None:
        super().__init__()
        self.up = Styled(state, f"blocks.{i}.up")
        self.conv1 = Styled(state, f"blocks.{i}.conv1")
        self.conv2 = Styled(state, f"blocks.{i}.conv2")

    def forward(self, x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
        x = inverse_haar(self.up.modulate(x, w1))
        return self.conv2(self.conv1(x, w1), w2)  # type: ignore[no-any-return]


class MobileStyleGAN(Generator):
    """Generates faces by mapping, whitening and synthesis; its weights are frozen.

    Codes are float32: [B, 512] (z, v, w) or [B, 16, 512] (W+, whitened).
    """

    const: Tensor
    n_layers = N_LAYERS

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        self.register_buffer("const", _last(state["const"]))
        self.conv1 = Styled(state, "conv1")
        self.blocks = nn.ModuleList(Block(state, i) for i in range(BLOCKS))
        self.to_img = Styled(state, "to_img")
        self.eval()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file lacks a tensor of this network.
        """
        try:
            return cls(in_bands(load_file(path)))
        except (KeyError, OSError, SafetensorError) as error:
            raise ModelError(f"{path} does not hold MobileStyleGAN: {error}", FETCH) from error

    def reduced(self, precision: torch.dtype) -> Self:
        """Returns a copy whose synthesis computes in this precision.

        With matrix units, bfloat16 is several times faster.
        """
        other = copy.deepcopy(self)
        other.const = other.const.to(precision)
        for module in other.modules():
            if isinstance(module, Styled):
                module.reduce(precision)
        return other

    def features(self, wp: Tensor, blocks: int = 5) -> Tensor:
        """Computes the features after a number of blocks, of W+ [B, 16, 512].

        4 blocks give [B, 512, 64, 64], 5 give [B, 256, 128, 128].
        """
        layers = wp.unbind(1)
        x: Tensor = self.conv1(self.const.expand(len(wp), -1, -1, -1), layers[0])  # [B, 512, 4, 4]
        for i in range(blocks):
            x = self.blocks[i](x, layers[2 * i + 1], layers[2 * i + 2])
        return x

    def modulated(self, wp: Tensor, blocks: int) -> Tensor:
        """Computes `features` scaled by the style of the next block's first layer."""
        up = cast(Block, self.blocks[blocks]).up
        return up.modulate(self.features(wp, blocks), wp[:, 2 * blocks + 1])

    def forward(self, wp: Tensor) -> Tensor:
        """Synthesizes images: W+ [B, 16, 512] -> [B, 3, 1024, 1024] in about -1..1."""
        x = self.features(wp, BLOCKS)  # [B, 64, 512, 512]
        x = self.to_img.modulate(x, wp[:, 15])
        return inverse_haar(F.conv2d(x, self.to_img.weight, self.to_img.bias.flatten())).float()


def _last(tensor: Tensor) -> Tensor:
    """Converts to channels last, in which the CPU's depthwise convolutions are twice as fast."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _pick(nodes: list[Node], kind: str) -> list[Node]:
    return [node for node in nodes if node.kind == kind and node.constants]


def _number(node: Node) -> int:
    return int(node.name.rsplit("_", 1)[1].split("/")[0])


def _mapping(nodes: list[Node]) -> dict[str, Tensor]:
    matmuls = sorted(_pick(nodes, "MatMul"), key=_number)
    weights = [m.constants[0] if m.attributes["transpose_b"] == "true" else m.constants[0].T for m in matmuls]
    biases = [n.constants[0] for n in sorted(_pick(nodes, "Reshape"), key=_number)]
    return {"mapping_weight": torch.stack([torch.tensor(w) for w in weights]),
            "mapping_bias": torch.stack([torch.tensor(b) for b in biases])}


def _layer_names() -> list[str]:
    parts = ("up", "conv1", "conv2")
    return ["conv1", *(f"blocks.{i}.{part}" for i in range(BLOCKS) for part in parts), "to_img"]


def _styles(nodes: list[Node]) -> dict[str, Tensor]:
    """Collects the affine layers, which run in the order of their numbers, each Add right after its MatMul."""
    adds = {_number(n): n.constants[0] for n in _pick(nodes, "Add")}
    scales = {_number(n): float(n.constants[0].reshape(-1)[0]) for n in _pick(nodes, "Multiply")
              if n.constants[0].size == 1}
    state: dict[str, Tensor] = {}
    for name, node in zip(_layer_names(), sorted(_pick(nodes, "MatMul"), key=_number), strict=True):
        first = _number(node)
        # MatMul n, Add n+1, Reshape n+7, Multiply n+9; the up-sampling layers have no Multiply
        scale = 1.0 if name.endswith("up") else scales[first + 9]
        state[f"{name}.affine"] = torch.tensor(node.constants[0]) * scale
        state[f"{name}.affine_bias"] = torch.tensor(adds[first + 1].reshape(-1)) * scale
    return state


def _convolutions(nodes: list[Node]) -> dict[str, Tensor]:
    """Collects the convolutions of the synthesis graph: depthwise, pointwise, noise, bias in turn for every layer."""
    names = [name for name in _layer_names() if not name.endswith("up")]
    state: dict[str, Tensor] = {}
    layer = iter(names)
    name, depthwise = "", None
    for node in nodes:
        if node.kind == "GroupConvolution":
            depthwise = torch.tensor(node.constants[0]).flatten(0, 1)  # [C, 1, 3, 3]
        elif node.kind == "Convolution":
            name = next(layer)
            state[f"{name}.weight"] = torch.tensor(node.constants[0])
            if depthwise is not None:
                state[f"{name}.depthwise"], depthwise = depthwise, None
        elif node.kind == "Add" and name and node.constants and node.constants[0].ndim == 4:
            kind = "noise" if node.constants[0].shape[1] == 1 else "bias"
            state[f"{name}.{kind}"] = torch.tensor(node.constants[0])
    state["const"] = torch.tensor(next(n for n in nodes if n.name.startswith("Expand")).constants[0])
    return state


def convert_mobilestylegan(folder: Path) -> dict[str, Tensor]:
    """Converts the wheel's two OpenVINO graphs to this network's state, and adds the whitening.

    Args:
        folder: the folder with `mobilestylegan_ffhq_{mnet,snet}.{xml,bin}`.

    Raises:
        ModelError: the files are not those graphs.
    """
    graphs = [read_graph(*(folder / f"mobilestylegan_ffhq_{part}.{kind}" for kind in ("xml", "bin")))
              for part in ("mnet", "snet")]
    try:
        state = {**_mapping(graphs[0]), **_styles(graphs[1]), **_convolutions(graphs[1])}
        state |= fit_whitening(state["mapping_weight"], state["mapping_bias"])
        return {key: value.contiguous() for key, value in state.items()}
    except (KeyError, StopIteration, ValueError, IndexError) as error:
        raise ModelError(f"the graphs in {folder} are not MobileStyleGAN's: {error}") from error
