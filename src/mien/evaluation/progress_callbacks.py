"""Types of the callbacks that long computations report their progress to."""

from __future__ import annotations

from collections.abc import Callable

CountProgress = Callable[[int, int], None]  # items done, of how many
PartProgress = Callable[[str, int, int], None]  # the part of the work that is going on, its items done, of how many
