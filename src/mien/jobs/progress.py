"""What a job tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        what: what is counted: "photos indexed", then "photos" that are done.
        photos: how many photos are done. total: how many there are.
        faces: faces in the photos done so far. new_faces: those of them that were done in this call.
    """

    what: str
    photos: int
    total: int
    faces: int
    new_faces: int


ProgressFn = Callable[[Progress], None]
