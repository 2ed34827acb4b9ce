"""Pool: generated faces to pair with.

Built once per generator, seed, size and truncation. Each face is kept as its whitened code, a pairing vector, a
vector of its colors and its identity; pictures themselves are not kept. The first faces also fit the projections to
these vectors (principal components).
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

FORMAT = 5
BATCH = 8
PART = 256  # faces a part file; a killed build loses at most one part
FIT = 2048  # at most so many faces fit the projections
PAIR_DIM, COLOR_DIM = 256, 64
COLOR_SIZE = 24

PoolProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pool:
    """N generated faces.

    Attributes:
        codes: [N, 512] whitened. vectors: [N, D] pairing space. colors: [N, C], colors within the face.
        embeddings: [N, E] the feature network's own, by which the paper pairs.
        identities: [N, I] the recognizer's unit vectors, zero where no face was found.
        pair_mean, pair_basis: [F], [F, D], pairing features to pairing vectors. color_basis: [1728, C], small
        pictures to colors.
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
        """Read a built pool (safetensors)."""
        state = load_file(path)
        return cls(**{field.name: state[field.name].float() for field in fields(cls)})

    @cached_property
    def squares(self) -> tuple[Tensor, Tensor]:
        """Squared lengths [N] of vectors and colors; infinite where nobody knows whom a picture looks like."""
        unknown = self.identities.square().sum(dim=1) == 0
        return self.vectors.square().sum(dim=1).masked_fill_(unknown, torch.inf), self.colors.square().sum(dim=1)

    def traits(self, faces: Faces) -> Traits:
        """What pairing in this pool goes by, of aligned real faces; in this machine's memory, as the pool is."""
        return Traits((faces.pairing.cpu() - self.pair_mean) @ self.pair_basis,
                      color_picture(faces.image.cpu()).flatten(1) @ self.color_basis, faces.embedding.cpu(),
                      faces.identity.cpu())


@dataclass(frozen=True)
class Traits:
    """What pairing goes by, of B real faces: see the pool's own.

    Attributes:
        vectors: [B, D]. colors: [B, C]. embeddings: [B, E]. identities: [B, I].
    """

    vectors: Tensor
    colors: Tensor
    embeddings: Tensor
    identities: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Those of all parts; parts without a face do not count."""
        parts = [part for part in parts if len(part)] or parts[:1]
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def rows(self, which: Tensor | slice) -> Self:
        """Some of them."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


def color_picture(image: Tensor) -> Tensor:
    """[B, 3, 256, 256] -> [B, 3, 24, 24], weighted so that squared distances are means over the face."""
    mask = F.interpolate(ellipse(256, device=image.device), size=(COLOR_SIZE, COLOR_SIZE), mode="area").sqrt()
    weight = mask / mask.square().sum().sqrt() / 3**0.5
    return F.interpolate(image, size=(COLOR_SIZE, COLOR_SIZE), mode="area") * weight


def pool_key(settings: PoolSettings, weights_hash: str) -> str:
    """Name of the pool of these settings by this generator (hash of the weights it was made with)."""
    text = f"{FORMAT}:{weights_hash}:{settings.model_dump_json()}"
    return f"pool-{settings.size}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def load_pool(folder: Path, key: str) -> Pool | None:
    """The built pool, or None where there is none (or a damaged one, which is then built anew)."""
    try:
        return Pool.from_file(folder / f"{key}.safetensors")
    except (OSError, KeyError, SafetensorError):
        return None


def build_pool(networks: Networks, settings: PoolSettings, folder: Path, key: str,
               progress: PoolProgress = lambda done, total: None) -> Pool:
    """Generate the faces, fit the projection, save all under `folder`; goes on where a killed build stopped.

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
    """All faces, as the pool keeps them; the first fit the projections for the others."""
    z = drawn(settings)

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
    """Write a pool's codes and embeddings as files, and the first pictures in full; pictures that are there stay.

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
        codes = {"z": drawn(settings), "w": w.cpu(), "codes": pool.codes}
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


def drawn(settings: PoolSettings) -> Tensor:
    """z [N, 512] ~ N(0, I) of a pool's faces."""
    return torch.randn(settings.size, DIM, generator=torch.Generator().manual_seed(settings.seed))


def _report(progress: PoolProgress, first: int, total: int, done: int) -> None:
    progress(first + done, total)


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(save(tensors))  # safetensors' own writer hides that the disk is full from `except OSError`


def _part(networks: Networks, settings: PoolSettings, z: Tensor, path: Path, fit: Fit | None,
          progress: Callable[[int], None]) -> dict[str, Tensor]:
    """Faces of a part, as they were before when they are there; projected at once where a fit is at hand."""
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
    """The recognizer's vectors [B, D] of generated pictures; zero where the detector sees no face."""
    out = torch.zeros(len(image), networks.recognizer.width)
    for i, pixels in enumerate(to_pixels(image).cpu().numpy()):
        found = networks.detector.detect(pixels)
        if found:
            largest = max(found, key=lambda face: face.area)
            out[i] = identity_of(networks, image[i : i + 1], view_matrix(largest.points).to(image))[0].cpu()
    return out


@dataclass(frozen=True)
class Fit:
    """The projections, see `Pool`."""

    mean: Tensor
    basis: Tensor
    colors: Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, parts: list[dict[str, Tensor]]) -> Self:
        """Fitted to the first faces."""
        mean, basis = _principal(torch.cat([part["pair"] for part in parts])[:FIT].float(), PAIR_DIM)
        pictures = torch.cat([part["pictures"] for part in parts])[:FIT].float()
        return cls(mean, basis.half(), _principal(pictures, COLOR_DIM)[1])

    @torch.inference_mode()
    def projected(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        """A part's faces as the pool keeps them."""
        kept = {name: part[name] for name in ("codes", "embeddings", "identities")}
        return kept | {"vectors": (part["pair"].float() - self.mean) @ self.basis.float(),
                       "colors": part["pictures"].float() @ self.colors}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    # safetensors takes rows in their plain order only; StyleGAN2's pictures come channels last.
    return {name: torch.cat([part[name] for part in parts]).contiguous() for name in parts[0]}


def _principal(x: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Mean [F] and leading principal directions [F, D] of rows [N, F], through the N x N Gram matrix."""
    mean = x.mean(dim=0)
    x = x - mean
    values, vectors = torch.linalg.eigh((x @ x.T).double())
    keep = min(most, len(x) - 1)
    values, vectors = values[-keep:].flip(0), vectors[:, -keep:].flip(1)
    return mean, (x.T @ (vectors / values.clamp(min=1e-9).sqrt()).float()).contiguous()
