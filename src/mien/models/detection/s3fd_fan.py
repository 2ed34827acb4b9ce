"""Detects faces as FALCO's alignment does: S3FD finds boxes, 2D-FAN-4 finds 68 points in each; mien keeps five.

The published S3FD searches a photo at its own size. So does this one, and these detections take precedence. Two things
are added, so that faces of every size are found and memory stays bounded:
- photos are also searched at a half, a quarter, ... of their size, down to the 640 px of S3FD's training, for faces
  that fill them; detections at the photo's own size are not changed by this;
- photos of more than 1536 px are searched in overlapping tiles, at all these sizes, and the surest detection counts;
  no search takes more than 2 GB.

Unlike YuNet it does not find rotated faces.
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
from mien.models.detection.boxes import iou, usable
from mien.models.detection.fan import FAN
from mien.models.detection.s3fd import OVERLAP, S3FD, boxes_of, suppress
from mien.models.detection.tiles import check_photo, spans
from mien.types import Face, Floats, Pixels
from mien.util.devices import CPU

TRAINED_SIDE = 640
LEAST_SIDE = 32  # px; S3FD halves its maps five times
TILE = 1536
TILES_OVERLAP = 256  # px; larger faces are whole at a smaller size
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)  # of the person
NOSE, MOUTH_RIGHT, MOUTH_LEFT = 30, 48, 54


class LandmarkDetector:
    """Detects faces and gives each a box, five points and a score.

    Args:
        score_threshold: faces at or below this score, 0..1, are dropped; the original uses 0.5.
        device: the device of both networks.
    """

    def __init__(self, boxes: S3FD, points: FAN, score_threshold: float = 0.5, device: torch.device = CPU) -> None:
        self.boxes = boxes
        self.points = points
        self.score_threshold = score_threshold
        self.device = device

    @classmethod
    def from_files(cls, boxes: Path, points: Path, score_threshold: float, device: torch.device = CPU) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: a file does not hold its network.
        """
        return cls(S3FD.from_file(boxes).to(device), FAN.from_file(points).to(device), score_threshold, device)

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        """Finds the faces in a photo.

        Boxes may reach over the photo's edges; those with less than 30 % of their area inside are dropped.

        Args:
            photo: [H, W, 3] uint8 RGB, any size from 1 x 1.
            lying: has no effect.

        Returns:
            faces, the surest first; equal photos give equal lists.

        Raises:
            PhotoError: the array is not a photo, or memory does not suffice. RuntimeError: a GPU fails.
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
        """Finds all faces: [N, 5] x1, y1, x2, y2 and score, the surest first."""
        own, *smaller = self._levels(photo)
        if max(photo.shape[:2]) > TILE:  # tiles may cut faces: the surer detection is the better one
            return suppress(torch.cat([own, *smaller]))
        further = suppress(torch.cat([own[:0], *smaller]))
        known = (iou(boxes_of(further), boxes_of(own)) > OVERLAP).any(axis=1)
        found = torch.cat([own, further[torch.from_numpy(~known)]])
        return found[found[:, 4].argsort(descending=True, stable=True)]

    def _levels(self, photo: Pixels) -> Iterator[Tensor]:
        """Yields the faces found at the photo's own size, at half of it, ...: each [N, 5] in the photo's pixels."""
        height, width = photo.shape[:2]
        yield self._tiles(photo)
        part = photo
        while max(part.shape[:2]) > TRAINED_SIDE:
            size = (max(part.shape[1] // 2, 1), max(part.shape[0] // 2, 1))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            across, down = width / size[0], height / size[1]
            yield self._tiles(part) * torch.tensor([across, down, across, down, 1.0])

    def _tiles(self, photo: Pixels) -> Tensor:
        """Searches one size; faces cut by an edge between tiles are left to the neighbor or to a smaller size."""
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
        padded = np.pad(image, ((0, below), (0, beside), (0, 0)))
        on_device = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None].float()
        return self.boxes.detect(on_device, self.score_threshold)


def five_points(landmarks: Floats) -> Floats:
    """Derives eyes, nose and mouth corners [5, 2] from 68 points [68, 2]; each pair starts at the image's left."""
    eyes = [landmarks[which].mean(axis=0) for which in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, landmarks[NOSE], landmarks[MOUTH_RIGHT], landmarks[MOUTH_LEFT]]).astype(np.float32)


def _face(row: list[float], points: Floats) -> Face:
    x, y, width, height, score = row
    return Face((x, y, width, height), points, min(score, 1.0))
