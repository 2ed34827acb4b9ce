"""Finds the photographs in a folder and the folders inside it."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mien.errors import UsageError
from mien.images.formats import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, printable
from mien.types import Skipped


@dataclass
class Tally:
    """What `scan` finds besides photographs.

    Attributes:
        skipped: pictures that cannot be read and folders that cannot be entered, each with its reason.
        passed_over: how many other files and folders there are (labels, text, hidden ones).
    """

    skipped: list[Skipped] = field(default_factory=list)
    passed_over: int = 0


def scan(src: Path, tally: Tally | None = None) -> Iterator[str]:
    """Yields the names of the photographs under `src`, relative to it, with forward slashes.

    A file counts as a photograph by its suffix alone, whatever its kind: the reader says if it cannot be read (a
    broken link, a pipe, text named .jpg). Names starting with a dot are hidden and passed over. The order is that of
    the names' bytes, folder by folder, the same on every machine. Links to files are followed, inside and outside
    `src`. Every folder is entered once, under its real name if that is in `src`: linked folders come last, and one
    that was already entered is skipped, so loops end. Undecodable bytes in names come through as surrogate escapes
    (`os.fsencode` gives the bytes back).

    Args:
        src: a folder, or a single file (any suffix), whose name is then the only one, relative to its folder.
        tally: is filled while the names are drawn.

    Raises:
        UsageError: `src` does not exist or cannot be opened.
    """
    tally = Tally() if tally is None else tally
    try:
        status = src.stat()
        if not stat.S_ISDIR(status.st_mode):
            return iter([src.name])
        os.scandir(src).close()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "give a folder of photographs, or one photograph"
        raise UsageError(f"{printable(str(src))}: {reason}", hint) from error
    return _walk(src, (status.st_dev, status.st_ino), tally)


def _walk(src: Path, root: tuple[int, int], tally: Tally) -> Iterator[str]:
    entered = {root: ""}
    linked: deque[str] = deque()
    stack = [_children(src, "", tally)]
    while stack or linked:
        if not stack:
            name = linked.popleft()
            if _enter(src, name, entered, tally):
                stack.append(_children(src, name, tally))
            continue
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        name, is_folder, is_link = entry
        if not is_folder:
            yield from tally_photo(name, tally)
        elif is_link:
            linked.append(name)
        elif _enter(src, name, entered, tally):
            stack.append(_children(src, name, tally))


def _children(src: Path, folder: str, tally: Tally) -> Iterator[tuple[str, bool, bool]]:
    """Yields (name, is a folder, is a link) of everything in one folder that is not hidden, sorted."""
    try:
        with os.scandir(src / folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        tally.skipped.append(Skipped(folder, f"the folder cannot be read: {error.strerror}"))
        return
    for entry in found:
        if entry.name.startswith("."):
            tally.passed_over += 1
            continue
        name = f"{folder}/{entry.name}" if folder else entry.name
        try:
            yield name, entry.is_dir(), entry.is_symlink()
        except OSError as error:  # a link that leads round in a circle or into a closed folder
            if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES:
                yield name, False, True
            else:
                tally.skipped.append(Skipped(name, f"the link cannot be followed: {error.strerror}"))


def _enter(src: Path, folder: str, entered: dict[tuple[int, int], str], tally: Tally) -> bool:
    try:
        status = (src / folder).stat()
    except OSError as error:
        tally.skipped.append(Skipped(folder, f"the folder cannot be read: {error.strerror}"))
        return False
    first = entered.setdefault((status.st_dev, status.st_ino), folder)
    if first != folder:
        what = f"the folder '{first}'" if first else "the whole source folder"
        tally.skipped.append(Skipped(folder, f"leads to {what}, which is read already"))
    return first == folder


def tally_photo(name: str, tally: Tally) -> Iterator[str]:
    """Yields the name if its suffix is a photograph's; else counts the file in `tally`."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        yield name
    elif suffix in OTHER_IMAGE_SUFFIXES:
        tally.skipped.append(Skipped(name, f"not a photograph that can be read: {suffix}"))
    else:
        tally.passed_over += 1
