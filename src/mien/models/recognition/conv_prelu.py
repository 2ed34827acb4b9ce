"""Implements the layer that small face recognizers are made of: a convolution, batch norm folded in, and PReLU."""

from __future__ import annotations

from torch import Tensor, nn


class ConvPReLU(nn.Module):
    """Convolution (batch norm folded in) and PReLU; the maps keep their size where the stride is 1."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups)
        self.act = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.conv(x))
        return y
