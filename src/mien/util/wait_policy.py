"""How OpenMP's threads wait for work: asleep, unless the user's environment says otherwise.

Left to itself OpenMP waits awake, which gains nothing where a process has its cores for itself, and makes it three
times as slow where another process wants them. The variable is read when torch is loaded, so it has to be set before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "OMP_WAIT_POLICY"


def wait_asleep() -> None:
    """Sets the policy for the rest of this process and its children; for programs, not for libraries."""
    os.environ.setdefault(VARIABLE, "PASSIVE")


@contextmanager
def children_wait_asleep() -> Iterator[None]:
    """Sets the policy for processes that are started in the `with` block, and leaves this process as it was."""
    is_chosen = VARIABLE in os.environ
    wait_asleep()
    try:
        yield
    finally:
        if not is_chosen:
            os.environ.pop(VARIABLE, None)
