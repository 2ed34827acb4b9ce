"""Says in coarse bands how unlike its original a new face is; the distance itself would tell who has the original."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mien.types import FaceOutcome

NOT_PAST = "not past"
BANDS = (NOT_PAST, "just past", "clear", "far")  # of the judge's limit, the most alike first
EDGES = (1.0, 1.15, 1.4)  # distances between them, in limits


@dataclass
class PublishedFace(FaceOutcome):
    """What is published of a face: an outcome without distances, points, score and times.

    Attributes:
        privacy_band: one of `BANDS`, or "" where no new face was judged.
    """

    privacy_band: str = ""


def privacy_band(outcome: FaceOutcome, limit: float) -> str:
    """Returns the band of a new face, or "" for a face that was not replaced or not judged.

    Args:
        limit: the judge's distance below which two faces are one person.
    """
    if isinstance(outcome, PublishedFace):
        return outcome.privacy_band
    distance = outcome.judge_distance
    if outcome.status != "anonymized" or distance is None or not math.isfinite(distance):
        return ""
    return BANDS[sum(distance >= edge * limit for edge in EDGES)]
