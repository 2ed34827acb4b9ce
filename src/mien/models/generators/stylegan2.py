"""Implements StyleGAN2 (Karras et al. 2020, arXiv 1912.04958) with skip outputs, in plain tensor operations.

W+ has two vectors a resolution: layer k reads vector k, the RGB output after layer 2i reads vector 2i + 1. The
names of the weights are genforce's. Modulation scales a layer's input and demodulation its output, which is
the same as scaling the weights of each sample, but lets a batch share one convolution. Weights are stored channels
last, which makes the CPU's convolutions faster, in bfloat16 several times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.generators.base import DIM, SQRT2, Generator, fit_whitening
from mien.models.hints import IMPORT

MAPPING_LAYERS = 8
MAPPING_RATE = 0.01  # the mapping's learning-rate factor, part of the published network
TAPS = (1.0, 3.0, 3.0, 1.0)

Styles = list[Tensor]


class Layer(nn.Module):
    """A modulated 3x3 convolution with stored noise; odd layers also up-sample.

    Shapes: x [B, in, H, W], style [B, in] -> [B, out, H, W] or [B, out, 2H, 2W], in the precision of x.
    """

    affine: Tensor
    affine_bias: Tensor
    weight: Tensor
    squares: Tensor
    bias: Tensor
    noise: Tensor
    blur: Tensor

    def __init__(self, state: dict[str, Tensor], name: str, up: bool) -> None:
        super().__init__()
        self.up = up
        weight = state[f"{name}.weight"]
        weight = weight * (weight[0].numel() ** -0.5)
        self.register_buffer("affine", state[f"{name}.style.weight"] * DIM**-0.5)
        self.register_buffer("affine_bias", state[f"{name}.style.bias"] + 1)
        self.register_buffer("squares", weight.square().sum(dim=(2, 3)))  # [out, in]
        # genforce's transposed convolution flips the kernel
        weight = weight.flip(2, 3).transpose(0, 1) if up else weight
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", state[f"{name}.bias"])
        self.register_buffer("noise", state[f"{name}.noise"] * state[f"{name}.noise_strength"])
        if up:
            self.register_buffer("blur", blur_kernel(weight.shape[1]))

    def style(self, w: Tensor) -> Tensor:
        """Computes the style [B, in] of w [B, 512]."""
        return F.linear(w, self.affine, self.affine_bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        # The activation's factor goes in before it: backward then needs the activation's result only.
        scale = SQRT2 * torch.rsqrt(F.linear(style.square(), self.squares) + 1e-8)  # [B, out]
        # In x's own layout: a sum of tensors in two layouts takes several times longer.
        shift = SQRT2 * (self.noise + self.bias[:, None, None]).to(x.dtype, memory_format=torch.channels_last)
        x = x * style[:, :, None, None].to(x)
        if self.up:
            x = F.conv_transpose2d(x, self.weight.to(x), stride=2)  # [B, out, 2H + 1, 2W + 1]
            x = F.conv2d(x, self.blur.to(x), padding=1, groups=x.shape[1])
        else:
            x = F.conv2d(x, self.weight.to(x), padding=1)
        return F.leaky_relu_((x * scale[:, :, None, None].to(x)).add_(shift), 0.2)


class Output(nn.Module):
    """A modulated 1x1 convolution to RGB, without demodulation."""

    affine: Tensor
    affine_bias: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, state: dict[str, Tensor], name: str) -> None:
        super().__init__()
        weight = state[f"{name}.weight"]
        self.register_buffer("affine", state[f"{name}.style.weight"] * DIM**-0.5)
        self.register_buffer("affine_bias", state[f"{name}.style.bias"] + 1)
        self.register_buffer("weight", weight * (weight[0].numel() ** -0.5))
        self.register_buffer("bias", state[f"{name}.bias"])

    def style(self, w: Tensor) -> Tensor:
        """Computes the style [B, in] of w [B, 512]."""
        return F.linear(w, self.affine, self.affine_bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        # The 1x1 weights of each sample, applied as one matrix product: they have only three rows.
        weight = (style[:, :, None] * self.weight[:, :, 0, 0].T).to(x)  # [B, C, 3]
        rgb = (x.permute(0, 2, 3, 1) @ weight[:, None]).to(self.bias)  # [B, H, W, 3]
        return rgb.permute(0, 3, 1, 2) + self.bias[:, None, None]


def blur_kernel(channels: int) -> Tensor:
    """Returns the [1, 3, 3, 1] low-pass of up-sampling by two, for each channel: [channels, 1, 4, 4], sum 4."""
    taps = torch.tensor(TAPS)
    return (taps[:, None] * taps / 16).expand(channels, 1, 4, 4).contiguous()


class StyleGAN2(Generator):
    """Generates faces by mapping, whitening and synthesis; its weights are frozen.

    Codes are float32: [B, 512] (z, v, w) or [B, L, 512] (W+, whitened) with L = 18 for 1024 px, 16 for 512 px.
    S space is a list of style vectors [B, C], one for each layer and output in the order in which they run.
    """

    const: Tensor
    doubling: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        count = sum(key.endswith(".noise") for key in state)
        self.register_buffer("const", state["synthesis.early_layer.const"])
        self.register_buffer("doubling", blur_kernel(3))
        self.layers = nn.ModuleList(Layer(state, f"synthesis.layer{i}", up=i % 2 == 1) for i in range(count))
        self.outputs = nn.ModuleList(Output(state, f"synthesis.output{i}") for i in range((count + 1) // 2))
        self.n_layers = count + 1
        # the index of the W+ vector that each style is computed from, in the order of `styles`
        self.style_layers = [i + j for i in range(count) for j in range(2 if i % 2 == 0 else 1)]
        self.size = 4 * 2 ** (len(self.outputs) - 1)
        self.eval()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file lacks a tensor of this network.
        """
        try:
            return cls(load_file(path))
        except (KeyError, OSError, SafetensorError) as error:
            raise ModelError(f"{path} does not hold StyleGAN2: {error}", IMPORT) from error

    @property
    def style_widths(self) -> list[int]:
        """The width C of each style, in the order of `styles`."""
        with torch.no_grad():
            return [style.shape[1] for style in self.styles(self.w_mean.expand(1, self.n_layers, -1))]

    def styles(self, wp: Tensor) -> Styles:
        """Computes S of W+ [B, L, 512]: layer 0, output 0, layer 1, layer 2, output 1, ..., each [B, C]."""
        found = []
        for i, layer in enumerate(self.layers):
            found.append(cast(Layer, layer).style(wp[:, i]))
            if i % 2 == 0:
                found.append(cast(Output, self.outputs[i // 2]).style(wp[:, i + 1]))
        return found

    def synthesize(self, styles: Styles, size: int | None = None, precision: torch.dtype | None = None) -> Tensor:
        """Synthesizes images [B, 3, size, size] in about -1..1 of S; a smaller size costs only the layers up to it.

        Args:
            size: 4, 8, ... up to the network's own, which is the default. precision: of the feature maps, by default
                the weights'; the RGB outputs are summed in the weights' precision.

        Raises:
            ValueError: the network has no output of that size.
        """
        size = size or self.size
        if size not in {4 * 2**i for i in range(len(self.outputs))}:
            raise ValueError(f"no output of {size} px in a network of {self.size} px")
        steps = iter(styles)
        start = self.const.to(precision or self.const.dtype, memory_format=torch.channels_last)
        x = start.expand(len(styles[0]), -1, -1, -1)
        image: Tensor | None = None
        for i, layer in enumerate(self.layers):
            x = layer(x, next(steps))
            if i % 2 == 1:
                continue
            rgb = self.outputs[i // 2](x, next(steps))
            image = rgb if image is None else rgb + self._double(image)
            if image.shape[-1] == size:
                break
        assert image is not None
        return image

    def _double(self, image: Tensor) -> Tensor:
        return F.conv_transpose2d(image, self.doubling, stride=2, padding=1, groups=3)

    def forward(self, wp: Tensor, size: int | None = None, precision: torch.dtype | None = None) -> Tensor:
        """Synthesizes images of W+ [B, L, 512]: [B, 3, size, size] in about -1..1, see `synthesize`."""
        return self.synthesize(self.styles(wp), size, precision)


def prepare_stylegan2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Converts a generator's state under genforce's names to this network's: scales the mapping, adds the whitening.

    Raises:
        KeyError: a tensor is missing.
    """
    rate = MAPPING_RATE * DIM**-0.5
    names = [f"mapping.dense{i}" for i in range(MAPPING_LAYERS)]
    weights = torch.stack([state[f"{name}.weight"] for name in names]) * rate
    biases = torch.stack([state[f"{name}.bias"] for name in names]) * MAPPING_RATE
    synthesis = {key: value.float().contiguous() for key, value in state.items()
                 if key.startswith("synthesis.") and not key.endswith(".kernel")}
    fitted = fit_whitening(weights, biases)
    # Truncation uses the mean of the training.
    return {**synthesis, **fitted, "w_mean": state["truncation.w_avg"].float(),
            "mapping_weight": weights, "mapping_bias": biases}


def expected_shapes(size: int) -> dict[str, tuple[int, ...]]:
    """Returns names and shapes of genforce's tensors for FFHQ at 512 or 1024 px, without the constant kernels."""
    shapes: dict[str, tuple[int, ...]] = {"truncation.w_avg": (DIM,), "synthesis.early_layer.const": (1, DIM, 4, 4)}
    for i in range(MAPPING_LAYERS):
        shapes |= {f"mapping.dense{i}.weight": (DIM, DIM), f"mapping.dense{i}.bias": (DIM,)}
    layer, channels, side = 0, DIM, 4
    while side <= size:
        wide = min(DIM, 32768 // side)
        for _ in range(1 if side == 4 else 2):
            name = f"synthesis.layer{layer}"
            shapes |= {f"{name}.weight": (wide, channels, 3, 3), f"{name}.bias": (wide,), f"{name}.noise_strength": (),
                       f"{name}.noise": (1, 1, side, side), f"{name}.style.weight": (channels, DIM),
                       f"{name}.style.bias": (channels,)}
            layer, channels = layer + 1, wide
        name = f"synthesis.output{(layer - 1) // 2}"
        shapes |= {f"{name}.weight": (3, wide, 1, 1), f"{name}.bias": (3,), f"{name}.style.weight": (wide, DIM),
                   f"{name}.style.bias": (wide,)}
        side *= 2
    return shapes
