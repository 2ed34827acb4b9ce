"""Locks on files, which the operating system releases when the process that holds them ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 1.0  # seconds: a process that only asks whether a lock is held takes it for a moment
POLL = 0.02


@contextmanager
def locked(path: Path, patience: float | None = PATIENCE, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock of a file, which is made where it is missing.

    Args:
        patience: seconds to wait for another holder; None waits until the lock is free.
        waiting: is called once if the lock is not free at once.

    Raises:
        BlockingIOError: another process holds the lock. OSError: the file cannot be made.
    """
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        try:
            lock.acquire(timeout=-1 if patience is None else patience, poll_interval=POLL)
        except Timeout as error:
            raise BlockingIOError(f"{path} is locked by another process") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Tells whether a process holds the lock of a file; a file that is not there is not locked."""
    if not path.exists():
        return False
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=5 * POLL, poll_interval=POLL)  # another process that asks has it for less
    except Timeout:
        return True
    except OSError:  # who may only read asks in another way
        return _is_locked_for_readers(path)
    lock.release()
    return False


def _is_locked_for_readers(path: Path) -> bool:
    """Tells the same where the file may be read only; where the system cannot tell, it counts as not locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
