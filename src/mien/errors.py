"""Defines mien's exceptions: one tree, each with an exit code and a hint.

MienError (1)
├── UsageError (2)            the command cannot be carried out: bad argument, SRC inside DST
├── PhotoError (-)            one photo cannot be read: it is skipped and listed, the run goes on
├── ModelError (3)            weights are missing or not what their card says
│   └── FetchError (3)        weights cannot be fetched: no network, no pip, disk full
├── OutputError (4)           DST or WORK cannot be written: not empty, read-only, disk full, locked
├── FaceError (5)             a face could not be anonymized and the owner asked to stop (--on-failure error)
└── VerificationError (6)     a finished face still verifies as its original
"""

from __future__ import annotations


class MienError(Exception):
    """Is the base of every error that mien raises on purpose.

    Args:
        message: what happened, naming the file or value.
        hint: what the user can do about it; printed under the message.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MienError):
    """Means that an argument, or a combination of arguments, cannot be carried out."""

    exit_code = 2


class PhotoError(MienError):
    """Means that one photo cannot be read. A run skips it, counts it and lists it."""

    exit_code = 1


class ModelError(MienError):
    """Means that weights are missing, damaged, or not the ones that their card names."""

    exit_code = 3


class FetchError(ModelError):
    """Means that weights could not be fetched."""


class OutputError(MienError):
    """Means that a folder cannot be written or is in use."""

    exit_code = 4


class FaceError(MienError):
    """Means that a face could not be anonymized, and the owner asked to stop in that case."""

    exit_code = 5


class VerificationError(MienError):
    """Means that the judge still takes a finished face for its original."""

    exit_code = 6
