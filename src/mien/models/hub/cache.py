"""Where ready weights lie: `<cache>/models/<name>-<fingerprint of the card>/` with the file and its record.

A folder gets its final name only when everything in it is written and synced: what bears one is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Literal

import platformdirs

from mien.errors import FetchError, ModelError
from mien.models.hub.card import Card
from mien.models.hub.cards import find_card

State = Literal["ready", "missing", "damaged"]

RECORD = "card.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def cache_folder() -> Path:
    """The folder for everything that can be made again: the variable MIEN_CACHE, else the platform's own."""
    chosen = os.environ.get("MIEN_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("mien", appauthor=False)).absolute()


def models_folder() -> Path:
    """The cache's part for weights."""
    return cache_folder() / "models"


def entry_folder(card: Card) -> Path:
    """The folder of one card's ready file, there or not."""
    return models_folder() / f"{card.name}-{card.fingerprint}"


def weights_path(name: str) -> Path:
    """The ready file of a card.

    Only its presence and size are looked at; `mien models check` reads it all.

    Raises:
        UsageError: no card has that name.
        ModelError: the file is not there, or cut short.
    """
    card = find_card(name)
    state = entry_state(card)
    if state == "ready":
        return entry_folder(card) / card.file
    problem = "are not there" if state == "missing" else f"in {entry_folder(card)} are damaged"
    raise ModelError(f"the weights of {name} {problem}", f"run: mien models fetch {name}")


def weights_sha256(name: str) -> str:
    """The sha256 that the ready file of a card had when it was made.

    Raises:
        UsageError: no card has that name.
        ModelError: the file is not there, or cut short.
    """
    path = weights_path(name)
    return str(json.loads((path.parent / RECORD).read_text("utf-8"))["sha256"])


def entry_state(card: Card, whole: bool = False) -> State:
    """Whether a card's file is there and as it was made: its size only, or (`whole`) every byte."""
    folder = entry_folder(card)
    with storage_errors(models_folder()):
        if not folder.is_dir():
            return "missing"
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        file = folder / card.file
        if file.stat().st_size != record["size"]:
            return "damaged"
        if whole and sha256_of(file) != record["sha256"]:
            return "damaged"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"
    return "ready"


def write_record(card: Card, folder: Path) -> None:
    """Writes the record beside a finished file, syncing both."""
    file = folder / card.file
    made: dict[str, Any] = {"file": card.file, "size": file.stat().st_size, "sha256": sha256_of(file)}
    record = folder / RECORD
    record.write_text(json.dumps(made | {"card": asdict(card)}, indent=1) + "\n", "utf-8")
    for path in (file, record, folder):
        sync(path)


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Says in words what went wrong when the cache cannot be written.

    Raises:
        FetchError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error.errno, folder, str(error)) from error


def storage_error(number: int | None, folder: Path, text: str) -> FetchError:
    """The error for a failed write into the cache, by its errno."""
    if number in _FULL:
        return FetchError(
            f"there is not enough room for the weights in {folder}",
            "make room there, or set MIEN_CACHE to a folder on a larger disk",
        )
    if number in _FORBIDDEN:
        return FetchError(
            f"the cache folder {folder} cannot be used ({os.strerror(number or 0).lower()})",
            "make it readable and writable, or set MIEN_CACHE to a folder of your own",
        )
    return FetchError(f"the cache folder {folder} cannot be used: {text}", "set MIEN_CACHE to another folder")


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock that all processes of the machine respect and that dies with its holder.

    Args:
        path: the lock file; it stays behind, empty.
        waiting: called once when somebody else holds it.
    """
    with path.open("ab") as file:
        if not try_lock(file):
            waiting()
            while not try_lock(file):
                time.sleep(0.1)
        yield


def try_lock(file: BinaryIO) -> bool:
    """Takes the lock on an open file, until that file is closed; False when somebody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
