"""Who is at work in a folder: locks on files, which the kernel lets go of when their holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PATIENCE = 1.0  # seconds: whoever looks whether a lock is held holds it himself for a moment
POLL = 0.02

SHARED, ALONE = fcntl.LOCK_SH, fcntl.LOCK_EX


@contextmanager
def locked(path: Path, kind: int) -> Iterator[IO[str]]:
    """Hold the lock of a file, `SHARED` or `ALONE`; the file is made and keeps its content.

    Raises:
        OSError: it cannot be made, or others hold it.
    """
    with path.open("a+", encoding="utf-8") as handle:
        take(handle, kind)
        yield handle


def take(handle: IO[str], kind: int) -> None:
    """Lock an open file, also one that is locked in the other way.

    Raises:
        OSError: others hold it. A lock of the other kind may be lost then.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(POLL)


def is_locked(path: Path) -> bool:
    """Whether somebody holds a file's lock alone."""
    try:
        with path.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look at once are no holders
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
