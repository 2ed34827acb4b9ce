"""Provides tiny fake networks, to test the stages' own logic in milliseconds.

They are a few seeded matrices, and differentiable: a picture is a blurred 8x8 grid, and identity a projection of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.losses import Faces, targets
from mien.anonymizer.pool import Pool
from mien.models.bundle import Networks
from mien.models.features.base import ConvFeatures
from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import N_LAYERS
from mien.types import Face, Pixels

GRID = 8


def _matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) / rows**0.5


class ToyNetworks:
    """Stands in for `Networks`, and for its generator, features, recognizer and detector.

    Attributes:
        batches: number of faces of each preview that was rendered, in order.
        sees: whether the detector finds a face, always at the same place.
    """

    w_mean = torch.full((DIM,), 0.1)
    n_layers, width, precision, device = N_LAYERS, 128, torch.float32, torch.device("cpu")

    def __init__(self) -> None:
        self.paint = _matrix(N_LAYERS * DIM, 3 * GRID * GRID, 1) * 1.5
        self.recognize = _matrix(3 * GRID * GRID, 128, 2)
        self.batches: list[int] = []
        self.sees = True
        self.encoder: Callable[[Tensor], Tensor] = lambda image: torch.zeros(len(image), N_LAYERS, DIM)

    @property
    def generator(self) -> ToyNetworks:
        return self

    @property
    def detector(self) -> ToyNetworks:
        return self

    @property
    def recognizer(self) -> ToyNetworks:
        return self

    @property
    def features(self) -> ConvFeatures:
        return ConvFeatures(self._maps)

    def map(self, z: Tensor) -> Tensor:
        return z + self.w_mean

    def truncate(self, w: Tensor, psi: float) -> Tensor:
        return self.w_mean + psi * (w - self.w_mean)

    def whiten(self, w: Tensor) -> Tensor:
        return w - self.w_mean

    def color(self, v: Tensor) -> Tensor:
        return v + self.w_mean

    def preview(self, wp: Tensor, size: int = 256) -> Tensor:
        self.batches.append(len(wp))
        grid = torch.tanh(wp.flatten(1) @ self.paint).reshape(-1, 3, GRID, GRID)
        return F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)

    def _maps(self, image: Tensor) -> tuple[Tensor, ...]:
        """Mean colors of 4, 8, 16 and 32 px cells, spread over 24, 40, 112 and 320 channels."""
        maps = []
        for size, channels in ((56, 24), (28, 40), (14, 112), (7, 320)):
            cells = F.adaptive_avg_pool2d(image, size)
            maps.append(torch.einsum("bchw,cd->bdhw", torch.cat([cells, cells.square()], dim=1),
                                     _matrix(6, channels, channels)))
        return tuple(maps)

    def identify(self, chip: Tensor) -> Tensor:
        return F.normalize(F.adaptive_avg_pool2d(chip, GRID).flatten(1) @ self.recognize, dim=1)

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        points = torch.tensor([[90.0, 120], [166, 120], [128, 160], [100, 190], [156, 190]]).numpy()
        return [Face((60, 70, 136, 150), points, 0.9)] if self.sees else []


def toy_networks() -> tuple[Networks, ToyNetworks]:
    """Returns the same toy twice: typed as `Networks`, and as itself."""
    toy = ToyNetworks()
    return toy, toy  # type: ignore[return-value]


def toy_codes(count: int, seed: int = 5) -> Tensor:
    """Draws whitened codes [count, 16, 512], with a different vector for each layer."""
    return torch.randn(count, N_LAYERS, DIM, generator=torch.Generator().manual_seed(seed))


def toy_faces(networks: Networks, codes: Tensor) -> Faces:
    """Renders toy pictures of whitened codes, and computes their targets as of aligned real faces."""
    with torch.no_grad():
        image = networks.preview(networks.generator.color(codes))
        matrix = torch.tensor([[[0.6, 0.05, -20.0], [-0.05, 0.6, -25.0]]]).repeat(len(codes), 1, 1)
        return targets(networks, image, torch.ones(len(codes), 1, 256, 256), matrix)


def toy_pool(networks: Networks, count: int, seed: int = 6) -> Pool:
    """Builds a pool of toy faces whose pairing space is a random projection."""
    from mien.anonymizer.pool import COLOR_SIZE, color_picture

    codes = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    faces = toy_faces(networks, codes[:, None].repeat(1, N_LAYERS, 1))
    features = faces.pairing
    basis = _matrix(features.shape[1], 16, 9)
    colors = torch.linalg.qr(_matrix(3 * COLOR_SIZE**2, 200, 10)).Q
    return Pool(codes, (features - features.mean(dim=0)) @ basis, color_picture(faces.image).flatten(1) @ colors,
                faces.embedding, faces.identity, features.mean(dim=0), basis, colors)
