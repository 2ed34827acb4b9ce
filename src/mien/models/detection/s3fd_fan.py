"""The detector of FALCO's alignment: S3FD's boxes, 2D-FAN-4's 68 points, of which mien keeps five.

S3FD was published to search a picture at its own size, which is done here, and decides. Two things are added, so that
no face is missed for its size and memory stays within bounds:
- pictures are also searched at a half, a quarter, ... of their size, down to the 640 px of S3FD's training, for faces
  that fill them; what was found at their own size stays as it is;
- photos of more than 1536 px are searched in overlapping tiles, at all these sizes, and the surest finding counts;
  no search takes more than 2 GB.

Unlike YuNet it knows no faces that lie or stand on their heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor

from mien.errors import PhotoError
from mien.models.detection.fan import FAN
from mien.models.detection.s3fd import OVERLAP, S3FD, overlaps, suppress
from mien.models.detection.tiles import check_photo, spans, usable
from mien.types import Face, Floats, Pixels
from mien.util.devices import CPU

TRAINED_SIDE = 640
LEAST_SIDE = 32  # S3FD halves its maps five times
TILE = 1536
TILES_OVERLAP = 256  # faces larger than that are whole at a smaller size
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)  # of the person
NOSE, MOUTH_RIGHT, MOUTH_LEFT = 30, 48, 54


class LandmarkDetector:
    """Face detector: boxes, five points and a score.

    Args:
        score_threshold: faces at or below this score, 0..1, are left out; the original takes 0.5.
        device: where both networks are.
    """

    def __init__(self, boxes: S3FD, points: FAN, score_threshold: float = 0.5, device: torch.device = CPU) -> None:
        self.boxes = boxes
        self.points = points
        self.score_threshold = score_threshold
        self.device = device

    @classmethod
    def from_files(cls, boxes: Path, points: Path, score_threshold: float, device: torch.device = CPU) -> Self:
        """Read converted weights (safetensors).

        Raises:
            ModelError: a file does not hold its network.
        """
        return cls(S3FD.from_file(boxes).to(device), FAN.from_file(points).to(device), score_threshold, device)

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Find the faces in a photo.

        Boxes may reach over the photo's edges; those with less than 30 % of their area inside are left out.

        Args:
            photo: [H, W, 3] uint8 RGB, any size from 1 x 1.
            lying: makes no difference.

        Returns:
            faces, the surest first; equal photos give equal lists.

        Raises:
            PhotoError: not such an array, or too little memory for it. RuntimeError: a GPU fails.
        """
        check_photo(photo)
        try:
            rows = self._search(photo).double()
            rows = torch.cat([rows[:, :2], rows[:, 2:4] - rows[:, :2], rows[:, 4:]], dim=1)  # x, y, width, height
            found = usable(rows.numpy(), photo.shape)
            corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1).astype(np.float32)
            picture = torch.from_numpy(photo.copy()).permute(2, 0, 1).to(self.device)
            points = self.points.landmarks(picture, torch.from_numpy(corners).to(self.device)).cpu().numpy()
        except RuntimeError as error:
            if self.device.type != "cpu":
                raise  # after most of a GPU's errors no other photo could be searched either
            raise PhotoError(f"faces cannot be searched: {str(error).splitlines()[0]}") from error
        return [_face(row, five_points(one)) for row, one in zip(found.tolist(), points, strict=True)]

    def _search(self, photo: Pixels) -> Tensor:
        """All faces [N, 5], x1, y1, x2, y2 and score, the surest first."""
        own, *smaller = self._levels(photo)
        if max(photo.shape[:2]) > TILE:  # tiles may cut faces: the surer finding is the better one
            return suppress(torch.cat([own, *smaller]))
        further = suppress(torch.cat([own[:0], *smaller]))
        found = torch.cat([own, further[~(overlaps(further, own) > OVERLAP).any(dim=1)]])
        return found[found[:, 4].argsort(descending=True, stable=True)]

    def _levels(self, photo: Pixels) -> Iterator[Tensor]:
        """What is found at the photo's own size, at half of it and so on, each [N, 5] in the photo's pixels."""
        height, width = photo.shape[:2]
        yield self._tiles(photo)
        part = photo
        while max(part.shape[:2]) > TRAINED_SIDE:
            size = (max(part.shape[1] // 2, 1), max(part.shape[0] // 2, 1))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            across, down = width / size[0], height / size[1]
            yield self._tiles(part) * torch.tensor([across, down, across, down, 1.0])

    def _tiles(self, photo: Pixels) -> Tensor:
        """Search one size; what an edge between tiles cuts is left to the neighbor or to a smaller size."""
        height, width = photo.shape[:2]
        rows = []
        for top, bottom in spans(height, TILE, TILES_OVERLAP):
            for left, right in spans(width, TILE, TILES_OVERLAP):
                found = self._run(photo[top:bottom, left:right]) + torch.tensor([left, top, left, top, 0.0])
                whole = ((found[:, 0] > left) | (left == 0)) & ((found[:, 2] < right) | (right == width))
                whole &= ((found[:, 1] > top) | (top == 0)) & ((found[:, 3] < bottom) | (bottom == height))
                rows.append(found[whole])
        return torch.cat(rows)

    def _run(self, image: Pixels) -> Tensor:
        below, beside = (max(LEAST_SIDE - side, 0) for side in image.shape[:2])
        tall = np.pad(image, ((0, below), (0, beside), (0, 0)))
        image_there = torch.from_numpy(tall).to(self.device).permute(2, 0, 1)[None].float()
        return self.boxes.detect(image_there, self.score_threshold)


def five_points(landmarks: Floats) -> Floats:
    """Eye, eye, nose and mouth corners [5, 2] of 68 points [68, 2], each pair from the image's left."""
    eyes = [landmarks[which].mean(axis=0) for which in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, landmarks[NOSE], landmarks[MOUTH_RIGHT], landmarks[MOUTH_LEFT]]).astype(np.float32)


def _face(row: list[float], points: Floats) -> Face:
    x, y, width, height, score = row
    return Face((x, y, width, height), points, min(score, 1.0))
