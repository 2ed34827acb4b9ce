"""Sums up a finished run in sentences: whether every face was changed, and whether the judge passed the new ones."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mien.datasets.dataset import plural
from mien.images.formats import printable
from mien.types import FaceOutcome, Skipped

Level = Literal["good", "mixed", "bad"]


@dataclass(frozen=True)
class RunFindings:
    """The sentences that the page begins with.

    Attributes:
        level: "good" where every face was changed and the judge takes none of the new ones for its original, "bad"
            where it takes one for its original or did not judge one, "mixed" for all between, such as faces left as
            the owner wished.
        headline: one sentence, without its full stop. notes: further sentences.
    """

    level: Level
    headline: str
    notes: list[str]


def run_findings(outcomes: Iterable[FaceOutcome], skipped: Sequence[Skipped], photos: int,
                 limit: float) -> RunFindings:
    """Sums up what a run did.

    Args:
        outcomes: iterated several times. photos: how many were written. limit: the judge's distance below which
            two faces are one person.
    """
    statuses = Counter[str](row.status for row in outcomes)
    notes = _notes(statuses, skipped)
    replaced = statuses["anonymized"]
    judged = judge_distances(row for row in outcomes if row.status == "anonymized")
    taken = sum(distance < limit for distance in judged)
    if taken:
        are = "is still taken for its original" if taken == 1 else "are still taken for their originals"
        return RunFindings("bad", f"{taken} of {plural(replaced, 'new face')} {are} by the judge "
                           f"({_closest(judged, limit)})", notes)
    missed = replaced - len(judged)
    if missed:
        return RunFindings("bad", f"{missed} of {plural(replaced, 'new face')} {'was' if missed == 1 else 'were'} not "
                           "judged: nothing shows that they are unlike their originals", notes)
    if not statuses:
        return RunFindings("mixed", _nothing(photos), notes)
    left = statuses["kept"] + statuses["excluded"]
    level: Level = "mixed" if left or not replaced else "good"
    changed, others = _changed(statuses, left), _judged(replaced, judged, limit)
    return RunFindings(level, f"{changed}; {'of the others ' if left and replaced else ''}{others}", notes)


def judge_distances(outcomes: Iterable[FaceOutcome]) -> Sequence[float]:
    """The judge's distances to the originals, of all outcomes that have one."""
    return array("d", (row.judge_distance for row in outcomes
                       if row.judge_distance is not None and math.isfinite(row.judge_distance)))


def reasons(outcomes: Iterable[FaceOutcome]) -> list[tuple[str, str, int]]:
    """(status, reason, how many) of all faces with a reason; numbers that differ from face to face are left out."""
    order = ("blurred", "dropped", "kept", "excluded", "anonymized")
    counts = Counter((row.status, _general(row.reason)) for row in outcomes if row.reason)
    return [(status, reason, number) for (status, reason), number in
            sorted(counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1]))]


def skip_reason(skipped: Skipped) -> str:
    """Why a file was skipped, without the file's name that messages begin with."""
    return printable(skipped.reason.removeprefix(f"{printable(skipped.file)}: "))


def two_places(distance: float) -> str:
    """Writes a distance rounded down, so that none looks larger than it is (but for what float32 loses)."""
    return f"{math.floor(distance * 100 + 1e-5) / 100:.2f}"


def _general(reason: str) -> str:
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
    return f"No face was found in {plural(photos, 'photo')}: nothing in {them} was changed"


def _notes(statuses: Counter[str], skipped: Sequence[Skipped]) -> list[str]:
    sentences = [
        (statuses["blurred"], "face", "could not be replaced by a new one: blurred."),
        (statuses["dropped"], "face", "left out together with the whole photo."),
        (statuses["kept"], "face", "of people who agreed to be seen as they are."),
        (statuses["excluded"], "face", "left unchanged on the owner's list."),
        (len(skipped), "file", "not in the result; the reasons are below.")]
    return [f"{plural(number, noun)} {words}" for number, noun, words in sentences if number]
