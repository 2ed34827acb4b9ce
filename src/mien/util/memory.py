"""The C library's memory, which by default goes back to the system too eagerly for networks on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let freed memory wait in the process for the next step, for the rest of the process.

    By default glibc gives every block above 32 MB back at once and has it cleared by the system when it is next
    needed: a third of a step's time with a generator. For programs, not for libraries: it is the whole process's.

    Returns:
        whether the C library knows how.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
