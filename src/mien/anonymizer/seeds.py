"""Derives all random draws from one secret, so that its owner can repeat them and a reader of the result cannot.

The same faces get the same draws, whatever ran before or beside them. Without the secret they are as good as random,
also for readers who know the recipe, the names of the files and an original.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

SECRET_BYTES = 32


def secret_of(seed: int | None) -> bytes:
    """Returns the secret that a seed stands for, or a new random one where no seed is given."""
    if seed is None:
        return secrets.token_bytes(SECRET_BYTES)
    return hashlib.sha256(f"mien draws by seed {seed}".encode()).digest()


def seed_of(secret: bytes | int, attempt: int, faces: Iterable[tuple[str, int]]) -> int:
    """Derives a seed by HMAC-SHA256 from a secret, the number of the attempt, and faces (photo, number of the face).

    Args:
        secret: a run's secret; a number stands for the secret of that seed, see `secret_of`.

    Returns:
        A number of 63 bits, as random generators take it.
    """
    key = secret if isinstance(secret, bytes) else secret_of(secret)
    text = "\0".join([str(attempt), *(f"{file}:{face}" for file, face in faces)])
    return int.from_bytes(hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")[:8], "big") >> 1
