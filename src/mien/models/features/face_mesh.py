"""Implements mediapipe's face mesh: 468 points in three dimensions of one face, to judge results only.

Source: Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs",
arXiv 1907.06724; the layers follow the graph in `face_landmark.tflite` of mediapipe 0.10.21.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.models.features.region import Region, region_between
from mien.models.features.tensorflow_layers import pad_end, pooled
from mien.models.formats.tflite_file import convert_tflite
from mien.models.hints import FETCH
from mien.models.hub.load_state import load_into
from mien.types import Face, Floats, Pixels

SIZE = 192  # px, of the input
POINTS = 468
RIGHT_EYE, LEFT_EYE = 33, 263  # the person's outer eye corners: the first is on the image's left
# Of the first region, around YuNet's box: of 1.0 to 1.5 the closest to where looking again and again ends.
FIRST_MARGIN = 1.3
MARGIN = 1.5  # side of the region over the longer side of the box around the mesh, as in mediapipe
LEAST_PRESENCE = 0.5  # as in mediapipe


class FaceMesh(nn.Module):
    """Finds the points of the face that fills most of an upright square.

    Input: [B, 3, 192, 192] float32 RGB, 0..1. Output: points [B, 468, 3] (x, y, depth) in input pixels, the depth
    smaller the closer to the camera; and the probability [B] that a face is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2)
        self.act = nn.PReLU(16)
        self.trunk = nn.Sequential(  # 96 px, then 48, 24, 12 and 6
            _Block(16), _Block(16), _Down(16, 32), _Block(32), _Block(32), _Down(32, 64), _Block(64), _Block(64),
            _Down(64, 128), _Block(128), _Block(128), _Down(128, 128), _Block(128), _Block(128))
        self.points = nn.Sequential(  # 3 px, then 1
            _Down(128, 128), _Block(128), _Block(128), nn.Conv2d(128, 32, 1), nn.PReLU(32), _Block(32),
            nn.Conv2d(32, POINTS * 3, 3))
        self.presence = nn.Sequential(
            _Down(128, 128), nn.Conv2d(128, 32, 1), nn.PReLU(32), _Block(32), nn.Conv2d(32, 1, 3))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Finds points and presence.

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"the face mesh takes [B, 3, {SIZE}, {SIZE}], got {list(x.shape)}")
        maps = self.trunk(self.act(self.stem(pad_end(x))))
        return self.points(maps).reshape(-1, POINTS, 3), torch.sigmoid(self.presence(maps).flatten())

    @torch.inference_mode()
    def tell(self, photo: Pixels, face: Face) -> Floats:
        """Finds the mesh of a face in a photograph.

        The network looks twice: around the detector's points, then around the mesh that it found there, as mediapipe
        does from one frame of a video to the next.

        Args:
            photo: [H, W, 3] uint8 RGB.

        Returns:
            [468, 3] (x, y, depth) in photo pixels, the depth relative to the head's middle.

        Raises:
            ValueError: the points cannot be those of a face, or the network sees none there.
        """
        mesh = self._look(photo, first_region(face))
        return self._look(photo, region_between(mesh[RIGHT_EYE, :2], mesh[LEFT_EYE, :2], mesh[:, :2], MARGIN))

    def _look(self, photo: Pixels, region: Region) -> Floats:
        device = self.stem.weight.device
        view = torch.from_numpy(region.cut(photo, SIZE)).to(device).permute(2, 0, 1)[None].float() / 255
        points, presence = self(view)
        if not float(presence) >= LEAST_PRESENCE:
            raise ValueError(f"the face mesh sees no face there (presence {float(presence):.2f})")
        return region.to_photo(points[0].cpu().numpy(), SIZE)

    @classmethod
    def from_file(cls, path: Path) -> FaceMesh:
        """Loads weights converted by `convert_face_mesh`.

        Raises:
            ModelError: the file is missing, damaged or of another network.
        """
        return load_into(cls(), path, "the face mesh's weights", FETCH)


def first_region(face: Face) -> Region:
    """Returns the region where the mesh is looked for first, from the detector's five points.

    Raises:
        ValueError: the points cannot be those of a face.
    """
    x, y, width, height = face.box
    corners = np.array([[x, y], [x + width, y + height]], np.float32)
    return region_between(face.points[0], face.points[1], corners, FIRST_MARGIN)


class _Block(nn.Module):
    """Adds a depthwise-separable convolution to its input, then applies PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.act(x + self.pointwise(self.depthwise(x))))


class _Down(nn.Module):
    """Is a block that halves the maps; its input is pooled, and padded with zero channels, to be added."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride=2, groups=channels)
        self.pointwise = nn.Conv2d(channels, out, 1)
        self.act = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.act(pooled(x, self.pointwise.out_channels)
                                        + self.pointwise(self.depthwise(pad_end(x)))))


def convert_face_mesh(source: Path) -> dict[str, Tensor]:
    """Converts mediapipe's file to the state dict of `FaceMesh`.

    Args:
        source: `face_landmark.tflite`.

    Raises:
        ModelError: the file is missing, damaged or holds another network.
    """
    return convert_tflite(source, FaceMesh(), "the face mesh")
