"""Implements MobileFaceNet (Chen et al. 2018, arXiv 1804.07573), a small network that describes aligned faces.

It is a MobileNet v2 for faces: inverted bottlenecks with PReLU, and at the end a depthwise convolution over the whole
map, which unlike an average weighs every place of the face. Batch norms are folded into the convolutions.
"""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from mien.models.recognition.conv_prelu import ConvPReLU

SIZE = 112  # px, of the input, which is aligned to the ArcFace template
CHANNELS = 64  # of the first two convolutions
# Channels within the bottlenecks of a stage, their output channels, the first one's stride, their number.
STAGES = (
    (128, 64, 2, 1), (128, 64, 1, 4),
    (256, 128, 2, 1), (256, 128, 1, 6),
    (512, 128, 2, 1), (256, 128, 1, 2),
)  # fmt: skip
TOP = 512  # channels of the last map


class MobileFaceNet(nn.Module):
    """Turns aligned faces into vectors; its weights are frozen, and gradients flow to the input only.

    Input: [B, 3, 112, 112] float32, in the channel order and range that the weights were trained with.
    Output: [B, width], not normalized.

    Args:
        width: the length of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvPReLU(3, CHANNELS, kernel=3, stride=2),
                                  ConvPReLU(CHANNELS, CHANNELS, kernel=3, groups=CHANNELS))
        blocks, channels = [], CHANNELS
        for inner, out, stride, count in STAGES:
            for _ in range(count):
                blocks.append(_Bottleneck(channels, inner, out, stride))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.top = ConvPReLU(channels, TOP, kernel=1)
        self.whole = nn.Conv2d(TOP, TOP, SIZE // 16, groups=TOP)
        self.embed = nn.Linear(TOP, width)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Describes aligned faces [B, 3, 112, 112]: [B, width].

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"MobileFaceNet takes [B, 3, {SIZE}, {SIZE}], got {list(x.shape)}")
        x = self.top(self.blocks(self.stem(x)))  # 56, 28, 14, 7
        vectors: Tensor = self.embed(self.whole(x).flatten(1))  # [B, 512, 7, 7] -> [B, 512] -> [B, width]
        return vectors

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: the network is frozen."""
        return super().train(False)


class _Bottleneck(nn.Module):
    """Inverted bottleneck: expands the channels, filters each alone, and projects them back without an activation.

    Its input is added to its output where both have the same shape.
    """

    def __init__(self, channels: int, inner: int, out: int, stride: int) -> None:
        super().__init__()
        self.expand = ConvPReLU(channels, inner, kernel=1)
        self.filter = ConvPReLU(inner, inner, kernel=3, stride=stride, groups=inner)
        self.project = nn.Conv2d(inner, out, 1)
        self.is_residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.filter(self.expand(x)))
        return x + y if self.is_residual else y
