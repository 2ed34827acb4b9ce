"""One tree of exceptions, each with its exit code and a hint.

MienError (1)
├── UsageError (2)            the command cannot mean anything: bad argument, SRC inside DST
├── PhotoError (-)            one photo cannot be read: it is skipped and listed, the run goes on
├── ModelError (3)            weights are missing or not what their card says
│   └── FetchError (3)        weights cannot be fetched: no network, no pip, disk full
├── OutputError (4)           DST or WORK cannot be written: not empty, read-only, disk full, locked
├── FaceError (5)             a face could not be anonymized and the owner asked to stop (--on-failure error)
└── VerificationError (6)     a finished face still verifies as its original
"""

from __future__ import annotations


class MienError(Exception):
    """Base of every error mien raises on purpose.

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
    """An argument or a combination of arguments that cannot be carried out."""

    exit_code = 2


class PhotoError(MienError):
    """One photo that cannot be read. A run skips it, counts it and lists it."""

    exit_code = 1


class ModelError(MienError):
    """Weights that are missing, damaged, or not the ones their card names."""

    exit_code = 3


class FetchError(ModelError):
    """Weights that could not be fetched."""


class OutputError(MienError):
    """A folder that cannot be written or is in use."""

    exit_code = 4


class FaceError(MienError):
    """A face that could not be anonymized while the owner asked to stop in that case."""

    exit_code = 5


class VerificationError(MienError):
    """A finished face that the judge still takes for its original."""

    exit_code = 6
