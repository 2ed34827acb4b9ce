"""Implements mediapipe's iris network: the contour of an eye and the iris in it, to judge results only.

Source: Ablavatski et al. 2020, "Real-time Pupil Tracking from Monocular Video for Digital Puppetry",
arXiv 2006.11341; the layers follow the graph in `iris_landmark.tflite` of mediapipe 0.10.21.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.models.features.region import region_between
from mien.models.features.tensorflow_layers import pad_end, pooled
from mien.models.formats.tflite_file import convert_tflite
from mien.models.hints import FETCH
from mien.models.hub.load_state import load_into
from mien.types import Floats, Pixels

SIZE = 64  # px, of the input
CONTOUR, IRIS = 71, 5
MARGIN = 2.3  # side of the region over the distance of the eye's corners, as in mediapipe
# Corners of the eyes in the face mesh, the one on the image's left first.
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)


@dataclass(frozen=True)
class Eye:
    """Holds the points of one eye, (x, y, depth) in photo pixels.

    Attributes:
        contour: [71, 3]. The first 16 are the lids: 0 the outer corner, 1 to 7 the lower lid from there to the inner
            corner 8, 9 to 15 the upper lid from the outer to the inner corner. The others are around the eye and brow.
        iris: [5, 3], the center, then four points of its rim.
    """

    contour: Floats
    iris: Floats


class Iris(nn.Module):
    """Finds the points of a person's right eye, which is on the image's left; a left eye has to be mirrored.

    Input: [B, 3, 64, 64] float32 RGB, 0..1. Output: contours [B, 71, 3] and irises [B, 5, 3] in input pixels, as
    `Eye` has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, stride=2)
        self.act = nn.PReLU(64)
        self.trunk = nn.Sequential(  # 32 px, then 16 and 8
            _Block(64), _Block(64), _Block(64), _Block(64), _Down(64, 128),
            _Block(128), _Block(128), _Block(128), _Block(128), _Down(128, 128))
        self.contour = _head(CONTOUR * 3)
        self.iris = _head(IRIS * 3)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Finds contour and iris.

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"the iris network takes [B, 3, {SIZE}, {SIZE}], got {list(x.shape)}")
        maps = self.trunk(self.act(self.stem(pad_end(x))))
        return self.contour(maps).reshape(-1, CONTOUR, 3), self.iris(maps).reshape(-1, IRIS, 3)

    @torch.inference_mode()
    def tell(self, photo: Pixels, mesh: Floats) -> tuple[Eye, Eye]:
        """Finds both eyes of a face.

        Args:
            photo: [H, W, 3] uint8 RGB. mesh: [468, 3] as `FaceMesh.tell` returns it.

        Returns:
            The eye on the image's left (the person's right one), and the other.

        Raises:
            ValueError: an eye's corners are in one place.
        """
        regions = [region_between(mesh[left, :2], mesh[right, :2], mesh[[left, right], :2], MARGIN, mirrored)
                   for (left, right), mirrored in ((RIGHT_EYE, False), (LEFT_EYE, True))]
        views = torch.from_numpy(np.stack([region.cut(photo, SIZE) for region in regions]))
        found = self(views.to(self.stem.weight.device).permute(0, 3, 1, 2).float() / 255)
        contours, irises = (part.cpu().numpy() for part in found)
        first, second = (Eye(region.to_photo(contours[i], SIZE), region.to_photo(irises[i], SIZE))
                         for i, region in enumerate(regions))
        return first, second

    @classmethod
    def from_file(cls, path: Path) -> Iris:
        """Loads weights converted by `convert_iris`.

        Raises:
            ModelError: the file is missing, damaged or of another network.
        """
        return load_into(cls(), path, "the iris network's weights", FETCH)


def _head(out: int) -> nn.Sequential:
    return nn.Sequential(  # 8 px, then 4, 2 and 1
        _Block(128), _Block(128), _Down(128, 128), _Block(128), _Block(128), _Down(128, 128), _Block(128), _Block(128),
        nn.Conv2d(128, out, 2))


class _Block(nn.Module):
    """Adds a bottleneck of half the channels, with a depthwise convolution, to its input, then applies PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.squeeze = nn.Conv2d(channels, half, 1)
        self.squeeze_act = nn.PReLU(half)
        self.depthwise = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.expand = nn.Conv2d(half, channels, 1)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.act(x + self.expand(self.depthwise(self.squeeze_act(self.squeeze(x))))))


class _Down(nn.Module):
    """Is a block that halves the maps; its input is pooled, and padded with zero channels, to be added."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        half = out // 2
        self.squeeze = nn.Conv2d(channels, half, 2, stride=2)
        self.squeeze_act = nn.PReLU(half)
        self.depthwise = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.expand = nn.Conv2d(half, out, 1)
        self.act = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        change = self.expand(self.depthwise(self.squeeze_act(self.squeeze(x))))
        return torch.as_tensor(self.act(pooled(x, self.expand.out_channels) + change))


def convert_iris(source: Path) -> dict[str, Tensor]:
    """Converts mediapipe's file to the state dict of `Iris`.

    Args:
        source: `iris_landmark.tflite`.

    Raises:
        ModelError: the file is missing, damaged or holds another network.
    """
    return convert_tflite(source, Iris(), "the iris network")
