"""The private folder of an evaluation: what was made and seen, of real people, kept for the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mien.errors import OutputError
from mien.util.files import write_errors
from mien.util.locks import ALONE, locked


@contextmanager
def opened(work: Path) -> Iterator[None]:
    """Make the folder where it is missing, and hold it: two evaluations would write each other's sets.

    Raises:
        OutputError: it cannot be written, or another evaluation holds it.
    """
    with ExitStack() as held:
        with write_errors(work):
            work.mkdir(parents=True, exist_ok=True)
            work.chmod(0o700)  # it holds vectors of real people
            try:
                held.enter_context(locked(work / "lock", ALONE))
            except BlockingIOError as error:
                raise OutputError(f"another evaluation is at work in {work}",
                                  "wait for it, or give another --work") from error
        yield


def key_of(decided: object) -> str:
    """A short name for what decides the content of a file or folder."""
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:8]
