"""Builds pools, the generated faces that real ones are paired with.

A pool is built once per generator, seed, size and truncation. Each face is kept as its whitened code, a pairing vector,
a color vector, the feature network's embedding and its identity; pictures are not kept. The first faces also fit the
projections to pairing and color vectors (principal components).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.losses import Faces, identity_of, view_matrix
from mien.errors import OutputError
from mien.models.bundle import Networks
from mien.models.generators.base import DIM
from mien.recipe import PoolSettings
from mien.types import Pixels
from mien.util.files import replace_file
from mien.util.image_tensors import ellipse, to_pixels

FORMAT = 5  # to be raised when the same settings give another pool
BATCH = 8
PART = 256  # faces a part file; a killed build loses at most one part
FIT = 2048  # the projections are fitted to at most so many faces, the first ones
PAIR_DIM, COLOR_DIM = 256, 64
COLOR_SIZE = 24

PoolProgress = Callable[[int, int], None]  # faces done, faces in all


@dataclass(frozen=True)
class Pool:
    """Holds N generated faces.

    Attributes:
        codes: whitened codes [N, 512]. vectors: pairing vectors [N, D]. colors: vectors [N, C] of the colors within
            the face. embeddings: the feature network's own embeddings [N, E], by which the paper pairs.
        identities: the recognizer's unit vectors [N, I], zero where no face was found.
        pair_mean, pair_basis: mean [F] and basis [F, D] that project pairing features to pairing vectors.
        color_basis: basis [1728, C] that projects small pictures to color vectors.
    """

    codes: Tensor
    vectors: Tensor
    colors: Tensor
    embeddings: Tensor
    identities: Tensor
    pair_mean: Tensor
    pair_basis: Tensor
    color_basis: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Reads a built pool (safetensors)."""
        state = load_file(path)
        return cls(**{field.name: state[field.name].float() for field in fields(cls)})

    @cached_property
    def squares(self) -> tuple[Tensor, Tensor]:
        """Squared lengths [N] of pairing and color vectors; the former are infinite where the identity is unknown."""
        unknown = self.identities.square().sum(dim=1) == 0
        return self.vectors.square().sum(dim=1).masked_fill_(unknown, torch.inf), self.colors.square().sum(dim=1)

    def traits(self, faces: Faces) -> Traits:
        """Computes of aligned real faces what pairing in this pool compares; in main memory, as the pool is."""
        return Traits((faces.pairing.cpu() - self.pair_mean) @ self.pair_basis,
                      color_picture(faces.image.cpu()).flatten(1) @ self.color_basis, faces.embedding.cpu(),
                      faces.identity.cpu())


@dataclass(frozen=True)
class Traits:
    """Holds what pairing compares of B real faces, computed as the pool's tensors of the same names.

    Attributes:
        vectors: pairing vectors [B, D]. colors: color vectors [B, C]. embeddings: the feature network's own embeddings
            [B, E]. identities: the recognizer's unit vectors [B, I].
    """

    vectors: Tensor
    colors: Tensor
    embeddings: Tensor
    identities: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Joins the traits of all parts; parts without a face do not count."""
        parts = [part for part in parts if len(part)] or parts[:1]
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def rows(self, which: Tensor | slice) -> Self:
        """Selects some faces."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


def color_picture(image: Tensor) -> Tensor:
    """Shrinks [B, 3, 256, 256] to [B, 3, 24, 24], weighted so that squared distances are means over the face."""
    mask = F.interpolate(ellipse(256, device=image.device), size=(COLOR_SIZE, COLOR_SIZE), mode="area").sqrt()
    weight = mask / mask.square().sum().sqrt() / 3**0.5
    return F.interpolate(image, size=(COLOR_SIZE, COLOR_SIZE), mode="area") * weight


def pool_key(settings: PoolSettings, weights_hash: str) -> str:
    """Computes the cache name of a pool from its settings and the hash of the weights that it is built with."""
    text = f"{FORMAT}:{weights_hash}:{settings.model_dump_json()}"
    return f"pool-{settings.size}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def load_pool(folder: Path, key: str) -> Pool | None:
    """Loads a built pool; None where there is none, or a damaged one, which is then to be built anew."""
    try:
        return Pool.from_file(folder / f"{key}.safetensors")
    except (OSError, KeyError, SafetensorError):
        return None


