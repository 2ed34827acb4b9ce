"""Implements IR-SE50, the residual trunk with squeeze-and-excitation that ArcFace and e4e share.

Deng et al. 2019 (arXiv 1801.07698), as implemented in InsightFace_Pytorch. The modules have that implementation's
names, so that its checkpoints load unchanged.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))  # channels in, channels out, blocks


class SqueezeExcitation(nn.Module):
    """Weights the channels by a function of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * self.fc2(self.fc1(mean).relu()).sigmoid()  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """One residual block: [B, in, H, W] -> [B, out, H / stride, W / stride]."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if channels == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), SqueezeExcitation(out))

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)  # type: ignore[no-any-return]


def input_layer() -> nn.Sequential:
    """Returns the first layers: [B, 3, H, W] -> [B, 64, H, W]."""
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))


def body() -> nn.Sequential:
    """Returns the 24 residual blocks: [B, 64, H, W] -> [B, 512, H / 16, W / 16]."""
    blocks = []
    for channels, out, count in STAGES:
        blocks.append(Bottleneck(channels, out, 2))
        blocks += [Bottleneck(out, out, 1) for _ in range(count - 1)]
    return nn.Sequential(*blocks)
