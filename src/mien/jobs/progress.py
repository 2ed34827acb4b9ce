"""What a run tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress: photos done of all, faces done so far, and how many of them in this call.

    Attributes:
        what: is done to the photos, as it is shown. note: what it waits for.
    """

    what: str
    photos: int
    total: int
    faces: int
    new_faces: int
    note: str = ""


ProgressFn = Callable[[Progress], None]
