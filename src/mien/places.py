"""Where photographs come from and where they go, one by one, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mien.files import stamp
from mien.records import Photo
from mien.stages.export import write_bytes
from mien.stages.read import read_photo


class Source(Protocol):
    """A dataset's photographs."""

    def photo(self, name: str) -> Photo:
        """Read one.

        Raises:
            PhotoError: it cannot be read.
        """

    def stamp(self, name: str) -> list[int] | None:
        """What changes when the photo does, or None where there is no such photo."""


class Sink(Protocol):
    """A result's photographs."""

    def write(self, name: str, data: bytes) -> None:
        """Write one, whole or not at all, in place of what was there.

        Raises:
            OSError, OutputError: it cannot be written.
        """

    def has(self, name: str) -> bool:
        """Whether it is there."""

    def remove(self, name: str) -> None:
        """Take it out again, where it is there."""


class FolderSource:
    """Photographs below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def photo(self, name: str) -> Photo:
        return read_photo(self.root / name, name)

    def stamp(self, name: str) -> list[int] | None:
        return stamp(self.root / name)


class FolderSink:
    """Photographs below a folder; names that lead out of it are not there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, data: bytes) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, data)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def remove(self, name: str) -> None:
        path = self.root / name
        if self.root.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)
