"""Implements EfficientNet-Lite0 for general image features (Tan and Le 2019, arXiv 1905.11946; Lite variant of 2020).

It has sixteen inverted-bottleneck blocks with ReLU6 and no squeeze-and-excitation, and was trained on ImageNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.formats.torch_file import read_checkpoint
from mien.models.hints import FETCH
from mien.models.hub.load_state import load_into

# Of each of the 16 blocks: kernel, stride, expansion, channels out.
BLOCKS = (
    (3, 1, 1, 16),
    (3, 2, 6, 24), (3, 1, 6, 24),
    (5, 2, 6, 40), (5, 1, 6, 40),
    (3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80),
    (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
    (5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192),
    (3, 1, 6, 320),
)  # fmt: skip
# Lite1 is deeper: one more block at strides 8, 16 and 32 each, two at 16 in all, none wider.
LITE1_BLOCKS = (
    (3, 1, 1, 16),
    (3, 2, 6, 24), *((3, 1, 6, 24),) * 2,
    (5, 2, 6, 40), *((5, 1, 6, 40),) * 2,
    (3, 2, 6, 80), *((3, 1, 6, 80),) * 3,
    (5, 1, 6, 112), *((5, 1, 6, 112),) * 3,
    (5, 2, 6, 192), *((5, 1, 6, 192),) * 4,
    (3, 1, 6, 320),
)  # fmt: skip
HEAD_CHANNELS = 1280
TAPS = (2, 4, 10, 15)  # the last block at each of the strides 4, 8, 16, 32
_EPS = 1e-3
_UNFIT = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)  # raised when a file holds something else


class EfficientNetLite0(nn.Module):
    """Computes feature maps at chosen depths: EfficientNet-Lite0 without its classifier.

    Input: [B, 3, H, W] float32 RGB, -1..1, H and W multiples of 32.
    The weights are frozen; gradients flow to the input only.

    Args:
        channels_last: compute in the channels-last memory layout; the results are the same up to rounding.
        blocks: kernel, stride, expansion and output channels of each block; Lite0's by default. channels: of the input,
            a multiple of 3 if it stacks several images.
    """

    def __init__(self, channels_last: bool = False, blocks: Sequence[tuple[int, int, int, int]] = BLOCKS,
                 channels: int = 3) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.channels = channels
        self.stem = _SameConv(channels, 32, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        width = 32
        for kernel, stride, expansion, out in blocks:
            self.blocks.append(_Block(width, out, kernel, stride, expansion))
            width = out
        self.top = nn.Conv2d(width, HEAD_CHANNELS, 1)
        self.eval().requires_grad_(False)
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, taps: Sequence[int] = TAPS) -> tuple[Tensor, ...]:
        """Computes the outputs of chosen blocks, and nothing beyond the last of them.

        Args:
            x: [B, 3, H, W] float32 RGB, -1..1.
            taps: indices of blocks, 0..15, in any order.

        Returns:
            one map [B, C, H / s, W / s] per tap, in the order of `taps`; C is the block's output channels, and s is
            2 for block 0, 4 up to block 2, 8 up to block 4, 16 up to block 10, 32 after.

        Raises:
            ValueError: the shape is wrong, or a tap does not exist.
        """
        if not taps or not all(0 <= tap < len(self.blocks) for tap in taps):
            raise ValueError(f"taps are blocks 0..{len(self.blocks) - 1}, got {tuple(taps)}")
        wanted = set(taps)
        maps: dict[int, Tensor] = {}
        x = self._enter(x)  # [B, 32, H/2, W/2]
        for i, block in enumerate(self.blocks[: max(taps) + 1]):
            x = block(x)  # 16 at H/2; 24 at H/4; 40 at H/8; 80, 112 at H/16; 192, 320 at H/32
            if i in wanted:
                maps[i] = x
        return tuple(maps[tap] for tap in taps)

    def head(self, x: Tensor) -> Tensor:
        """Computes the final features, the input of ImageNet's classifier before pooling.

        Args:
            x: [B, 3, H, W] float32 RGB, -1..1.

        Returns:
            [B, 1280, H/32, W/32], 0..6.

        Raises:
            ValueError: the shape is wrong.
        """
        (last,) = self.forward(x, taps=(len(self.blocks) - 1,))  # [B, 320, H/32, W/32]
        return F.relu6(self.top(last))

    def _enter(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2] % 32 or x.shape[3] % 32 or 0 in x.shape:
            raise ValueError(f"EfficientNet-Lite takes [B, {self.channels}, 32 n, 32 m], got {list(x.shape)}")
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        # (x255 - 127) / 128 with x255 = 127.5 (x + 1)
        return F.relu6(self.stem(x * (127.5 / 128) + 0.5 / 128))

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stays in evaluation mode: the network is frozen."""
        super().train(False)
        return self

    @classmethod
    def from_file(cls, path: Path, channels_last: bool = False,
                  blocks: Sequence[tuple[int, int, int, int]] = BLOCKS) -> EfficientNetLite0:
        """Loads weights converted by `convert_efficientnet_lite0`.

        Args:
            path: safetensors file.
            channels_last: see the class. blocks: those of the variant in the file.

        Raises:
            ModelError: the file is missing, damaged or of another network.
        """
        return load_into(cls(channels_last, blocks), path, "EfficientNet-Lite0's weights", FETCH)