def build_pool(networks: Networks, settings: PoolSettings, folder: Path, key: str,
               progress: PoolProgress = lambda done, total: None) -> Pool:
    """Generates the faces, fits the projections and saves all under `folder`; goes on where a killed build stopped.

    Args:
        progress: called with faces done and faces in all.

    Raises:
        OutputError: the folder cannot be written.
    """
    parts = folder / f"{key}.parts"
    try:
        parts.mkdir(parents=True, exist_ok=True)
        state = _generated(networks, settings, parts, progress)
        replace_file(folder / f"{key}.safetensors", lambda path: _write(path, state))
        for path in parts.iterdir():
            path.unlink()
        parts.rmdir()
    except OSError as error:
        raise OutputError(f"cannot keep the pool in {folder}: {error.strerror or error}",
                          "set MIEN_CACHE to a folder with room (about 10 kB a face)") from error
    return Pool.from_file(folder / f"{key}.safetensors")


def _generated(networks: Networks, settings: PoolSettings, parts: Path, progress: PoolProgress) -> dict[str, Tensor]:
    """Generates all faces, as the pool keeps them; the first ones fit the projections for all."""
    z = draw_z(settings)

    def part(first: int, fit: Fit | None) -> dict[str, Tensor]:
        return _part(networks, settings, z[first : first + PART], parts / f"{first:08d}.safetensors", fit,
                     partial(_report, progress, first, settings.size))

    firsts = range(0, settings.size, PART)
    fitting = [part(first, None) for first in firsts if first < FIT]
    fit = Fit.of(fitting)
    done = [fit.projected(one) for one in fitting] + [part(first, fit) for first in firsts if first >= FIT]
    return _joined(done) | {"pair_mean": fit.mean, "pair_basis": fit.basis, "color_basis": fit.colors}


@torch.inference_mode()
def export_pool(networks: Networks, pool: Pool, settings: PoolSettings, folder: Path, pictures: int = 0) -> None:
    """Writes a pool's codes and embeddings as files, and the first pictures at full size; existing pictures stay.

    codes.safetensors: z [N, 512], w [N, 512] (one vector for all layers of W+), codes [N, 512] whitened.
    embeddings.safetensors: embeddings [N, E].

    Raises:
        OutputError: the folder cannot be written, or holds another pool.
    """
    generator = networks.generator
    w = generator.color(pool.codes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not _holds(folder / "codes.safetensors", pool):
            raise OutputError(f"{folder} holds something else than this pool", "give a folder of its own")
        codes = {"z": draw_z(settings), "w": w.cpu(), "codes": pool.codes}
        for name, tensors in (("codes", codes), ("embeddings", {"embeddings": pool.embeddings})):
            replace_file(folder / f"{name}.safetensors", partial(_write, tensors=tensors))
        for i in range(min(pictures, len(pool))):
            path = folder / f"{i:06d}.jpg"
            if not path.exists():
                pixels = to_pixels(networks.render(w[i].expand(1, generator.n_layers, -1)))[0].cpu().numpy()
                replace_file(path, partial(_save_picture, pixels))
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or folder}: {error.strerror or error}",
                          "choose another folder") from error


def _holds(path: Path, pool: Pool) -> bool:
    try:
        return torch.equal(load_file(path)["codes"], pool.codes)
    except (OSError, KeyError, SafetensorError):
        return False


def _save_picture(pixels: Pixels, path: Path) -> None:
    Image.fromarray(pixels).save(path, "JPEG", quality=95, subsampling=0, progressive=True)


def draw_z(settings: PoolSettings) -> Tensor:
    """Draws the z [N, 512] ~ N(0, I) of a pool's faces."""
    return torch.randn(settings.size, DIM, generator=torch.Generator().manual_seed(settings.seed))


