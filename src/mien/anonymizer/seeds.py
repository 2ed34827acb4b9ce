"""Derives seeds, so that the same faces get the same random draws, whatever ran before or beside them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable


def seed_of(seed: int, attempt: int, faces: Iterable[tuple[str, int]]) -> int:
    """Derives a seed from the recipe's own, the number of the attempt, and faces (photo, number of the face in it)."""
    text = "\0".join(f"{file}:{face}" for file, face in faces)
    return zlib.crc32(f"{seed}:{attempt}:{text}".encode("utf-8", "surrogateescape"))
