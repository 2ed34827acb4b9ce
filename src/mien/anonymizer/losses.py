"""Computes what inversion and optimization compare: pixels at several sizes, face features, identity.

Targets are computed once, from the real crop; real and new images enter every network in the same range and
aligned the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.align import SIZE, from_photo, map_points
from mien.models.bundle import Networks
from mien.types import Crop, Face, Floats
from mien.util.image_tensors import ellipse, view

SHRINKS = (1, 4, 16)  # factors by which pictures are shrunk before their pixels are compared
VIEW = 112  # side of the recognizers' input, pixels


@dataclass(frozen=True)
class Faces:
    """Holds a batch of aligned real faces and everything about them that the losses need, computed once.

    Attributes:
        image: aligned faces [B, 3, S, S] in -1..1; S is 256, or less where a smaller preview is enough.
        inside: share of each pixel that is within the photo, [B, 1, S, S] in 0..1.
        view: affine [B, 2, 3] from crop pixels to the recognizer's 112 px view.
        identity: unit vectors [B, D] of the recognizer in the loss.
        features: channel-normalized feature maps.
        pairing: vectors [B, F] whose squared distances are attribute distances.
        embedding: the feature network's own embedding [B, E], by which the paper pairs.
    """

    image: Tensor
    inside: Tensor
    view: Tensor
    identity: Tensor
    features: tuple[Tensor, ...]
    pairing: Tensor
    embedding: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, which: Tensor | slice) -> Faces:
        """Selects some faces of the batch."""
        return Faces(self.image[which], self.inside[which], self.view[which], self.identity[which],
                     tuple(maps[which] for maps in self.features), self.pairing[which], self.embedding[which])


def identity_of(networks: Networks, image: Tensor, matrix: Tensor) -> Tensor:
    """Computes the recognizer's unit vectors [B, D] of images [B, 3, H, W] in -1..1, aligned by `matrix` [B, 2, 3]."""
    return networks.recognizer.identify(view(image, matrix, VIEW))


def view_matrix(points: Floats) -> Tensor:
    """Computes the affine [1, 2, 3] from crop pixels to the recognizer's view, from five points [5, 2] in crop pixels.

    Raises:
        ValueError: all points are in one place.
    """
    from mien.models.recognition.sface import align_matrix

    return torch.from_numpy(np.asarray(align_matrix(points), dtype=np.float32))[None]


def _stacked(networks: Networks, faces: list[Face], crops: list[Crop]) -> tuple[Tensor, Tensor]:
    """Stacks crops to images [B, 3, S, S] in -1..1, and computes the affines [B, 2, 3] to the recognizer's view."""
    image = torch.stack([torch.from_numpy(crop.pixels.copy()) for crop in crops]).permute(0, 3, 1, 2) / 127.5 - 1
    matrix = torch.cat([view_matrix(map_points(from_photo(crop.quad, image.shape[-1]), face.points))
                        for face, crop in zip(faces, crops, strict=True)])
    return image.to(networks.device), matrix.to(networks.device)


@torch.no_grad()
def targets(networks: Networks, image: Tensor, inside: Tensor, matrix: Tensor) -> Faces:
    """Computes everything that the losses need to know about aligned faces, see `Faces`."""
    features, embedding = networks.features.observe(image)
    return Faces(image, inside, matrix, identity_of(networks, image, matrix), features,
                 networks.features.pairing(features, embedding), embedding)


def shrunk(networks: Networks, faces: Faces, size: int) -> Faces:
    """Computes the targets anew for a smaller preview, from the images shrunk to `size` px."""
    if size == faces.image.shape[-1]:
        return faces
    return targets(networks, *_smaller(faces.image, faces.inside, faces.view, size))


def _smaller(image: Tensor, inside: Tensor, matrix: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shrinks images and `inside` to `size` px, and adapts the affines to the recognizer's view."""
    scale = image.shape[-1] / size
    image, inside = (F.interpolate(one, size=(size, size), mode="area") for one in (image, inside))
    linear, offset = matrix[:, :, :2], matrix[:, :, 2:]
    # Pixel i of the small picture has its center at scale * i + (scale - 1) / 2 of the large one.
    return image, inside, torch.cat([scale * linear, offset + linear.sum(dim=2, keepdim=True) * (scale - 1) / 2], dim=2)


@torch.no_grad()
def faces_of(networks: Networks, faces: list[Face], crops: list[Crop], size: int = SIZE) -> Faces:
    """Computes the targets of a batch of faces from their crops of 256 px, at that size or at a smaller one."""
    image, matrix = _stacked(networks, faces, crops)
    inside = torch.stack([torch.from_numpy(crop.inside).float()[None] for crop in crops]).to(networks.device)
    if size < image.shape[-1]:
        image, inside, matrix = _smaller(image, inside, matrix, size)
    return targets(networks, image, inside, matrix)


@torch.no_grad()
def identities_of(networks: Networks, faces: list[Face], crops: list[Crop]) -> Tensor:
    """Computes the recognizer's unit vectors [B, D] of faces from their crops; the result is in main memory."""
    return identity_of(networks, *_stacked(networks, faces, crops)).cpu()


def pixel_distance(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Computes the weighted mean absolute difference at full size, a quarter and a sixteenth of it, summed: [B]."""
    total = a.new_zeros(len(a))
    for shrink in SHRINKS:
        # Weighted before it is shrunk: pixels beyond the photo's edge must not leak into those at the edge.
        d = F.avg_pool2d((a - b) * weight, shrink).abs().mean(dim=1)
        total = total + d.sum(dim=(1, 2)) / F.avg_pool2d(weight, shrink).sum(dim=(1, 2, 3)).clamp(min=1e-6)
    return total


def feature_distance(levels: tuple[float, ...], a: tuple[Tensor, ...], b: tuple[Tensor, ...],
                     weight: Tensor | None = None) -> Tensor:
    """Computes the squared distance of channel-normalized maps, [B]: a weighted mean over pixels, summed over levels.

    Args:
        levels: weight of each map in the sum. weight: weights of the pixels [B, 1, S, S]; None: all count the same.
    """
    total = a[0].new_zeros(len(a[0]))
    for level, x, y in zip(levels, a, b, strict=True):
        d = (x - y).square().sum(dim=1, keepdim=True)  # [B, 1, h, w]
        if weight is None:
            total = total + level * d.mean(dim=(1, 2, 3))
        else:
            w = F.interpolate(weight, size=d.shape[-2:], mode="area").expand_as(d)
            total = total + level * (d * w).sum(dim=(1, 2, 3)) / w.sum(dim=(1, 2, 3)).clamp(min=1e-6)
    return total


def color_distance(a: Tensor, b: Tensor, weight: Tensor, size: int = 32) -> Tensor:
    """Computes the weighted mean absolute difference of the images shrunk to `size` px: [B]."""
    shrink = a.shape[-1] // size
    d = F.avg_pool2d((a - b) * weight, shrink).abs().mean(dim=1)
    return d.sum(dim=(1, 2)) / F.avg_pool2d(weight, shrink).sum(dim=(1, 2, 3)).clamp(min=1e-6)


def face_weight(faces: Faces, outside: float) -> Tensor:
    """Computes weights [B, 1, S, S] of pixels: 1 on the face and its rim, `outside` elsewhere, 0 beyond the photo."""
    mask = ellipse(faces.image.shape[-1], grow=0.12, soft=0.15, device=faces.image.device)
    return (outside + (1 - outside) * mask) * faces.inside
