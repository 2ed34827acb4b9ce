"""Pair: the generated face that a real one starts from."""

from __future__ import annotations

import hmac
import random
from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.pool import Pool, Traits
from mien.recipe import PairSettings
from mien.types import Match

TILE = 4096  # pool faces whose distances are computed at once
SHORT = 64  # nearest pool faces that are looked at first


class AvailableFaces:
    """The pool faces that may still be given; where all have been, all may be given again."""

    def __init__(self, size: int, taken: Iterable[int] = ()) -> None:
        self.taken = torch.zeros(size, dtype=torch.bool)
        for index in taken:
            self.taken[index] = True

    def take(self, index: int) -> None:
        """Give one."""
        self.taken[index] = True

    def copy(self) -> AvailableFaces:
        """Another that starts from here."""
        other = AvailableFaces(0)
        other.taken = self.taken.clone()
        return other

    def nearest(self, row: Tensor, k: int, but: Collection[int] = ()) -> Tensor:
        """The k nearest by distances [N], nearest first, of equals the first; none of `but` while there are others."""
        row = row.clone()
        row[list(but)] = torch.inf
        if not (row.isfinite() & ~self.taken).any():
            self.taken.zero_()
        row[self.taken] = torch.inf
        k = min(k, max(int(row.isfinite().sum()), 1))
        last = row.topk(k, largest=False).values[-1]
        near = (row <= last).nonzero()[:, 0]
        return near[row[near].argsort(stable=True)][:k]

    def among(self, near: Tensor, row: Tensor, k: int, but: Collection[int] = ()) -> Tensor | None:
        """The same, if it can be told from the nearest of all, given with their distances in rising order."""
        rows = zip(row.tolist(), near.tolist(), self.taken[near].tolist(), strict=True)
        chosen = sorted((distance, index) for distance, index, taken in rows if not taken and index not in but)
        if len(chosen) < k or not chosen[k - 1][0] < float(row[-1]):  # beyond the last there may be equals
            return None
        return torch.tensor([index for _, index in chosen[:k]])


def distances(pool: Pool, traits: Traits, settings: PairSettings) -> Tensor:
    """[B, N] distance of real faces to pool faces, of the kind that the settings ask for."""
    if settings.distance == "attributes":
        return attribute_distances(pool, traits, settings)
    return embedding_distances(traits.embeddings, pool.embeddings, settings.distance)


def embedding_distances(a: Tensor, b: Tensor, kind: str) -> Tensor:
    """[B, N] of embeddings [B, E] and [N, E]: `euclidean`, or `cosine` (one less the cosine)."""
    if kind == "cosine":
        return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return torch.cdist(a, b)


def attribute_distances(pool: Pool, traits: Traits, settings: PairSettings) -> Tensor:
    """[B, N]: features within the face plus colors.

    Pool pictures in which no face was found are infinitely far: nobody knows whom they look like.
    """
    table = torch.empty(len(traits), len(pool))
    for first in range(0, len(pool), TILE):  # small enough to stay in the processor's cache
        part = slice(first, first + TILE)
        colors = _squared(traits.colors, pool.colors[part], pool.squares[1][part]).sqrt_()
        features = _squared(traits.vectors, pool.vectors[part], pool.squares[0][part])
        torch.add(features, colors, alpha=settings.color_weight, out=table[:, part])
    return table


def _squared(a: Tensor, b: Tensor, squares: Tensor) -> Tensor:
    """[B, N] squared Euclidean distances of rows [B, D] and [N, D], whose squared lengths are [N], by a product."""
    table = torch.addmm(squares, a, b.T, alpha=-2)
    return table.add_(a.square().sum(dim=1, keepdim=True)).clamp_(min=0)


def pair(pool: Pool, traits: Traits, settings: PairSettings, free: AvailableFaces, seeds: Sequence[int],
         table: Tensor | None = None, but: Collection[int] = ()) -> list[Match]:
    """For each face: of the k nearest free pool faces the one least like the person (of equals the first), or any.

    Args:
        free: pool faces to choose from; what is given is taken out where the settings want it. seeds: of what is
            drawn, one a face. table: [B, N] distances to go by, in place of those that the settings ask for. but: faces
            not to be given.
    """
    table = distances(pool, traits, settings) if table is None else table
    short = table.topk(min(max(SHORT, settings.k), len(pool)), largest=False)
    matches = []
    for i, (row, identity) in enumerate(zip(table, traits.identities, strict=True)):
        near = free.among(short.indices[i], short.values[i], settings.k, but)
        near = free.nearest(row, settings.k, but) if near is None else near
        if settings.choice == "drawn":
            index = int(near[random.Random(seeds[i]).randrange(len(near))])
        else:
            index = int(near[int((pool.identities[near] @ identity).argmin())])
        if settings.unique:
            free.take(index)
        matches.append(Match(index=index, distance=float(row[index])))
    return matches


def pair_person(row: Tensor, settings: PairSettings, key: bytes, free: AvailableFaces) -> Match:
    """One pool face for all photos of one person, chosen by a secret key, and given to nobody else.

    The key gives every pool face a secret rank; of the person's nearest faces the one ranked first is taken.
    The same key and about the same photos give the same face; without it the choice cannot be replayed.

    Args:
        row: [N] mean attribute distance of the person's faces to the pool's. free: what other people have not.
    """
    near = free.nearest(row, 2 * settings.k)
    index = min((int(i) for i in near), key=lambda i: hmac.digest(key, i.to_bytes(8, "big"), "sha256"))
    free.take(index)
    return Match(index=index, distance=float(row[index]))
