"""Pairs real faces with pool faces: chooses the generated face that a new face starts from."""

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
SHORTLIST = 64  # nearest pool faces that are searched first


class AvailableFaces:
    """Keeps track of the pool faces that may still be chosen; once all are taken, all may be chosen again."""

    def __init__(self, size: int, taken: Iterable[int] = ()) -> None:
        self.taken = torch.zeros(size, dtype=torch.bool)
        for index in taken:
            self.taken[index] = True

    def take(self, index: int) -> None:
        """Marks a pool face as taken."""
        self.taken[index] = True

    def copy(self) -> AvailableFaces:
        """Returns a copy that changes on its own."""
        other = AvailableFaces(0)
        other.taken = self.taken.clone()
        return other

    def nearest(self, row: Tensor, k: int, excluded: Collection[int] = ()) -> Tensor:
        """Finds the k nearest available pool faces by distances [N], nearest first.

        Of equally near ones the first in the pool counts; `excluded` ones are found only when there are no others.
        """
        row = row.clone()
        row[list(excluded)] = torch.inf
        if not (row.isfinite() & ~self.taken).any():
            self.taken.zero_()
        row[self.taken] = torch.inf
        k = min(k, max(int(row.isfinite().sum()), 1))
        last = row.topk(k, largest=False).values[-1]
        near = (row <= last).nonzero()[:, 0]
        return near[row[near].argsort(stable=True)][:k]

    def nearest_of(self, shortlist: Tensor, row: Tensor, k: int, excluded: Collection[int] = ()) -> Tensor | None:
        """Finds the same within a shortlist of the nearest pool faces, or returns None where it may not suffice.

        Args:
            shortlist: indices of the nearest pool faces of all. row: their distances, rising.
        """
        rows = zip(row.tolist(), shortlist.tolist(), self.taken[shortlist].tolist(), strict=True)
        chosen = sorted((distance, index) for distance, index, taken in rows if not taken and index not in excluded)
        if len(chosen) < k or not chosen[k - 1][0] < float(row[-1]):  # equals may follow beyond the shortlist
            return None
        return torch.tensor([index for _, index in chosen[:k]])


def distances(pool: Pool, traits: Traits, settings: PairSettings) -> Tensor:
    """Computes the distances [B, N] of real faces to pool faces, of the kind that the settings ask for."""
    if settings.distance == "attributes":
        return attribute_distances(pool, traits, settings)
    return embedding_distances(traits.embeddings, pool.embeddings, settings.distance)


def embedding_distances(a: Tensor, b: Tensor, kind: str) -> Tensor:
    """Computes the distances [B, N] of embeddings [B, E] and [N, E]: `euclidean`, or `cosine` (1 - cosine)."""
    if kind == "cosine":
        return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return torch.cdist(a, b)


def attribute_distances(pool: Pool, traits: Traits, settings: PairSettings) -> Tensor:
    """Computes the attribute distances [B, N]: features within the face plus colors.

    Pool pictures in which no face was found are infinitely far, since their identity is unknown.
    """
    table = torch.empty(len(traits), len(pool))
    for first in range(0, len(pool), TILE):  # small enough to stay in the processor's cache
        part = slice(first, first + TILE)
        colors = _squared(traits.colors, pool.colors[part], pool.squares[1][part]).sqrt_()
        features = _squared(traits.vectors, pool.vectors[part], pool.squares[0][part])
        torch.add(features, colors, alpha=settings.color_weight, out=table[:, part])
    return table


def _squared(a: Tensor, b: Tensor, squares: Tensor) -> Tensor:
    """Computes squared Euclidean distances [B, N] of rows [B, D] and [N, D] by a product.

    Args:
        squares: squared lengths [N] of the rows of `b`.
    """
    table = torch.addmm(squares, a, b.T, alpha=-2)
    return table.add_(a.square().sum(dim=1, keepdim=True)).clamp_(min=0)


def pair(pool: Pool, traits: Traits, settings: PairSettings, free: AvailableFaces, seeds: Sequence[int],
         table: Tensor | None = None, excluded: Collection[int] = (), unlike: int | None = None) -> list[Match]:
    """Chooses for each face one of the k nearest available pool faces.

    The choice is the least similar in identity (`unlike`; of equally similar ones the nearest), which anyone who has
    the original can repeat, or a seeded random one (`drawn`), which takes the seed.

    Args:
        free: the pool faces to choose from; with `unique`, chosen ones are marked as taken in it.
        seeds: one seed a face, for the random choice; it is secret, see `mien.anonymizer.seeds`.
        table: distances [B, N] to use in place of those that the settings ask for.
        excluded: pool faces that must not be chosen while there are others.
        unlike: draw only among so many of the k that are least similar in identity; None: among all of them.
    """
    table = distances(pool, traits, settings) if table is None else table
    shortlist = table.topk(min(max(SHORTLIST, settings.k), len(pool)), largest=False)
    matches = []
    for i, (row, identity) in enumerate(zip(table, traits.identities, strict=True)):
        near = free.nearest_of(shortlist.indices[i], shortlist.values[i], settings.k, excluded)
        near = free.nearest(row, settings.k, excluded) if near is None else near
        likeness = pool.identities[near] @ identity
        if settings.choice == "drawn":
            among = near if unlike is None else near[likeness.argsort(stable=True)][:unlike]
            index = int(among[random.Random(seeds[i]).randrange(len(among))])
        else:
            index = int(near[int(likeness.argmin())])
        if settings.unique:
            free.take(index)
        matches.append(Match(index=index, distance=float(row[index])))
    return matches


def pair_person(row: Tensor, settings: PairSettings, key: bytes, free: AvailableFaces) -> Match:
    """Chooses one pool face for all photos of one person by a secret key, and marks it as taken.

    The key gives every pool face a secret rank; of the person's 2 k nearest faces the one ranked first is chosen.
    The same key and about the same photos give the same face; without the key the choice cannot be repeated.

    Args:
        row: mean attribute distances [N] of the person's faces to the pool's.
        free: the pool faces that no other person has.
    """
    near = free.nearest(row, 2 * settings.k)
    index = min((int(i) for i in near), key=lambda i: hmac.digest(key, i.to_bytes(8, "big"), "sha256"))
    free.take(index)
    return Match(index=index, distance=float(row[index]))
