"""The face index of a shard: the faces of its photos, and the features that pairing compares."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mien.anonymizer.pool import Traits
from mien.types import Face
from mien.util.files import replace_file

FileStates = dict[str, list[int] | None]  # photo -> its file's size and time of change, None where there is no file
UNREAD: list[int] = []  # in place of these, where a shard was done without a photo that has to be indexed again


@dataclass(frozen=True)
class FaceIndex:
    """The F faces in the photos of one shard, S of them to be anonymized.

    Attributes:
        states: file states of all photos of the shard when it was indexed. read: photos that could be read.
        photos: [F] int64, place of each face's photo in the shard.
        boxes: [F, 4] float64. points: [F, 5, 2] float32. scores: [F] float64. See `mien.types.Face`.
        chosen: [S] int64, numbers of the faces to be anonymized. traits: their features.
        digests: content digests of the photos that could be read.
        seconds: seconds by stage. wall: seconds in all.
    """

    states: FileStates
    read: list[str]
    photos: Tensor
    boxes: Tensor
    points: Tensor
    scores: Tensor
    chosen: Tensor
    traits: Traits
    digests: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0

    @property
    def digest(self) -> int:
        """A checksum of the photos' names and content."""
        return digest_of(self.states, self.digests)

    def faces(self, place: int) -> list[Face]:
        """The faces of one photo, in the detector's order."""
        return [_face(self.boxes[i], self.points[i], self.scores[i]) for i in (self.photos == place).nonzero()[:, 0]]

    def numbers(self) -> list[tuple[int, int]]:
        """The photo's place, and the number in the photo, of each face to be anonymized."""
        firsts = torch.searchsorted(self.photos, self.photos)
        return [(int(self.photos[i]), int(i - firsts[i])) for i in self.chosen]

    def write(self, path: Path) -> None:
        """Writes it whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        tensors = {name: getattr(self, name) for name in _TENSORS} | {
            f"traits.{one.name}": getattr(self.traits, one.name).contiguous() for one in fields(Traits)}
        head = {name: getattr(self, name) for name in ("states", "read", "digests", "seconds", "wall")}
        data = save(tensors, {name: json.dumps(value) for name, value in head.items()})
        replace_file(path, lambda file: file.write_bytes(data))

    @classmethod
    def from_file(cls, path: Path, states: FileStates | None = None) -> Self | None:
        """Reads it; gives None where the file is missing, damaged, or of photos in other states than `states`."""
        try:
            data = path.read_bytes()
            head = {name: json.loads(value) for name, value in _metadata(data).items()}
            if states is not None and head["states"] != states:
                return None
            # Not safe_open: it leaves 48 bytes a tensor behind (safetensors 0.8), 200 MB of a million photographs.
            # Copied: the last bits of sums depend on where in memory numbers begin, and that on the length of the head.
            tensors = {name: tensor.clone() for name, tensor in load(data).items()}
            traits = Traits(*(tensors[f"traits.{one.name}"] for one in fields(Traits)))
            parts: dict[str, Any] = head | {name: tensors[name] for name in _TENSORS}
            return cls(**parts, traits=traits)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata in the head of a safetensors file."""
    found: dict[str, str] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return found


_TENSORS = ("photos", "boxes", "points", "scores", "chosen")


def digest_of(states: FileStates, digests: Mapping[str, str]) -> int:
    """CRC-32 of photos' names and contents, or of their file states where no content is known."""
    known = {name: digests.get(name, "") for name in states} if digests else states
    return zlib.crc32(json.dumps(known).encode())


def _face(box: Tensor, points: Tensor, score: Tensor) -> Face:
    x, y, width, height = box.tolist()
    return Face((x, y, width, height), np.asarray(points.numpy(), np.float32), float(score))


def face_tensors(photos: list[list[Face]]) -> dict[str, Tensor]:
    """`photos`, `boxes`, `points` and `scores` of a face index, from the faces of each photo."""
    faces = [face for photo in photos for face in photo]
    return {
        "photos": torch.tensor([place for place, photo in enumerate(photos) for _ in photo], dtype=torch.int64),
        "boxes": torch.tensor([face.box for face in faces], dtype=torch.float64).reshape(-1, 4),
        "points": torch.tensor(np.array([face.points for face in faces], np.float32)).reshape(-1, 5, 2),
        "scores": torch.tensor([face.score for face in faces], dtype=torch.float64)}
