"""Reads and writes photographs by URL: in object stores and whatever else fsspec opens ("s3://bucket/photos")."""

from __future__ import annotations

import errno
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec

from mien.datasets.dataset import Dataset
from mien.datasets.scan import Tally, tally_photo
from mien.datasets.storage.base import FolderWriter, PhotoReader, PhotoWriter, WritePhoto
from mien.errors import OutputError, PhotoError, UsageError
from mien.images.formats import printable
from mien.types import Skipped

TRIES = 6
FIRST_WAIT = 0.2  # seconds; twice as long after each failure

Answer = TypeVar("Answer")
_one_request = threading.RLock()


def is_url(path: str) -> bool:
    """Tells a URL from a path on this machine."""
    return "://" in path


class UrlFolder:
    """A folder by URL, opened anew in each process. Requests that fail are repeated, since stores fail now and then.

    Raises:
        UsageError: no installed package opens such a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"cannot open {self.url}: {error}", "install the package that fsspec names") from error

    def __reduce__(self) -> tuple[type[UrlFolder], tuple[str]]:
        return UrlFolder, (self.url,)

    def names(self) -> list[str]:
        """Returns the names of all files below it, relative to it, sorted by their bytes."""
        self._drop_listings()
        found = self._repeat(lambda: self.fs.find(self.root))
        return sorted((path[len(self.root) :].lstrip("/") for path in found), key=lambda name: name.encode())

    def read(self, name: str) -> bytes:
        """Returns a file's content.

        Raises:
            OSError: it does not exist, or cannot be read.
        """
        data: bytes = self._repeat(lambda: self.fs.cat_file(self._path(name)))
        return data

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, in place of an existing one.

        Raises:
            OSError: it cannot be written.
        """
        def put() -> None:
            self.fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self.fs.pipe_file(self._path(name), data)

        self._repeat(put)

    def stamp(self, name: str) -> list[int] | None:
        """Returns size and a number that changes with the content, or None if there is no such file."""
        try:
            info: dict[str, Any] = self._repeat(lambda: self.fs.info(self._path(name)))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise
        changed = next((info[key] for key in ("ETag", "etag", "md5", "mtime", "LastModified", "created")
                        if info.get(key) is not None), "")
        return [int(info.get("size") or 0), zlib.crc32(str(changed).encode())]

    def remove(self, name: str) -> None:
        """Deletes a file, if there is one."""
        with suppress(FileNotFoundError):  # not looked up first: cached listings know less than the store
            self._repeat(lambda: self.fs.rm_file(self._path(name)))
        self._drop_listings()

    def stamp_now(self, name: str) -> list[int] | None:
        """Returns `stamp` from the store itself, not from a cached listing."""
        self._drop_listings()
        return self.stamp(name)

    def no_answer(self, name: str, what: str, error: OSError) -> OutputError:
        """Returns the error for a file that the store, after all tries, still does not serve or take."""
        return OutputError(f"{self.url}/{printable(name)} cannot be {what}: {error}",
                           "run the same command again when the store answers")

    def _drop_listings(self) -> None:
        """Drops cached listings: other processes write there too."""
        self.fs.invalidate_cache()

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _repeat(self, ask: Callable[[], Answer]) -> Answer:
        for tried in range(TRIES):
            try:
                # All threads share one connection, and a photograph is read while another is written.
                with nullcontext() if self.fs.async_impl else _one_request:
                    return ask()
            except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError):
                raise
            except Exception as error:  # some stores raise errors of their own that are no OSError
                if tried + 1 == TRIES or getattr(error, "errno", None) == errno.ENAMETOOLONG:
                    if isinstance(error, OSError):
                        raise
                    raise OSError(str(error)) from error
                time.sleep(FIRST_WAIT * 2**tried * (0.5 + random.random()))  # so that workers do not ask all at once
        raise AssertionError


