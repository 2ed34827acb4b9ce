"""Detects photos whose timestamp changed but whose content did not, so that they are not processed again.

A file's state (size and time) is cheap to get; the content is read only if the state differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mien.datasets.storage.base import PhotoReader
from mien.errors import PhotoError


def content_digest(data: bytes) -> str:
    """Returns the BLAKE2b digest (64 bits) of a photograph's file."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class ContentCheck:
    """Tells photographs whose content changed from those that were copied, fetched again or touched."""

    def __init__(self, reader: PhotoReader) -> None:
        self.reader = reader

    def unchanged(self, before: Any, digests: Any, now: Mapping[str, list[int] | None],
                  known: Mapping[str, str] | None = None) -> bool:
        """Tells whether all photos have the content that they had; files are read if their state differs.

        Args:
            before: photo -> its state then, as a file in WORK says it.
            digests: photo -> the digest of its content then, as a file in WORK says it.
            now: photo -> its state now.
            known: photo -> the digest of its content now, if that is known already.

        Raises:
            OutputError: the store does not answer.
        """
        if not isinstance(before, dict) or not isinstance(digests, dict) or list(before) != list(now):
            return False
        today = known or {}
        lacking = "" if digests else None  # a photo that could not be read is unchanged while it cannot be read
        return all(before[name] == state or (
            bool(before[name]) and state is not None
            and digests.get(name, lacking) == (today.get(name) or self._digest(name))) for name, state in now.items())

    def is_readable(self, name: str) -> bool:
        """Tells whether a photo's file can be read now."""
        return bool(self._digest(name))

    def _digest(self, name: str) -> str:
        try:
            return content_digest(self.reader.data(name))
        except PhotoError:
            return ""
