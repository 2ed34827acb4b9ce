"""A run's result in plain words: what holds, and plainly what does not."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mien.images.formats import printable
from mien.types import FaceOutcome, Skipped

Level = Literal["good", "mixed", "bad"]


@dataclass(frozen=True)
class RunFindings:
    """The first thing on the page.

    Attributes:
        level: "good" where every face was changed and every new one judged a stranger, "bad" where a new face
            failed or escaped the judge, "mixed" for all between, such as faces left as the owner wished.
        headline: one sentence. notes: further sentences.
    """

    level: Level
    headline: str
    notes: list[str]


def findings(outcomes: Iterable[FaceOutcome], skipped: Sequence[Skipped], photos: int, limit: float) -> RunFindings:
    """Say what a run achieved.

    Args:
        outcomes: gone through several times. photos: how many were written. limit: the judge's distance below which
            two faces are one person.
    """
    statuses = Counter[str](row.status for row in outcomes)
    notes = _notes(statuses, skipped)
    replaced = statuses["anonymized"]
    judged = judge_distances(row for row in outcomes if row.status == "anonymized")
    taken = sum(distance < limit for distance in judged)
    if taken:
        are = "is still taken for its original" if taken == 1 else "are still taken for their originals"
        return RunFindings("bad", f"{taken} of {count(replaced, 'new face')} {are} by the judge "
                           f"({_closest(judged, limit)})", notes)
    missed = replaced - len(judged)
    if missed:
        return RunFindings("bad", f"{missed} of {count(replaced, 'new face')} escaped the judge: "
                           "nothing shows that they are strangers", notes)
    if not statuses:
        return RunFindings("mixed", _nothing(photos), notes)
    left = statuses["kept"] + statuses["excluded"]
    level: Level = "mixed" if left or not replaced else "good"
    changed, others = _changed(statuses, left), _judged(replaced, judged, limit)
    return RunFindings(level, f"{changed}; {'of the others ' if left and replaced else ''}{others}", notes)


def judge_distances(outcomes: Iterable[FaceOutcome]) -> Sequence[float]:
    """The judge's distances of all outcomes that have one."""
    return array("d", (row.judge_distance for row in outcomes
                       if row.judge_distance is not None and math.isfinite(row.judge_distance)))


def reasons(outcomes: Iterable[FaceOutcome]) -> list[tuple[str, str, int]]:
    """(status, reason, how many) of all faces with a reason, without what differs from face to face."""
    order = ("blurred", "dropped", "kept", "excluded", "anonymized")
    counts = Counter((row.status, _kind(row.reason)) for row in outcomes if row.reason)
    return [(status, reason, number) for (status, reason), number in
            sorted(counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1]))]


def skip_reason(skipped: Skipped) -> str:
    """Why a file was skipped, without the name that messages begin with."""
    return printable(skipped.reason.removeprefix(f"{printable(skipped.file)}: "))


def public_reason(outcome: FaceOutcome) -> str:
    """A face's reason without the name of a person who agreed."""
    return "agreed to stay" if outcome.reason.startswith("agreed:") else printable(outcome.reason)


def count(number: int, noun: str) -> str:
    """"1 face", "2 faces"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def two_places(distance: float) -> str:
    """Rounded down, so that no distance looks larger than it is (but for what float32 loses)."""
    return f"{math.floor(distance * 100 + 1e-5) / 100:.2f}"


def _kind(reason: str) -> str:
    if reason.startswith("agreed:"):
        return "agreed to stay"
    reason = re.sub(r" \(distance [^)]*\)$", "", reason)
    return printable(re.sub(r"^face \d+ of this photo failed", "another face of the photo failed", reason))


def _closest(judged: Sequence[float], limit: float) -> str:
    shown = f"{limit:.2f}" if abs(round(limit, 2) - limit) < 1e-9 else f"{limit:g}"
    return f"closest distance {two_places(min(judged))}, limit {shown}"


def _judged(replaced: int, judged: Sequence[float], limit: float) -> str:
    if not replaced:
        return "no face was replaced by a new one"
    return (f"none is taken for its original by the judge ({len(judged):,} of {replaced:,}, "
            f"{_closest(judged, limit)})")


def _changed(statuses: Counter[str], left: int) -> str:
    if left:
        were, faces = "was" if left == 1 else "were", sum(statuses.values())
        return f"Not every face was changed: {left:,} of {faces:,} {were} left as the owner wished"
    if set(+statuses) == {"blurred"}:
        return f"Every face that was found was blurred ({statuses['blurred']:,})"
    if set(+statuses) == {"dropped"}:
        return "Every photo in which a face was found was left out"
    dropped = " or left out with its photo" if statuses["dropped"] else ""
    return f"Every face that was found was changed{dropped}"


def _nothing(photos: int) -> str:
    if not photos:
        return "No photo was written"
    them = "it" if photos == 1 else "them"
    return f"No face was found in {count(photos, 'photo')}: nothing in {them} was changed"


def _notes(statuses: Counter[str], skipped: Sequence[Skipped]) -> list[str]:
    sentences = [
        (statuses["blurred"], "face", "could not be replaced by a new one: blurred."),
        (statuses["dropped"], "face", "left out together with the whole photo."),
        (statuses["kept"], "face", "of people who agreed to be seen as they are."),
        (statuses["excluded"], "face", "left unchanged on the owner's list."),
        (len(skipped), "file", "not in the result; the reasons are below.")]
    return [f"{count(number, noun)} {words}" for number, noun, words in sentences if number]
