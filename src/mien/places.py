"""Where photographs come from and where they go, one by one, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from mien.files import stamp
from mien.records import Photo
from mien.stages.export import write_bytes
from mien.stages.read import read_photo

Write = Callable[[str, bytes], None]  # a photograph's name and its file


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
    """A result's photographs, which come shard by shard."""

    def shard(self, index: int) -> AbstractContextManager[Write]:
        """Give what writes the photographs of one shard, each whole or not at all, in place of what was there.

        Once it is left without an error they are all there; with one, some may be.

        Raises:
            OutputError: they cannot be kept. Writing one may raise OSError too.
        """

    def has(self, index: int, name: str) -> bool:
        """Whether a shard's photograph is there."""

    def remove(self, index: int, name: str) -> None:
        """Take a shard's photograph out again, where it is there."""

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> None:
        """Put together what has to be, when all shards are there; may be called again.

        Args:
            outputs: of each shard the photographs' names in the source and in the result.

        Raises:
            OSError, OutputError: it cannot be written.
        """


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

    @contextmanager
    def shard(self, index: int) -> Iterator[Write]:
        yield self._write

    def has(self, index: int, name: str) -> bool:
        return (self.root / name).is_file()

    def remove(self, index: int, name: str) -> None:
        path = self.root / name
        if self.root.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> None:
        pass

    def _write(self, name: str, data: bytes) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, data)
