"""Implements dlib's face recognition network, which judges results and never takes part in an optimization.

It is a residual network of 29 convolutions after He et al. (arXiv 1512.03385) with half the filters and a
metric-learning loss, by Davis King (dlib's dnn_face_recognition_ex.cpp). Two faces below a Euclidean
distance of 0.6 are taken for the same person. Affine layers (frozen batch norms) are folded into the
convolutions.
"""

# SPDX-License-Identifier: Apache-2.0 AND BSL-1.0

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.models.formats.dlib_archive import DlibArchive, Layer, Network
from mien.models.hints import FETCH
from mien.models.hub.load_state import load_into

SIZE = 150
MEAN = (122.782, 117.001, 104.298)


class Stage(NamedTuple):
    """A row of residual blocks of one width, the first of which may halve the size."""

    width: int
    blocks: int
    halves: bool


STAGES = (
    Stage(32, 3, False),
    Stage(64, 4, True),
    Stage(128, 3, True),
    Stage(256, 3, True),
    Stage(256, 1, True),
)


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut without weights, which pads missing channels with zeros."""

    def __init__(self, inputs: int, width: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        # dlib pads by half a window only where the stride is 1
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))  # [B, width, h, w]
        if self.halves:
            x = F.avg_pool2d(x, 2)  # [B, inputs, h', w'], where h' may be h + 1
        return F.relu(_add(x, y))


class DlibResNet(nn.Module):
    """The network dlib_face_recognition_resnet_model_v1, with 5.6 M parameters.

    Its output has no gradients, so that nothing can be optimized against the judge.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, STAGES[0].width, 7, 2)
        blocks, width = [], STAGES[0].width
        for stage in STAGES:
            for number in range(stage.blocks):
                blocks.append(Block(width, stage.width, stage.halves and number == 0))
                width = stage.width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, 128, bias=False)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """Embeds faces.

        Args:
            x: [B, 3, 150, 150] float32 RGB in 0..255, cut by `face_chip`.

        Returns:
            [B, 128] float32, to be compared by Euclidean distance.

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"the judge takes [B, 3, {SIZE}, {SIZE}], not {list(x.shape)}")
        x = (x - self.mean) / 256
        x = F.relu(self.stem(x))  # [B, 32, 72, 72]
        x = F.max_pool2d(x, 3, 2)  # [B, 32, 35, 35]
        x = self.blocks(x)  # 35 -> 17 -> 8 -> 4 -> 2: [B, 256, 2, 2]
        x = x.mean(dim=(2, 3))  # [B, 256]
        return self.head(x)  # type: ignore[no-any-return]

    @classmethod
    def from_file(cls, path: Path) -> DlibResNet:
        """Loads weights converted by `convert_dlib_resnet` (safetensors).

        Raises:
            ModelError: the file is missing, damaged or holds another network.
        """
        return load_into(cls(), path, "the judge's network", FETCH)


def convert_dlib_resnet(source: Path) -> dict[str, Tensor]:
    """Converts `dlib_face_recognition_resnet_model_v1.dat` to the state of a `DlibResNet`.

    Raises:
        ModelError: the file is damaged or holds another network.
    """
    archive = DlibArchive.open(source)
    network = archive.network()
    kinds = [layer.kind for layer in network.layers]
    archive.expect(kinds == _kinds() and network.size == (SIZE, SIZE), "another network")
    archive.expect(bool(np.allclose(network.mean, MEAN, atol=1e-4)), "an input of another kind")

    expected = DlibResNet().state_dict()
    state = {"mean": torch.tensor(network.mean).view(1, 3, 1, 1)}
    names = [key.removesuffix(".bias") for key in expected if key.endswith(".bias")]
    for name, (conv, affine) in zip(names, _convolutions(network), strict=True):
        shape = expected[f"{name}.weight"].shape
        filters = shape[0]
        archive.expect(conv.settings[7:11] == tuple(shape), "another convolution")
        archive.expect(conv.weights.size == shape.numel() + filters, "a convolution of another size")
        archive.expect(affine.weights.size == 2 * filters, "an affine layer of another size")
        state[f"{name}.weight"], state[f"{name}.bias"] = _fold(conv, affine, shape)
    head = network.layers[-1]
    archive.expect(head.settings[:2] == (128, 256) and head.weights.size == 128 * 256, "another last layer")
    state["head.weight"] = torch.from_numpy(head.weights.reshape(256, 128).T.copy())
    return state


def _fold(conv: Layer, affine: Layer, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Folds a convolution followed by gamma * y + beta into one convolution; returns its weight and bias."""
    filters = shape[0]
    flat = torch.from_numpy(conv.weights).double()
    gamma, beta = torch.from_numpy(affine.weights).double().view(2, filters)
    weight = flat[: shape.numel()].view(shape) * gamma.view(-1, 1, 1, 1)
    bias = flat[shape.numel() :] * gamma + beta
    return weight.float(), bias.float()


def _add(x: Tensor, y: Tensor) -> Tensor:
    """Adds two feature maps, padding each with zeros at the end of channels, rows and columns to the larger size."""
    channels, rows, columns = (max(x.shape[axis], y.shape[axis]) for axis in (1, 2, 3))

    def grow(z: Tensor) -> Tensor:
        return F.pad(z, (0, columns - z.shape[3], 0, rows - z.shape[2], 0, channels - z.shape[1]))

    return grow(x) + grow(y)


def _convolutions(network: Network) -> list[tuple[Layer, Layer]]:
    """Pairs every convolution with the affine layer after it, from the input to the output."""
    convs = [layer for layer in network.layers if layer.kind == "con_4"]
    affines = [layer for layer in network.layers if layer.kind == "affine_"]
    return list(zip(convs, affines, strict=True))


def _kinds() -> list[str]:
    """Returns dlib's names of the layers from the input to the output."""
    kinds = ["con_4", "affine_", "relu_", "max_pool_2"]
    for stage in STAGES:
        for number in range(stage.blocks):
            kinds += ["con_4", "affine_", "relu_", "con_4", "affine_"]
            if stage.halves and number == 0:
                kinds.append("avg_pool_2")
            kinds += ["add_prev_", "relu_"]
    return [*kinds, "avg_pool_2", "fc_2"]
