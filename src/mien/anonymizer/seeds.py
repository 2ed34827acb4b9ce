"""Seeds: the same faces get the same draws, whatever ran before them or beside them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable


def seed_of(seed: int, attempt: int, faces: Iterable[tuple[str, int]]) -> int:
    """A seed of faces (photo, number in it), of the recipe's own and of the attempt."""
    text = "\0".join(f"{file}:{face}" for file, face in faces)
    return zlib.crc32(f"{seed}:{attempt}:{text}".encode("utf-8", "surrogateescape"))
