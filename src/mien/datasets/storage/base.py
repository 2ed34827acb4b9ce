"""Defines how photographs are read and written by name, wherever they are stored, and does so for folders."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from mien.errors import OutputError, PhotoError
from mien.images.decode import read_file, read_photo_bytes
from mien.images.formats import printable
from mien.types import Photo, Skipped
from mien.util.files import stamp, write_files

WritePhoto = Callable[[str, bytes], None]  # a photograph's name and its file


class PhotoReader(Protocol):
    """Reads a dataset's photographs."""

    def data(self, name: str) -> bytes:
        """Returns the bytes of a photograph's file.

        Raises:
            PhotoError: it cannot be read.
        """

    def stamp(self, name: str) -> list[int] | None:
        """Returns numbers that change when the photo does, or None if there is no such photo.

        Raises:
            OSError: the disk or the store does not answer.
        """

    def as_png(self, name: str) -> str:
        """Returns the name in the result of a photo that has to become a PNG."""


def photo_of(reader: PhotoReader, name: str) -> Photo:
    """Reads and decodes one of a dataset's photographs.

    Raises:
        PhotoError: it cannot be read.
    """
    return read_photo_bytes(reader.data(name), name)


def state_of(reader: PhotoReader, name: str) -> list[int] | None:
    """Returns `PhotoReader.stamp` of one of a dataset's photographs.

    Raises:
        OutputError: the disk or the store does not answer.
    """
    try:
        return reader.stamp(name)
    except OSError as error:
        raise OutputError(f"{printable(name)} cannot be looked at: {error.strerror or error}",
                          "run the same command again when its disk or store answers") from error


class PhotoWriter(Protocol):
    """Writes a result's photographs, shard by shard."""

    def shard(self, index: int) -> AbstractContextManager[WritePhoto]:
        """Context manager that yields `write(name, data)` for one shard.

        On normal exit all photos are stored; if it raises, any subset may be. Each photo is written atomically and
        replaces an existing one.

        Raises:
            OutputError: the photos cannot be stored. `write` may also raise OSError, or PhotoError if no file can have
                the photo's name.
        """

    def has(self, index: int, name: str, size: int | None) -> bool:
        """Tells whether a shard's photograph is stored, with `size` bytes (None: with any size).

        Raises:
            OutputError: the store does not answer.
        """

    def remove(self, index: int, name: str) -> None:
        """Deletes a shard's photograph, if there is one."""

    def count_missing(self, shards: Iterable[Iterable[str]]) -> int:
        """Counts the photographs of all shards that are not stored.

        Args:
            shards: for each shard, in their order, the names of its photographs.

        Raises:
            OSError: the disk or the store does not answer.
        """

    def remove_unclaimed(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
        """Deletes photographs that a killed run may have left.

        Args:
            names: the names that such photographs may have.
            claimed: tells whether a finished shard has a photograph of this name.

        Raises:
            OSError: a photograph cannot be deleted.
        """

    def filled(self) -> bool:
        """Tells whether there are any files where the result goes."""

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> list[Skipped]:
        """Completes the result once all shards are written: joins shard archives, if there are any.

        May be called again.

        Args:
            outputs: for each shard, in their order, the photographs' names in the source -> their names in the result.

        Returns:
            photographs (by their names in the source) that are not in the result after all, and why.

        Raises:
            OSError, OutputError: a file cannot be written.
        """


class Container(Protocol):
    """Describes where a dataset's photographs are stored if they are no files in a folder; small and picklable."""

    @property
    def reader(self) -> PhotoReader:
        """A new reader of the photographs."""

    def writer(self, dst: Path, work: Path, subset: str) -> PhotoWriter:
        """Returns what writes a result of the same layout to `dst`.

        Args:
            work: a folder for shards that are not in `dst` yet.
            subset: splits, as in "train+val", or "" for all.
        """


class FolderReader:
    """Reads photographs below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> bytes:
        return read_file(self.root / name, name)

    def stamp(self, name: str) -> list[int] | None:
        return stamp(self.root / name)

    def as_png(self, name: str) -> str:
        return f"{name}.png"


class FolderWriter:
    """Writes photographs below a folder; files outside of it are never deleted."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def shard(self, index: int) -> Iterator[WritePhoto]:
        with write_files() as write:
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

    def count_missing(self, shards: Iterable[Iterable[str]]) -> int:
        return sum(not self.has(index, name, None) for index, names in enumerate(shards) for name in names)

    def remove_unclaimed(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
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
    """Tells whether the disk refuses the name as too long; makes its folder first, as disks check names one by one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.lstat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False
