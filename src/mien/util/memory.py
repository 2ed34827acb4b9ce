"""Sets how eagerly the C library gives memory back: by default too eagerly for networks on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process for its next step, for as long as the process lives.

    By default glibc gives every block above 32 MB back at once, and the system clears it when it is next needed: a
    third of a step's time with a generator. Programs may call this, libraries should not: it is the whole process's.

    Returns:
        whether the C library can do this.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
