"""Computes the features of a face that pairing and the attribute losses use, with one interface for all networks.

A network's maps are normalized over their channels, the coarsest last; a token or an embedding is a map of one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.models.features.attribute_network import AttributeNetwork
from mien.models.features.resize import fit_square
from mien.models.features.vit import SIZE, VisionTransformer
from mien.models.recognition.arcface import ArcFace, face_view
from mien.util.image_tensors import ellipse

Maps = tuple[Tensor, ...]
VECTOR_WEIGHT = 0.4  # weight of the attribute vector, relative to the map


class Features(Protocol):
    """Computes features of aligned faces.

    Attributes:
        weights: the weight of each map in the feature distance.
    """

    weights: tuple[float, ...]

    def __call__(self, image: Tensor) -> Maps:
        """Computes the maps [B, C, h, w] of images [B, 3, H, W] in -1..1; at every place the channels have length 1."""

    def observe(self, image: Tensor) -> tuple[Maps, Tensor]:
        """Computes in one pass the maps, and the network's embedding [B, E] as it is, by which the paper pairs."""

    def embed(self, image: Tensor, unscaled: bool = False) -> Tensor:
        """Computes only the embedding [B, E].

        Args:
            unscaled: treat an image in -1..1 as one in 0..1, as the reference code does.
        """

    def pairing(self, maps: Maps, embedding: Tensor) -> Tensor:
        """Turns the result of `observe` into vectors [B, F] whose squared distances are attribute distances."""

    def tokens(self, image: Tensor, raw: bool = False) -> Tensor:
        """Computes unnormalized features [B, T, C] for the paper's loss.

        Args:
            raw: do not subtract the mean of the network's training images nor divide by their standard deviation.
        """


class ConvFeatures:
    """Uses the maps of a convolutional network at 56, 28, 14 and 7 px: EfficientNet-Lite0's blocks 2, 4, 10, 15.

    Args:
        network: images [B, 3, 224, 224] in -1..1 -> four maps.
    """

    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.5)

    def __init__(self, network: Callable[[Tensor], Maps]) -> None:
        self.network = network

    def __call__(self, image: Tensor) -> Maps:
        return tuple(F.normalize(one, dim=1) for one in self._maps(image))

    def observe(self, image: Tensor) -> tuple[Maps, Tensor]:
        maps = self._maps(image)
        return tuple(F.normalize(one, dim=1) for one in maps), maps[-1].mean(dim=(2, 3))

    def embed(self, image: Tensor, unscaled: bool = False) -> Tensor:
        del unscaled  # its input is in -1..1
        return self.observe(image)[1]

    def pairing(self, maps: Maps, embedding: Tensor) -> Tensor:
        """Returns the 14 px map within the face, scaled so that squared distances are means over it."""
        x = maps[2]  # [B, 112, 14, 14]
        mask = F.interpolate(ellipse(256, device=x.device), size=x.shape[-2:], mode="area")
        return (x * (mask / mask.sum()).sqrt()).flatten(1)

    def tokens(self, image: Tensor, raw: bool = False) -> Tensor:
        del raw  # its input has no mean and deviation to leave out
        return self._maps(image)[2].flatten(2).transpose(1, 2)

    def _maps(self, image: Tensor) -> Maps:
        return self.network(F.interpolate(image, size=(224, 224), mode="bilinear", align_corners=False))


class AttributeFeatures(ConvFeatures):
    """Uses the attribute network's maps, of the same blocks, and its pairing vector."""

    def __init__(self, network: AttributeNetwork) -> None:
        super().__init__(network.maps)
        self.attributes = network

    def observe(self, image: Tensor) -> tuple[Maps, Tensor]:
        maps = self._maps(image)
        return tuple(F.normalize(one, dim=1) for one in maps), self.attributes.vector(maps[-1])

    def _maps(self, image: Tensor) -> Maps:
        return self.attributes.maps(image)

    def pairing(self, maps: Maps, embedding: Tensor) -> Tensor:
        """Returns the 14 px map within the face, and the weighted pairing vector."""
        return torch.cat([super().pairing(maps, embedding), VECTOR_WEIGHT**0.5 * embedding], dim=1)


class TokenFeatures:
    """Uses the patch tokens of the last block as a map, and the embedding, of CLIP, FaRL or DINO."""

    weights: tuple[float, ...] = (1.0, 1.0)

    def __init__(self, network: VisionTransformer) -> None:
        self.network = network

    def __call__(self, image: Tensor) -> Maps:
        return self.observe(image)[0]

    def observe(self, image: Tensor) -> tuple[Maps, Tensor]:
        tokens = self.tokens(image)
        side = round((tokens.shape[1] - 1) ** 0.5)
        patches = tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, side, side)  # [B, 768, 14, 14]
        embedding = self.network.finish(tokens)
        return (F.normalize(patches, dim=1), F.normalize(embedding, dim=1)[:, :, None, None]), embedding

    def embed(self, image: Tensor, unscaled: bool = False) -> Tensor:
        return torch.as_tensor(self.network(self.network.normalize(image if unscaled else (image + 1) / 2)))

    def pairing(self, maps: Maps, embedding: Tensor) -> Tensor:
        return maps[1].flatten(1)

    def tokens(self, image: Tensor, raw: bool = False) -> Tensor:
        ready = fit_square(image, SIZE) if raw else self.network.normalize((image + 1) / 2)
        return self.network.tokens(ready)


class IdentityFeatures:
    """Uses a recognizer's embedding, the paper's comparison, in which both losses use the same features."""

    weights: tuple[float, ...] = (1.0,)

    def __init__(self, network: ArcFace) -> None:
        self.network = network

    def __call__(self, image: Tensor) -> Maps:
        return self.observe(image)[0]

    def observe(self, image: Tensor) -> tuple[Maps, Tensor]:
        embedding = self.embed(image)
        return (embedding[:, :, None, None],), embedding

    def embed(self, image: Tensor, unscaled: bool = False) -> Tensor:
        del unscaled  # its input is in -1..1
        return torch.as_tensor(self.network(face_view(image)))

    def pairing(self, maps: Maps, embedding: Tensor) -> Tensor:
        return maps[0].flatten(1)

    def tokens(self, image: Tensor, raw: bool = False) -> Tensor:
        del raw
        return self.embed(image)[:, None]
