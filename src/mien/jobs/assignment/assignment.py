"""The pool face that each face of a job starts from, as one small file."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.jobs.face_index import FaceIndex
from mien.types import Match
from mien.util.files import replace_file

# Of a shard: each face's match, and each face's person where the recipe tells people apart.
ShardAssignment = tuple[list[Match], list[str]]


@dataclass(frozen=True)
class Assignment:
    """The pool faces of the F faces to be anonymized in S shards, shard after shard.

    Attributes:
        digests: [S] int64, digest of each shard's face index; -1 where the shard has no assignment.
        firsts: [S + 1] int64, number of each shard's first face.
        indices, distances: [F] int64 and float32, see `mien.types.Match`.
        people: [F] int64, number of each face's person in `names`; empty where people are not told apart.
    """

    digests: Tensor
    firsts: Tensor
    indices: Tensor
    distances: Tensor
    people: Tensor
    names: list[str]

    @classmethod
    def of(cls, shards: Iterable[tuple[int, list[Match], list[str]]]) -> Self:
        """Makes it from each shard's digest, matches and people (an empty list where they are not told apart).

        Shards are drawn one by one, and only numbers are kept: a million faces take little memory.
        """
        digests, counts, indices, far, people = array("q"), array("q"), array("q"), array("f"), list[str]()
        for digest, matches, some in shards:
            digests.append(digest)
            counts.append(len(matches))
            indices.extend(match.index for match in matches)
            far.extend(match.distance for match in matches)
            people += some
        names = sorted(set(people))
        place = {name: i for i, name in enumerate(names)}
        return cls(_tensor(digests), _tensor(array("q", [0, *counts])).cumsum(0), _tensor(indices), _tensor(far),
                   torch.tensor([place[person] for person in people], dtype=torch.int64), names)

    @classmethod
    def from_file(cls, path: Path) -> Self | None:
        """Reads it; gives None where no readable file is there."""
        try:
            with safe_open(path, "pt") as file:
                return cls(**{name: file.get_tensor(name) for name in _TENSORS},
                           names=json.loads(file.metadata()["names"]))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Writes it whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        data = save({name: getattr(self, name) for name in _TENSORS}, {"names": json.dumps(self.names)})
        replace_file(path, lambda file: file.write_bytes(data))

    def knows(self, shard: int, digest: int) -> bool:
        """Whether a shard has an assignment that was made for photos of this digest."""
        return shard < len(self.digests) and int(self.digests[shard]) == digest

    def fits(self, shard: int, face_index: FaceIndex) -> bool:
        """Whether a shard's assignment was made by this face index."""
        is_known = self.knows(shard, face_index.digest)
        return is_known and int(self.firsts[shard : shard + 2].diff()) == len(face_index.traits)

    def of_shard(self, shard: int) -> ShardAssignment:
        """The matches of a shard's faces, and who they are."""
        here = slice(int(self.firsts[shard]), int(self.firsts[shard + 1]))
        matches = [Match(index, distance) for index, distance in
                   zip(self.indices[here].tolist(), self.distances[here].tolist(), strict=True)]
        return matches, [self.names[i] for i in self.people[here].tolist()]


def _tensor(values: array[int] | array[float]) -> Tensor:
    return torch.from_numpy(np.array(values))


_TENSORS = tuple(field.name for field in fields(Assignment) if field.name != "names")
