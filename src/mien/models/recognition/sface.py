"""Implements SFace (Zhong et al. 2021, arXiv 2205.12010), the face recognizer in the loss.

It is a MobileNet v1 of depthwise-separable convolutions with PReLU; its input is aligned to the ArcFace template.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.formats.onnx_graph import OnnxGraph, read_onnx
from mien.models.hints import FETCH
from mien.models.hub.load_state import load_into
from mien.models.recognition.conv_prelu import ConvPReLU

SIZE = 112
# Positions of eyes, nose and mouth corners in the 112 x 112 crop; each pair starts at the image's left.
TEMPLATE: npt.NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
TEMPLATE.setflags(write=False)

# Output channels and stride of the 13 depthwise-separable blocks.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
_EPS = 1e-3  # of every batch norm after a convolution
_EPS_LAST = 2e-5  # of the two batch norms around the linear layer


def align_matrix(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Fits the similarity transform from five face points to the template by least squares.

    Args:
        points: [5, 2] (x, y) in photo pixels, in the order of `mien.types.Face.points`.

    Returns:
        [2, 3] matrix from photo pixels to pixels of the 112 x 112 crop: rotation, uniform scale and shift,
        never a reflection.

    Raises:
        ValueError: the points are not five finite pairs, or are all in one place.

    Source: Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns";
    in two dimensions its closed form needs no singular value decomposition.
    """
    source = np.asarray(points, dtype=np.float64)
    if source.shape != (5, 2) or not np.isfinite(source).all():
        raise ValueError(f"five finite points are needed, got shape {source.shape}")
    source_mean, target_mean = source.mean(0), TEMPLATE.mean(0)
    x, y = (source - source_mean).T
    u, v = (TEMPLATE - target_mean).T
    spread = float((x * x + y * y).sum())
    if spread < 1e-12:
        raise ValueError("the five points are all in one place")
    # The best a + bi with (u + vi) = (a + bi)(x + yi): a complex factor cannot reflect.
    a = float((x * u + y * v).sum()) / spread
    b = float((x * v - y * u).sum()) / spread
    rotation = np.array([[a, -b], [b, a]])
    return np.hstack([rotation, (target_mean - rotation @ source_mean)[:, None]])


class SFace(nn.Module):
    """Turns aligned faces into identity embeddings, to be compared by cosine.

    Input: [B, 3, 112, 112] float32 RGB, 0..255. Output: [B, 128], not normalized.
    The weights are frozen; gradients flow to the input only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvPReLU(3, 32, kernel=3)
        self.blocks = nn.ModuleList()
        width = 32
        for out, stride in BLOCKS:
            depthwise = ConvPReLU(width, width, kernel=3, stride=stride, groups=width)
            self.blocks.append(nn.Sequential(depthwise, ConvPReLU(width, out, kernel=1)))
            width = out
        self.embed = nn.Linear(1024 * 7 * 7, 128)
        self.eval().requires_grad_(False)

    same_person = 0.42  # cosine; at 0.38 one pair of strangers in a thousand passes
    width = 128

    def identify(self, chip: Tensor) -> Tensor:
        """Turns aligned faces [B, 3, 112, 112] in -1..1 into unit vectors [B, 128]."""
        return F.normalize(self((chip + 1) * 127.5), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds aligned faces.

        Args:
            x: [B, 3, 112, 112] float32 RGB, 0..255.

        Returns:
            [B, 128] float32.

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"SFace takes [B, 3, 112, 112], got {list(x.shape)}")
        # The scaling cannot be folded into the first convolution: its zero padding means the color 127.5.
        x = self.stem((x - 127.5) / 128)  # [B, 32, 112, 112]
        for block in self.blocks:
            x = block(x)  # 112, 56, 56, 28, 28, 14 (x 6), 7, 7
        embedding: Tensor = self.embed(x.flatten(1))  # [B, 1024, 7, 7] -> [B, 50176] -> [B, 128]
        return embedding

    def train(self, mode: bool = True) -> SFace:
        """Stays in evaluation mode: the network is frozen."""
        super().train(False)
        return self

    @classmethod
    def from_file(cls, path: Path) -> SFace:
        """Loads weights converted by `convert_sface`.

        Args:
            path: safetensors file.

        Raises:
            ModelError: the file is missing, damaged or of another network.
        """
        return load_into(cls(), path, "SFace's weights", FETCH)


def convert_sface(source: Path) -> dict[str, Tensor]:
    """Converts the block-quantized ONNX file of OpenCV's zoo to the state dict of `SFace`.

    Batch norms are folded, in float64, into the convolutions and the linear layer next to them.

    Args:
        source: `face_recognition_sface_2021dec_int8bq.onnx`.

    Raises:
        ModelError: the file is missing, damaged or holds another network.
    """
    graph = read_onnx(source)
    try:
        state = _convert_conv(graph, "conv_1", "stem")
        for i in range(len(BLOCKS)):
            state |= _convert_conv(graph, f"conv_{i + 2}_dw", f"blocks.{i}.0")
            state |= _convert_conv(graph, f"conv_{i + 2}", f"blocks.{i}.1")
        state |= _convert_embed(graph)
        tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()}
        SFace().load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        message = f"{source} is not the expected SFace file: {error}"
        raise ModelError(message, FETCH) from error
    return tensors


def _convert_conv(graph: OnnxGraph, source: str, target: str) -> dict[str, npt.NDArray[np.float64]]:
    weight = graph.constants[f"{source}_conv2d_weight_reshaped"].astype(np.float64)
    scale, shift = _norm(graph, f"{source}_batchnorm", _EPS)
    return {
        f"{target}.conv.weight": weight * scale[:, None, None, None],
        f"{target}.conv.bias": shift,
        f"{target}.act.weight": graph.constants[f"{source}_relu_gamma"].reshape(-1).astype(np.float64),
    }


def _convert_embed(graph: OnnxGraph) -> dict[str, npt.NDArray[np.float64]]:
    """Folds the batch norms before (per channel, 49 places each) and after the linear layer into it."""
    weight = graph.constants["pre_fc1_weight_dequantized"].astype(np.float64).reshape(128, 1024, 49)
    bias = graph.constants["pre_fc1_bias_dequantized"].astype(np.float64)
    scale, shift = _norm(graph, "bn1", _EPS_LAST)
    bias = bias + np.einsum("ocp,c->o", weight, shift)
    matrix = (weight * scale[:, None]).reshape(128, -1)
    scale, shift = _norm(graph, "fc1", _EPS_LAST)
    return {"embed.weight": matrix * scale[:, None], "embed.bias": bias * scale + shift}


def _norm(graph: OnnxGraph, name: str, eps: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns a batch norm as scale and shift, each [channels]."""
    parts = ("gamma", "beta", "moving_mean", "moving_var")
    gamma, beta, mean, variance = (graph.constants[f"{name}_{part}"].astype(np.float64) for part in parts)
    scale = gamma / np.sqrt(variance + eps)
    return scale, beta - mean * scale
