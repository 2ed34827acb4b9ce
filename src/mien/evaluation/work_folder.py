"""The private folder of an evaluation, where baselines and measurements of real people are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mien.errors import OutputError, UsageError
from mien.jobs.request import check_folders
from mien.util.files import write_errors
from mien.util.locks import locked

LOCK, SETS, MEASURED, ATTACKED = "lock", "sets", "seen", "attacks"
OWN = (LOCK, SETS)  # a folder that holds one of these is of an evaluation; sets may be all that was brought along


def check_apart(src: Path, dst: Path, work: Path) -> None:
    """Refuses folders that are in one another: WORK would be read as photographs, or be published.

    Args:
        src, dst: may be the same folder, whose photographs are then compared with themselves.

    Raises:
        UsageError: a folder is in another one, or SRC does not exist.
    """
    if src.resolve() != dst.resolve():
        return check_folders(src, dst, work)
    path, private = src.resolve(), work.resolve()
    if private == path or path in private.parents or private in path.parents:
        raise UsageError(f"the private folder {work} and {src} are in one another", "give another --work")
    return None


@contextmanager
def opened(work: Path) -> Iterator[None]:
    """Makes the folder where it is missing, and locks it: two evaluations would write each other's sets.

    Raises:
        OutputError: it cannot be written, holds files of others, or another evaluation holds it.
    """
    with ExitStack() as held:
        with write_errors(work):
            if work.exists() and any(work.iterdir()) and not any((work / name).exists() for name in OWN):
                raise OutputError(f"{work} is not empty and no folder of an evaluation",
                                  "give --work a new or empty folder")
            work.mkdir(parents=True, exist_ok=True)
            work.chmod(0o700)  # it holds vectors of real people
            try:
                held.enter_context(locked(work / LOCK))
            except BlockingIOError as error:
                raise OutputError(f"another evaluation is at work in {work}",
                                  "wait for it, or give another --work") from error
        yield


def key_of(decided: object) -> str:
    """A short hash of all that decides the content of a file or folder, to name it by."""
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:8]