class _Block(nn.Module):
    """Inverted bottleneck: widens, convolves depthwise and narrows; adds the input if the shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = nn.Conv2d(channels, wide, 1) if expansion != 1 else None
        self.depthwise = _SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, out, 1)
        self.skip = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x))  # [B, wide, h, w]
        y = F.relu6(self.depthwise(y))  # [B, wide, h/stride, w/stride]
        y = self.project(y)  # [B, out, h/stride, w/stride]
        return x + y if self.skip else y


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: at stride 2 and even sizes, right and bottom get more."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels, out, kernel, stride, padding, groups=groups)
        before = (kernel - stride) // 2
        self.border = (before, kernel - stride - before) * 2 if stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        if self.border is not None:
            x = F.pad(x, self.border)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)


def convert_efficientnet_lite1(source: Path) -> dict[str, Tensor]:
    """Converts the deeper Lite1, which the attribute judge's training starts from; see `convert_efficientnet_lite0`."""
    return convert_efficientnet_lite0(source, LITE1_BLOCKS)


def convert_efficientnet_lite0(source: Path, blocks: Sequence[tuple[int, int, int, int]] = BLOCKS) -> dict[str, Tensor]:
    """Converts the PyTorch checkpoint to the state dict of `EfficientNetLite0`.

    Batch norms are folded into the convolutions in float64; the classifier is dropped.

    Args:
        source: `efficientnet-lite0-57934424.pth`. blocks: those of the variant in the file.

    Raises:
        ModelError: the file is missing, damaged or holds another network.
    """
    stored = read_checkpoint(source)
    try:
        state = _fold(stored, "_conv_stem", "_bn0", "stem")
        for i, (_, _, expansion, _) in enumerate(blocks):
            block = f"_blocks.{i}."
            if expansion != 1:
                state |= _fold(stored, block + "_expand_conv", block + "_bn0", f"blocks.{i}.expand")
            state |= _fold(stored, block + "_depthwise_conv", block + "_bn1", f"blocks.{i}.depthwise")
            state |= _fold(stored, block + "_project_conv", block + "_bn2", f"blocks.{i}.project")
        state |= _fold(stored, "_conv_head", "_bn1", "top")
        EfficientNetLite0(blocks=blocks).load_state_dict(state)
    except _UNFIT as error:
        message = f"{source} is not the expected EfficientNet-Lite file: {error}"
        raise ModelError(message, FETCH) from error
    return state


def _fold(stored: Mapping[str, Tensor], conv: str, norm: str, target: str) -> dict[str, Tensor]:
    """Folds a convolution without bias and the batch norm after it into one convolution."""
    weight = stored[f"{conv}.weight"].double()
    parts = ("weight", "bias", "running_mean", "running_var")
    gamma, beta, mean, variance = (stored[f"{norm}.{part}"].double() for part in parts)
    scale = gamma / torch.sqrt(variance + _EPS)
    return {
        f"{target}.weight": (weight * scale[:, None, None, None]).float().contiguous(),
        f"{target}.bias": (beta - mean * scale).float(),
    }
