"""Finds weights in the cache: `<cache>/models/<name>-<fingerprint of the card>/` holds a file and its record.

A folder gets its final name only after everything in it is written and synced, so a folder with that name is complete.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import platformdirs

from mien.errors import FetchError, ModelError
from mien.models.hub.card import Card
from mien.models.hub.cards import find_card
from mien.util.files import replace_file

State = Literal["ready", "missing", "damaged"]

RECORD = "card.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def cache_folder() -> Path:
    """Returns the folder for everything that can be made again: $MIEN_CACHE if set, else the platform's cache."""
    chosen = os.environ.get("MIEN_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("mien", appauthor=False)).absolute()


def models_folder() -> Path:
    """Returns the folder of all weights in the cache."""
    return cache_folder() / "models"


def entry_folder(card: Card) -> Path:
    """Returns the folder of one card's converted file, whether it exists or not."""
    return models_folder() / f"{card.name}-{card.fingerprint}"


def weights_path(name: str) -> Path:
    """Returns the path of a card's converted file.

    Only presence and size are checked here; `mien models check` reads every byte.

    Raises:
        UsageError: no card has that name.
        ModelError: the file is missing, or its size is wrong.
    """
    card = find_card(name)
    state = entry_state(card)
    if state == "ready":
        return entry_folder(card) / card.file
    problem = "are not there" if state == "missing" else f"in {entry_folder(card)} are damaged"
    raise ModelError(f"the weights of {name} {problem}", f"run: mien models fetch {name}")


def weights_sha256(name: str) -> str:
    """Returns the SHA-256 that the converted file of a card had when it was written.

    Raises:
        UsageError: no card has that name.
        ModelError: the file is missing, or its size is wrong.
    """
    path = weights_path(name)
    return str(json.loads((path.parent / RECORD).read_text("utf-8"))["sha256"])


def entry_state(card: Card, whole: bool = False) -> State:
    """Tells whether a card's file is ready, missing or damaged.

    Args:
        whole: compare the hash of the file, not only its size.

    Raises:
        FetchError: the cache folder cannot be read.
    """
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


def write_record(file: Path, about: dict[str, Any]) -> None:
    """Writes the record beside a finished file, and waits until both are on the disk.

    Args:
        about: further entries of the record, where the file comes from.
    """
    made = {"file": file.name, "size": file.stat().st_size, "sha256": sha256_of(file)}
    text = json.dumps(made | about, indent=1) + "\n"
    replace_file(file.with_name(RECORD), lambda path: path.write_text(text, "utf-8"))
    sync(file)
    sync(file.parent)


def publish(ready: Path, final: Path, work: Path) -> None:
    """Gives a finished folder its final name; a folder that has this name is first moved into `work`."""
    if final.exists():
        final.rename(work / f"replaced-{final.name}")
    ready.rename(final)
    sync(final.parent)


def sync(path: Path) -> None:
    """Waits until the content of a file, or the list of names in a folder, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Replaces any OSError inside the block by an error that says what to do.

    Raises:
        FetchError: the cache cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error.errno, folder, str(error)) from error


def storage_error(number: int | None, folder: Path, text: str) -> FetchError:
    """Returns the error for a failed access to the cache.

    Args:
        number: the errno. text: what the system said, for causes that have no text here.
    """
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
