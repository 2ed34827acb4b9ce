"""Implements S3FD, a VGG-16 with six outputs, the face detector of FALCO's alignment.

Zhang et al. 2017, arXiv 1708.05237.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.detection.boxes import Boxes, nms
from mien.models.hub.load_state import load_into

LEVELS = ("conv3_3_norm", "conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2", "conv7_2")
FIRST_STRIDE = 4  # px, of the first level; each further level doubles it
CANDIDATE_SCORE = 0.05
SCORE = 0.5
OVERLAP = 0.3  # IoU
VARIANCES = (0.1, 0.2)
VGG = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))  # in, out, convolutions


class ChannelNorm(nn.Module):
    """Scales the channels at each place to unit length, then each channel by a factor of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        return x / length * self.weight[:, None, None]


class S3FD(nn.Module):
    """Detects faces in an image [1, 3, H, W], RGB 0..255, sides of 32 px or more; its weights are frozen.

    On a CPU it takes about 7 s and 0.8 GB a megapixel.
    """

    def __init__(self) -> None:
        super().__init__()
        for i, (channels, out, count) in enumerate(VGG, start=1):
            for j in range(1, count + 1):
                setattr(self, f"conv{i}_{j}", nn.Conv2d(channels if j == 1 else out, out, 3, padding=1))
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = nn.Conv2d(1024, 256, 1), nn.Conv2d(256, 512, 3, 2, padding=1)
        self.conv7_1, self.conv7_2 = nn.Conv2d(512, 128, 1), nn.Conv2d(128, 256, 3, 2, padding=1)
        for name, channels in zip(LEVELS, (256, 512, 512, 1024, 512, 256), strict=True):
            if name.endswith("norm"):
                setattr(self, name, ChannelNorm(channels))
            # The first level has three scores for "no face" and uses the highest.
            setattr(self, f"{name}_mbox_conf", nn.Conv2d(channels, 4 if name == LEVELS[0] else 2, 3, padding=1))
            setattr(self, f"{name}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "S3FD")

    def maps(self, image: Tensor) -> list[Tensor]:
        """Computes the feature maps that the six levels read, at strides 4, 8, ... 128."""
        x, found = image, []
        for i, (_, _, count) in enumerate(VGG, start=1):
            for j in range(1, count + 1):
                x = F.relu(getattr(self, f"conv{i}_{j}")(x), inplace=True)
            if i >= 3:
                found.append(getattr(self, LEVELS[i - 3])(x))
            x = F.max_pool2d(x, 2, 2)
        x = F.relu(self.fc7(F.relu(self.fc6(x))))
        found.append(x)
        for first, second in ((self.conv6_1, self.conv6_2), (self.conv7_1, self.conv7_2)):
            x = F.relu(second(F.relu(first(x))))
            found.append(x)
        return found

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Computes two scores [1, 2, h, w] and four offsets [1, 4, h, w] for each level."""
        levels = []
        for name, x in zip(LEVELS, self.maps(image), strict=True):
            scores = getattr(self, f"{name}_mbox_conf")(x)
            if scores.shape[1] == 4:
                scores = torch.cat([scores[:, :3].amax(dim=1, keepdim=True), scores[:, 3:]], dim=1)
            levels.append((scores, getattr(self, f"{name}_mbox_loc")(x)))
        return levels

    @torch.inference_mode()
    def detect(self, image: Tensor, score: float = SCORE) -> Tensor:
        """Finds the faces of one image.

        Returns:
            [N, 5] x1, y1, x2, y2 in pixels, and a score above `score`; the surest first.
        """
        found = self.candidates(image).cpu()
        return suppress(found[found[:, 4] > score])  # a box never suppresses one with a higher score

    @torch.inference_mode()
    def candidates(self, image: Tensor) -> Tensor:
        """Decodes all places with a score above 0.05, level by level, row by row: [N, 5]."""
        rows = []
        for level, (scores, offsets) in enumerate(self(image)):
            stride = FIRST_STRIDE * 2**level
            score = scores.softmax(dim=1)[0, 1]  # [h, w]
            y, x = (score > CANDIDATE_SCORE).nonzero(as_tuple=True)
            center = torch.stack([x, y], dim=1) * float(stride) + stride / 2
            prior = 4.0 * stride
            delta = offsets[0, :, y, x].T  # [n, 4]
            middle = center + delta[:, :2] * VARIANCES[0] * prior
            size = prior * torch.exp(delta[:, 2:] * VARIANCES[1])
            corner = middle - size / 2
            rows.append(torch.cat([corner, corner + size, score[y, x][:, None]], dim=1))
        return torch.cat(rows)


def suppress(rows: Tensor) -> Tensor:
    """Applies non-maximum suppression to rows [N, 5] on the CPU: x1, y1, x2, y2, score; the surest first."""
    rows = rows[rows[:, 4].argsort(descending=True, stable=True)]
    return rows[nms(boxes_of(rows), OVERLAP)]


def boxes_of(rows: Tensor) -> Boxes:
    """Returns the boxes of rows [N, 5]; as in the original, their sides count both end pixels."""
    return Boxes.from_pixels(rows.numpy())
