"""Writes files so that they appear whole or not at all, reads JSON, and tells whether a file changed."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mien.errors import OutputError

WriteFile = Callable[[Path, bytes], None]  # a file's path and its content

_IN_THE_WAY = "a file is where a folder is needed: remove it or choose another folder"
_NO_PERMISSION = "you have no permission to write there: choose another folder"
_HINTS = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "your disk quota is used up: free some space, then run the same command again",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.ENAMETOOLONG: "the name is too long for the disk: shorten it",
    errno.EISDIR: "a folder of that name is in the way: remove it or choose another folder",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
}
_ANY_HINT = "free some space or choose another folder, then run the same command again"


def stamp(path: Path) -> list[int] | None:
    """Returns size and time of the last change (ns) of a file, which differ once it changed; None if it is gone.

    Raises:
        OSError: the disk does not answer, so that nothing is known of the file.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        if error.errno in (errno.ELOOP, errno.EACCES):  # the file is there; that it cannot be read, the reader says
            return [0, 0]
        raise  # a disk that does not answer now has not lost its photographs
    return [status.st_size, status.st_mtime_ns]


_FAULTS_OF_FILES = (None, errno.EINVAL, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOENT, errno.ENOTDIR,
                    errno.ELOOP)


def is_fault_of_file(error: Exception) -> bool:
    """Tells whether an error is due to the file that was read, and not to a disk that does not answer."""
    return not isinstance(error, OSError) or error.errno in _FAULTS_OF_FILES


def error_text(error: Exception) -> str:
    """Returns an error's message without file paths: such texts get into mien.json, which is published."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return re.sub(r"'[^']*/[^']*'", "it", str(error).partition("\n")[0])[:120]


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, or None if there is no readable one."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one if there is no readable file, or it holds something else."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def part_name() -> str:
    """Returns a new name for a file that is not whole yet; `PARTS` of `mien.jobs.state` matches such names."""
    # Drawn: processes of several machines may have one number. Short: the name itself may be as long as the disk takes.
    return f".mien-{secrets.randbelow(10**12)}-{secrets.token_hex(4)}"


class _PartFile:
    """A new file next to `path` that takes its place once it is whole.

    Args:
        path: the final name. A file or link there is replaced in the end; what a link leads to is left alone.

    Raises:
        OSError: it cannot be made. So do `sync` and `publish`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._part = path, path.with_name(part_name())
        self.file = self._part.open("xb")

    def sync(self) -> None:
        """Waits until the content is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def publish(self) -> None:
        """Puts the file in place."""
        self.file.close()
        self._part.replace(self.path)

    def discard(self) -> None:
        """Deletes the file, unless it is in place already."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file of another name, syncs it and puts it in place of `path`; a failure leaves nothing.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(part_name())
    try:
        write(part)
        with part.open("rb+") as file:  # some systems sync only what is open for writing
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(part):
            error.filename = str(path)  # the name that the user knows
        raise


@contextmanager
def open_replacement(path: Path) -> Iterator[IO[bytes]]:
    """Yields a new file that takes the place of `path` on normal exit; after an error `path` is as it was.

    Missing folders are made.

    Raises:
        OutputError: as `write_file`, on entry and on exit. Errors from inside the context pass unchanged.
    """
    with _path_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _PartFile(path)
    try:
        yield part.file
        with _path_errors(path):
            part.sync()
            part.publish()
    except BaseException:
        part.discard()
        raise
    _sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file that appears whole or not at all, even when the power fails. Missing folders are made.

    Raises:
        OutputError: the disk is full, read-only or closed to the user, or the name is impossible.
    """
    with write_files() as write:
        write(path, data)


@contextmanager
def write_files() -> Iterator[WriteFile]:
    """Yields a function that writes files as `write_file` does; all names appear on exit, in the order of writing.

    This is faster than `write_file` for each, since the disk is waited for once. After an error none of the names has
    changed, unless the last renaming itself failed.

    Raises:
        OutputError: as `write_file`, on exit and from each call of the function.
    """
    parts: list[_PartFile] = []

    def write(path: Path, data: bytes) -> None:
        with _path_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            parts.append(_PartFile(path))
            parts[-1].file.write(data)
            parts[-1].file.flush()

    try:
        yield write
        for part in parts:
            with _path_errors(part.path):
                part.sync()
        for part in parts:
            with _path_errors(part.path):
                part.publish()
    except BaseException:
        for part in parts:
            part.discard()
        raise
    for folder in dict.fromkeys(part.path.parent for part in parts):
        _sync_folder(folder)


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the file system into OutputError; `folder` is named where an error names no file."""
    try:
        yield
    except OSError as error:
        raise _output_error(error.filename or folder, error) from error


@contextmanager
def _path_errors(path: Path) -> Iterator[None]:
    """Turns whatever stops the writing of `path` into OutputError that names it, and not the part file."""
    try:
        yield
    except OSError as error:
        raise _output_error(path, error) from error
    except ValueError as error:
        raise OutputError(f"cannot write {path!r}: {error}", "no file can have this name") from error


def _output_error(path: str | Path, error: OSError) -> OutputError:
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return OutputError(f"cannot write {shown}: {error.strerror or error}", _HINTS.get(error.errno or 0, _ANY_HINT))


def _sync_folder(folder: Path) -> None:
    """Makes new names last; some file systems do not offer this for folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