class UrlReader:
    """Reads photographs below a URL; it is the container of such a dataset, too."""

    def __init__(self, folder: UrlFolder) -> None:
        self.folder = folder

    @property
    def reader(self) -> PhotoReader:
        return self

    def writer(self, dst: Path, work: Path, subset: str) -> PhotoWriter:
        return FolderWriter(dst)

    def data(self, name: str) -> bytes:
        try:
            return self.folder.read(name)
        except (FileNotFoundError, PermissionError) as error:
            # Not in the store's words, which may name buckets and people: reasons are published in mien.json.
            why = "it is not there any more" if isinstance(error, FileNotFoundError) else "the store refuses it"
            raise PhotoError(f"{printable(name)}: {why}") from error
        except OSError as error:
            raise self.folder.no_answer(name, "fetched", error) from error

    def stamp(self, name: str) -> list[int] | None:
        return self.folder.stamp(name)

    def as_png(self, name: str) -> str:
        return f"{name}.png"


class UrlWriter:
    """Writes photographs below a URL.

    Most stores show a file once all of it has arrived; where one shows half a file, its shard is not finished and is
    written again.
    """

    def __init__(self, folder: UrlFolder) -> None:
        self.folder = folder

    @contextmanager
    def shard(self, index: int) -> Iterator[WritePhoto]:
        yield self._write

    def has(self, index: int, name: str, size: int | None) -> bool:
        try:
            return self._fits(self.folder.stamp(name), size) or self._fits(self.folder.stamp_now(name), size)
        except OSError as error:
            raise self.folder.no_answer(name, "looked at", error) from error

    def _fits(self, found: list[int] | None, size: int | None) -> bool:
        return found is not None and (size is None or found[0] in (0, size))  # some stores do not tell sizes

    def remove(self, index: int, name: str) -> None:
        if ".." not in PurePosixPath(name).parts:
            self.folder.remove(name)

    def count_missing(self, shards: Iterable[Iterable[str]]) -> int:
        there = set(self.folder.names())
        return sum(name not in there for names in shards for name in names)

    def remove_unclaimed(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
        there = set(self.folder.names())
        for name in names:
            if name in there and not claimed(name):
                self.folder.remove(name)

    def filled(self) -> bool:
        return bool(self.folder.names())

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> list[Skipped]:
        return []

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.folder.write(name, data)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise PhotoError(f"the new name is too long: {printable(name)}") from error
            raise self.folder.no_answer(name, "written", error) from error


def open_url_dataset(url: str, layout: str, subset: str | None) -> Dataset:
    """Opens a folder of photographs by URL, without reading pixels.

    Raises:
        UsageError: it cannot be opened, or a layout or a subset is asked for, which need files on a disk.
    """
    if layout not in ("auto", "folder") or subset:
        raise UsageError(f"{url}: only plain folders of photographs are read from there",
                         "leave --layout and --subset out, or copy the dataset to a disk")
    folder, tally, photos = UrlFolder(url), Tally(), list[str]()
    try:
        names = folder.names()
    except OSError as error:
        raise UsageError(f"cannot list {url}: {error}", "check the URL and what its store asks for") from error
    for name in names:
        parts = PurePosixPath(name).parts
        if ".." in parts or name != "/".join(parts):
            tally.skipped.append(Skipped(name, "a name that no folder can hold"))
        elif any(part.startswith(".") for part in parts):
            tally.passed_over += 1
        else:
            photos += tally_photo(name, tally)
    if not photos:
        raise UsageError(f"{url} holds no photograph", "check the URL")
    dataset = Dataset("folder", Path(), photos, skipped=tally.skipped, container=UrlReader(folder))
    dataset.note_other_files(tally.passed_over)
    return dataset


def upload(folder: Path, url: str) -> None:
    """Uploads all files of a folder to a URL.

    Raises:
        OutputError: a file cannot be written.
    """
    with UrlWriter(UrlFolder(url)).shard(0) as write:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                write(path.relative_to(folder).as_posix(), path.read_bytes())
