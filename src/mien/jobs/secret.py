"""Keeps the secret of a run in WORK: all random draws derive from it, and nothing of it is published."""

from __future__ import annotations

from pathlib import Path

from mien.anonymizer.seeds import SECRET_BYTES, secret_of
from mien.errors import OutputError
from mien.util.files import replace_file, write_errors

SECRET = "secret"  # its file in WORK


def keep_secret(work: Path, seed: int | None, drawn: bool) -> None:
    """Makes the secret of a run that has none yet. Where the owner gave a seed, it stands for the secret.

    Processes that may start together must hold a lock on WORK.

    Args:
        drawn: whether the run has made draws already, which a new secret would not repeat.

    Raises:
        OutputError: the secret of a run that has made draws is gone or damaged, or WORK cannot be written.
    """
    if seed is not None or _read(work) is not None:
        return
    if drawn:
        raise _gone(work)
    with write_errors(work):
        replace_file(work / SECRET, _write)


def read_secret(work: Path, seed: int | None) -> bytes:
    """Reads the secret of a run, or derives it from the owner's seed where there is one.

    Raises:
        OutputError: it is gone or damaged.
    """
    secret = secret_of(seed) if seed is not None else _read(work)
    if secret is None:
        raise _gone(work)
    return secret


def _write(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(secret_of(None))


def _read(work: Path) -> bytes | None:
    """Reads the file; gives None where it is missing or was cut short."""
    with write_errors(work):
        try:
            data = (work / SECRET).read_bytes()
        except FileNotFoundError:
            return None
    return data if len(data) == SECRET_BYTES else None


def _gone(work: Path) -> OutputError:
    return OutputError(f"{work / SECRET} is gone or damaged: the new faces of this run were drawn by it, and others "
                       "would be drawn differently", "put the file back, or give another DST and --work")
