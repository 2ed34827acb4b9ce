"""The private folder of an evaluation: what was made and seen, of real people, kept for the next time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import OutputError
from mien.models.cache import try_lock
from mien.store import write_errors


@contextmanager
def opened(work: Path) -> Iterator[None]:
    """Make the folder where it is missing, and hold it: two evaluations would write each other's sets.

    The kernel lets go of WORK/lock when its holder dies.

    Raises:
        OutputError: it cannot be written, or another evaluation holds it.
    """
    with write_errors(work):
        work.mkdir(parents=True, exist_ok=True)
        work.chmod(0o700)  # it holds vectors of real people
        handle = (work / "lock").open("ab")
    with handle:
        with write_errors(work):
            alone = try_lock(handle)
        if not alone:
            raise OutputError(f"another evaluation is at work in {work}", "wait for it, or give another --work")
        yield
