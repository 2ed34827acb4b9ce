"""Where photographs come from and where they go, one by one, by name."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from mien.errors import OutputError, PhotoError
from mien.images.decode import read_file, read_photo_bytes
from mien.images.encode import written_together
from mien.images.formats import printable
from mien.types import Photo, Skipped
from mien.util.files import stamp

WritePhoto = Callable[[str, bytes], None]  # a photograph's name and its file


class PhotoReader(Protocol):
    """A dataset's photographs."""

    def data(self, name: str) -> bytes:
        """The file of one.

        Raises:
            PhotoError: it cannot be read.
        """

    def stamp(self, name: str) -> list[int] | None:
        """What changes when the photo does, or None where there is no such photo."""

    def as_png(self, name: str) -> str:
        """The name in the result of a photo that has to become a PNG."""


def photo_of(source: PhotoReader, name: str) -> Photo:
    """Read one of a dataset's photographs.

    Raises:
        PhotoError: it cannot be read.
    """
    return read_photo_bytes(source.data(name), name)


def state_of(source: PhotoReader, name: str) -> list[int] | None:
    """`PhotoReader.stamp` of one of a dataset's photographs.

    Raises:
        OutputError: a disk or a store does not answer.
    """
    try:
        return source.stamp(name)
    except OSError as error:
        raise OutputError(f"{printable(name)} cannot be looked at: {error.strerror or error}",
                          "run the same command again when its disk or store answers") from error


class PhotoWriter(Protocol):
    """A result's photographs, which come shard by shard."""

    def shard(self, index: int) -> AbstractContextManager[WritePhoto]:
        """Give what writes the photographs of one shard, each whole or not at all, in place of what was there.

        Once it is left without an error they are all there; with one, some may be.

        Raises:
            OutputError: they cannot be kept. Writing one may raise OSError too, or PhotoError: it has no name there.
        """

    def has(self, index: int, name: str, size: int | None) -> bool:
        """Whether a shard's photograph is there, and of so many bytes (None: nobody knows how many).

        Raises:
            OutputError: nobody can tell.
        """

    def remove(self, index: int, name: str) -> None:
        """Take a shard's photograph out again, where it is there."""

    def gone(self, shards: Iterable[Iterable[str]]) -> int:
        """How many of all shards' photographs are not there.

        Raises:
            OSError: nobody can tell.
        """

    def clear(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
        """Take out what a killed run may have left.

        Args:
            names: that such photographs may have. claimed: whether a shard has written one of this name.

        Raises:
            OSError: one cannot be taken out.
        """

    def filled(self) -> bool:
        """Whether anything at all is there."""

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> list[Skipped]:
        """Put together what has to be, when all shards are there; may be called again.

        Args:
            outputs: of each shard the photographs' names in the source and in the result.

        Returns:
            Photographs (by their names in the source) that are not in the result after all, and why.

        Raises:
            OSError, OutputError: it cannot be written.
        """


class Container(Protocol):
    """What holds a dataset's photographs where they are no files of their own; small, and can be pickled."""

    @property
    def source(self) -> PhotoReader:
        """Where they come from, made anew in each process."""

    def writer(self, dst: Path, work: Path, subset: str) -> PhotoWriter:
        """Where a result of the same form goes; `subset`: splits, as in "train+val", or ""."""


class FolderReader:
    """Photographs below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> bytes:
        return read_file(self.root / name, name)

    def stamp(self, name: str) -> list[int] | None:
        return stamp(self.root / name)

    def as_png(self, name: str) -> str:
        return f"{name}.png"


class FolderWriter:
    """Photographs below a folder; names that lead out of it are not there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def shard(self, index: int) -> Iterator[WritePhoto]:
        with written_together() as write:
            def put(name: str, data: bytes) -> None:
                path = self.root / name
                if _too_long(path):
                    raise PhotoError(f"the new name is too long: {printable(name)}")
                write(path, data)

            yield put

    def has(self, index: int, name: str, size: int | None) -> bool:
        found = stamp(self.root / name)
        return found is not None and size in (None, found[0]) and (self.root / name).is_file()

    def remove(self, index: int, name: str) -> None:
        path = self.root / name
        if self.root.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)

    def gone(self, shards: Iterable[Iterable[str]]) -> int:
        return sum(not self.has(index, name, None) for index, names in enumerate(shards) for name in names)

    def clear(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
        for name in names:
            path = self.root / name
            # Looked up in its folder too: some disks take two names that differ in case for one.
            if stamp(path) is not None and path.is_file() and not claimed(name) and path in path.parent.iterdir():
                self.remove(0, name)

    def filled(self) -> bool:
        return self.root.exists() and any(self.root.iterdir())

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> list[Skipped]:
        return []


def _too_long(path: Path) -> bool:
    """Whether a disk takes no such name; its folder is made, since a disk looks at one name after another."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.lstat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False
