"""S3FD, the face detector of FALCO's alignment (Zhang et al. 2017, arXiv 1708.05237): VGG-16 with six outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.hub.load_state import load_into

LEVELS = ("conv3_3_norm", "conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2", "conv7_2")
FIRST_STRIDE = 4  # of the first level; each further level doubles it
CANDIDATE_SCORE = 0.05
SCORE = 0.5
OVERLAP = 0.3
VARIANCES = (0.1, 0.2)
VGG = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))  # in, out, convolutions


class ChannelNorm(nn.Module):
    """Unit length over the channels, then a factor for each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        return x / length * self.weight[:, None, None]


class S3FD(nn.Module):
    """Images [1, 3, H, W], RGB 0..255, sides of 32 px or more -> boxes with scores, frozen.

    On a CPU about 7 s and 0.8 GB a megapixel.
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
            # The first level has three scores for "no face" and takes the best.
            setattr(self, f"{name}_mbox_conf", nn.Conv2d(channels, 4 if name == LEVELS[0] else 2, 3, padding=1))
            setattr(self, f"{name}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read converted weights (safetensors).

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "S3FD")

    def maps(self, image: Tensor) -> list[Tensor]:
        """The feature maps that the six levels read, at strides 4, 8, ... 128."""
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
        """Two scores [1, 2, h, w] and four offsets [1, 4, h, w] for each level, as the network gives them."""
        levels = []
        for name, x in zip(LEVELS, self.maps(image), strict=True):
            scores = getattr(self, f"{name}_mbox_conf")(x)
            if scores.shape[1] == 4:
                scores = torch.cat([scores[:, :3].amax(dim=1, keepdim=True), scores[:, 3:]], dim=1)
            levels.append((scores, getattr(self, f"{name}_mbox_loc")(x)))
        return levels

    @torch.inference_mode()
    def detect(self, image: Tensor, score: float = SCORE) -> Tensor:
        """Faces of one image, best first: [N, 5] x1, y1, x2, y2 in pixels and score, above the one given."""
        found = self.candidates(image).cpu()
        return suppress(found[found[:, 4] > score])  # a worse box never puts a better one out

    @torch.inference_mode()
    def candidates(self, image: Tensor) -> Tensor:
        """All places with a score above 0.05, level by level, row by row: [N, 5]."""
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


def suppress(boxes: Tensor) -> Tensor:
    """Of overlapping boxes [N, 5] the best, best first."""
    boxes = boxes[boxes[:, 4].argsort(descending=True, stable=True)]
    alive, kept = torch.ones(len(boxes), dtype=torch.bool), []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        alive &= overlaps(boxes[i : i + 1], boxes)[0] <= OVERLAP
    return boxes[kept]


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union [N, M] of boxes [N, 5] and [M, 5]; sides count both end pixels, as in the original."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = (high - low + 1).clamp(min=0).prod(dim=2)
    areas = [(boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)
