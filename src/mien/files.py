"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def stamp(path: Path) -> list[int] | None:
    """Size and time of the last change (ns) of a file: a changed file has another stamp. None where it is gone."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file of another name, sync it, put it in place of `path`; a failure leaves nothing.

    Raises:
        OSError: it cannot be written.
    """
    # Drawn: processes of several machines may have one number.
    temporary = path.with_name(f".{path.name}.{secrets.randbelow(10**12)}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
