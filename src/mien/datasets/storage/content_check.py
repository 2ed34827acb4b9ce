"""Photographs whose files were copied, fetched again or touched: what was made of them stays, where they are the same.

A file's state (size and time) is quickly asked for; only where it is another the content decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mien.datasets.storage.base import PhotoReader
from mien.errors import PhotoError


def content_digest(data: bytes) -> str:
    """BLAKE2b-64 of a photograph's file."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class ContentCheck:
    """Tells touched photographs from changed ones."""

    def __init__(self, source: PhotoReader) -> None:
        self.source = source

    def same(self, before: Any, digests: Any, now: Mapping[str, list[int] | None],
             known: Mapping[str, str] | None = None) -> bool:
        """Whether photos have the content that they had; files are read where their state is another.

        Args:
            before, digests: of each photo its state and its content's digest then, as a file in WORK says it.
            now: the states of today. known: digests that are known to be today's.

        Raises:
            OutputError: a store does not answer.
        """
        if not isinstance(before, dict) or not isinstance(digests, dict) or list(before) != list(now):
            return False
        today = known or {}
        lacking = "" if digests else None  # one that could not be read is the same as long as it cannot be read now
        return all(before[name] == state or (
            bool(before[name]) and state is not None
            and digests.get(name, lacking) == (today.get(name) or self._digest(name))) for name, state in now.items())

    def is_readable(self, name: str) -> bool:
        """Whether a photo's file can be read now."""
        return bool(self._digest(name))

    def _digest(self, name: str) -> str:
        try:
            return content_digest(self.source.data(name))
        except PhotoError:
            return ""
