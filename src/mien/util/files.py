"""Files that are either whole or not there, and what is said where they cannot be written."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien.errors import OutputError


def stamp(path: Path) -> list[int] | None:
    """Size and time of the last change (ns) of a file: a changed file has another stamp. None where it is gone."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        if error.errno in (errno.ELOOP, errno.EACCES):  # there, but not to be had, as the reader will say
            return [0, 0]
        raise  # a disk that does not answer now has not lost its photographs
    return [status.st_size, status.st_mtime_ns]


_OF_THE_FILE = (None, errno.EINVAL, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def is_of_the_file(error: Exception) -> bool:
    """Whether an error says something of the file that is read: a disk that does not answer says nothing."""
    return not isinstance(error, OSError) or error.errno in _OF_THE_FILE


def reason(error: Exception) -> str:
    """What a library says of a file, without the file's path: reasons stand in mien.json, which is published."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return re.sub(r"'[^']*/[^']*'", "it", str(error).partition("\n")[0])[:120]


def read_json(path: Path) -> Any:
    """The content, or None where there is no readable one."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> dict[str, Any]:
    """The same of a file that should hold an object; where it does not, an empty one."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def part_name() -> str:
    """A name for a file that is not whole yet; `PARTS` of `mien.jobs.state` knows it again."""
    # Drawn: processes of several machines may have one number. Short: the name itself may be as long as the disk takes.
    return f".mien-{secrets.randbelow(10**12)}-{secrets.token_hex(4)}"


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file of another name, sync it, put it in place of `path`; a failure leaves nothing.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(part_name())
    try:
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system says into OutputError with a way out."""
    try:
        yield
    except OSError as error:
        hint = "free some space or choose another folder, then run the same command again"
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            hint = "a file is where a folder is needed: choose another folder"
        raise OutputError(f"cannot write {error.filename or folder}: {error.strerror or error}", hint) from error