def _report(progress: PoolProgress, first: int, total: int, done: int) -> None:
    progress(first + done, total)


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(save(tensors))  # safetensors' own writer raises no OSError when the disk is full


def _part(networks: Networks, settings: PoolSettings, z: Tensor, path: Path, fit: Fit | None,
          progress: Callable[[int], None]) -> dict[str, Tensor]:
    """Reads the faces of a part, or generates and writes them; they are projected where a fit is given."""
    try:
        part = load_file(path)
        if len(part["codes"]) == len(z) and len(part["vectors" if fit else "pair"]) == len(z):
            progress(len(z))
            return part
    except (OSError, KeyError, SafetensorError):
        pass
    rows = []
    for i in range(0, len(z), BATCH):
        rows.append(_faces(networks, settings, z[i : i + BATCH]))
        progress(min(i + BATCH, len(z)))
    part = _joined(rows)
    part = fit.projected(part) if fit else part
    replace_file(path, lambda target: _write(target, part))
    return part


@torch.inference_mode()
def _faces(networks: Networks, settings: PoolSettings, z: Tensor) -> dict[str, Tensor]:
    """Generates faces [B] and computes what the pool keeps of them, or what the projections are fitted to."""
    generator = networks.generator
    w = generator.map(z)
    if settings.truncation_space == "whitened":
        codes = settings.truncation * generator.whiten(w)
        w = generator.color(codes)
    else:
        w = generator.truncate(w, settings.truncation)
        codes = generator.whiten(w)
    wp = w[:, None].expand(-1, generator.n_layers, -1)
    image = networks.preview(wp)
    features, embedding = networks.features.observe(image)
    if settings.reference:
        embedding = networks.features.embed(networks.render(wp), unscaled=True)
    found = {"codes": codes, "pictures": color_picture(image).flatten(1).half(),
             "embeddings": embedding, "identities": _identities(networks, image),
             "pair": networks.features.pairing(features, embedding).half()}
    return {name: tensor.cpu() for name, tensor in found.items()}


def _identities(networks: Networks, image: Tensor) -> Tensor:
    """Computes the recognizer's vectors [B, D] of generated pictures; zero where the detector finds no face."""
    out = torch.zeros(len(image), networks.recognizer.width)
    for i, pixels in enumerate(to_pixels(image).cpu().numpy()):
        found = networks.detector.detect(pixels)
        if found:
            largest = max(found, key=lambda face: face.area)
            out[i] = identity_of(networks, image[i : i + 1], view_matrix(largest.points).to(image))[0].cpu()
    return out


@dataclass(frozen=True)
class Fit:
    """Holds the projections to pairing vectors (`mean`, `basis`) and color vectors (`colors`), see `Pool`."""

    mean: Tensor
    basis: Tensor
    colors: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, parts: list[dict[str, Tensor]]) -> Self:
        """Fits the projections to the first faces."""
        mean, basis = _principal(torch.cat([part["pair"] for part in parts])[:FIT].float(), PAIR_DIM)
        pictures = torch.cat([part["pictures"] for part in parts])[:FIT].float()
        return cls(mean, basis.half(), _principal(pictures, COLOR_DIM)[1])

    @torch.inference_mode()
    def projected(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        """Projects a part's faces to what the pool keeps."""
        kept = {name: part[name] for name in ("codes", "embeddings", "identities")}
        return kept | {"vectors": (part["pair"].float() - self.mean) @ self.basis.float(),
                       "colors": part["pictures"].float() @ self.colors}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    # safetensors takes contiguous tensors only; StyleGAN2's pictures come channels last.
    return {name: torch.cat([part[name] for part in parts]).contiguous() for name in parts[0]}


def _principal(x: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Computes the mean [F] and the leading principal directions [F, D] of rows [N, F], by the N x N Gram matrix."""
    mean = x.mean(dim=0)
    x = x - mean
    values, vectors = torch.linalg.eigh((x @ x.T).double())
    keep = min(most, len(x) - 1)
    values, vectors = values[-keep:].flip(0), vectors[:, -keep:].flip(1)
    return mean, (x.T @ (vectors / values.clamp(min=1e-9).sqrt()).float()).contiguous()
