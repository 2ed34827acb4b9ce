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
from mien.jobs.gate import Gate
from mien.jobs.privacy_band import NOT_PAST, privacy_band
from mien.types import FaceOutcome, Skipped

Level = Literal["good", "mixed", "bad"]
VERDICTS: dict[Level, str] = {"good": "All well", "mixed": "Look at this before you publish",
                              "bad": "Do not publish these photos"}


@dataclass(frozen=True)
class RunFindings:
    """The sentences that the page begins with.

    Attributes:
        level: "good" where every face was changed and the judge takes none of the new ones for its original, "bad"
            where it takes one for its original or did not judge one, "mixed" for all between, such as faces left as
            the owner wished, or a recipe that loosened the gate.
        headline: one sentence, without its full stop. notes: further sentences.
    """

    level: Level
    headline: str
    notes: list[str]

    @property
    def verdict(self) -> str:
        """The level in words."""
        return VERDICTS[self.level]


def run_findings(outcomes: Iterable[FaceOutcome], skipped: Sequence[Skipped], photos: int, gate: Gate,
                 private: bool = False) -> RunFindings:
    """Sums up what a run did.

    Args:
        outcomes: iterated several times. photos: how many were written.
        private: whether the closest distance is told, which must not be published.
    """
    statuses = Counter[str](row.status for row in outcomes)
    notes = ([gate.warning] if gate.warning else []) + _notes(statuses, skipped)
    bands = count_bands(outcomes, gate)
    replaced, judged, taken = statuses["anonymized"], bands.total(), bands[NOT_PAST]
    known = judge_distances(row for row in outcomes if row.status == "anonymized") if private else ()
    limits = _limits(known, gate.limit)
    if taken:
        are = "is still taken for its original" if taken == 1 else "are still taken for their originals"
        return RunFindings("bad", f"{taken:,} of {plural(replaced, 'new face')} {are} by the judge ({limits})", notes)
    missed = replaced - judged
    if missed:
        return RunFindings("bad", f"{missed} of {plural(replaced, 'new face')} {'was' if missed == 1 else 'were'} not "
                           "judged: nothing shows that they are unlike their originals", notes)
    if not statuses:
        return RunFindings("mixed", _nothing(photos), notes)
    left = statuses["kept"] + statuses["excluded"]
    level: Level = "mixed" if left or not replaced or gate.warning else "good"
    changed, others = _changed(statuses, left), _judged(replaced, limits)
    return RunFindings(level, f"{changed}; {'of the others ' if left and replaced else ''}{others}", notes)


def count_bands(outcomes: Iterable[FaceOutcome], gate: Gate) -> Counter[str]:
    """How many of the new faces that were judged are in which band of `mien.jobs.privacy_band.BANDS`."""
    return Counter(band for row in outcomes if (band := privacy_band(row, gate.limit)))


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


def _limits(known: Sequence[float], limit: float) -> str:
    shown = f"limit {limit:.2f}" if abs(round(limit, 2) - limit) < 1e-9 else f"limit {limit:g}"
    return f"closest distance {two_places(min(known))}, {shown}" if known else shown


def _judged(replaced: int, limits: str) -> str:
    if not replaced:
        return "no face was replaced by a new one"
    return f"none is taken for its original by the judge ({replaced:,} of {replaced:,}, {limits})"


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
