"""Pair: the generated face that a real one starts from."""

from __future__ import annotations

import hmac
from collections.abc import Container
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.geometry import ellipse
from mien.losses import Faces
from mien.recipe import Pair as Settings
from mien.records import Match
from mien.stages.pool import COLOUR_SIZE, Pool, colour_picture


def distances(pool: Pool, faces: Faces, settings: Settings) -> Tensor:
    """[B, N] distance of real faces to pool faces, of the kind that the settings ask for."""
    if settings.distance == "attributes":
        return attribute_distances(pool, faces, settings)
    return embedding_distances(faces.embedding, pool.embeddings, settings.distance)


def embedding_distances(a: Tensor, b: Tensor, kind: str) -> Tensor:
    """[B, N] of embeddings [B, E] and [N, E]: `euclidean`, or `cosine` (one less the cosine)."""
    if kind == "cosine":
        return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return torch.cdist(a, b)


def attribute_distances(pool: Pool, faces: Faces, settings: Settings) -> Tensor:
    """[B, N]: features within the face plus colours.

    Pool pictures in which no face was found are infinitely far: nobody knows whom they look like.
    """
    features = torch.cdist(pool.vectors_of(faces.pairing), pool.vectors).square()
    mask = F.interpolate(ellipse(256), size=(COLOUR_SIZE, COLOUR_SIZE), mode="area").sqrt()
    weight = mask / mask.square().sum().sqrt() / 3**0.5
    colours = torch.cdist((colour_picture(faces.image) * weight).flatten(1),
                          (pool.colours * weight).flatten(1))
    unknown = pool.identities.square().sum(dim=1) == 0
    return (features + settings.colour_weight * colours).masked_fill(unknown, torch.inf)


def pair(pool: Pool, faces: Faces, settings: Settings, used: Container[int],
         table: Tensor | None = None, seed: int = 0) -> list[Match]:
    """For each face: of the k nearest unused pool faces the one least like the person (of equals the first), or any.

    Args:
        seed: of what is drawn.
        used: pool faces not to be given; avoided unless all are used. table: [B, N] distances to go by, in place of
            those that the settings ask for.
    """
    table = distances(pool, faces, settings) if table is None else table
    taken: set[int] = set()
    rng = torch.Generator().manual_seed(seed)
    matches = []
    for row, identity in zip(table, faces.identity, strict=True):
        near = _nearest(row, settings.k, used, taken)
        if settings.choice == "drawn":
            index = int(near[int(torch.randint(len(near), (1,), generator=rng))])
        else:
            index = int(near[int((pool.identities[near] @ identity).argmin())])
        if settings.unique:
            taken.add(index)
        matches.append(Match(index=index, distance=float(row[index])))
    return matches


def pair_person(row: Tensor, settings: Settings, key: bytes, used: Container[int]) -> Match:
    """One pool face for all photos of one person, chosen by a secret key.

    The key gives every pool face a secret rank; of the person's nearest faces the one ranked first is taken.
    The same key and about the same photos give the same face; without it the choice cannot be replayed.

    Args:
        row: [N] mean attribute distance of the person's faces to the pool's. used: pool faces that other
            people have.
    """
    near = _nearest(row, 2 * settings.k, used, set())
    index = min((int(i) for i in near), key=lambda i: hmac.digest(key, i.to_bytes(8, "big"), "sha256"))
    return Match(index=index, distance=float(row[index]))


def _nearest(row: Tensor, k: int, used: Container[int], taken: set[int]) -> Tensor:
    order = row.argsort(stable=True)
    order = order[row[order].isfinite()] if row.isfinite().any() else order  # not those whom nobody can tell
    free = list(islice((i for i in order.tolist() if i not in used and i not in taken), k))
    return torch.tensor(free) if free else order[:k]
