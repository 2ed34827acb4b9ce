"""Writes the HTML report of a run: one file that holds everything it shows, needs no network and runs no script."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from mien.datasets.dataset import plural, refuse_container
from mien.errors import UsageError
from mien.images.formats import printable
from mien.jobs.gate import Gate
from mien.jobs.privacy_band import BANDS, PublishedFace, privacy_band
from mien.jobs.published import published_recipe, published_settings, refuse_published
from mien.jobs.state import FACES_FILE
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.report.before_after import choose_faces, cut_before_after, likeness
from mien.report.charts import histogram
from mien.report.read_run import read_outcomes, read_run
from mien.report.run_findings import count_bands, judge_distances, reasons, run_findings, skip_reason
from mien.report.templating import template
from mien.types import FaceOutcome, Status
from mien.util.files import replace_file, write_errors

FACES_LISTED = 50  # those most like their originals
FILES_LISTED = 200  # skipped ones; mien.json has all


def write_report(path: Path, summary: Summary, recipe: Recipe, originals: Path | None = None,
                 results: Path | None = None) -> None:
    """Writes the report of a run, whole or not at all.

    Without `originals` it holds no picture and says nothing of who the people are, and may be published: it tells in
    bands how unlike their originals the new faces are, since a distance would let anyone check who the original is.
    With them it shows faces before and after, and distances; the file is then readable by its owner alone.

    Args:
        path: the HTML file. originals: SRC, results: DST, to show faces before and after; both or neither.

    Raises:
        UsageError: originals without results, originals that are in tars or tables, or a page with originals inside
            DST, which is published.
        OutputError: the file cannot be written.
    """
    if originals is not None:
        _check_private(path, originals, results)
        refuse_container(summary.layout, originals)
    pairs = []
    if originals is not None and results is not None:
        pairs = cut_before_after(choose_faces(summary.outcomes), originals, results, summary.outputs)
    private = originals is not None
    content = _content(summary, recipe) | (_private_content(summary, recipe) if private else {})
    html = template("run").render(content, private=private, pairs=[(pair, _caption(pair.outcome)) for pair in pairs])

    def write(file: Path) -> None:
        file.touch(mode=0o644 if originals is None else 0o600)
        file.write_text(html, "utf-8", errors="backslashreplace")

    with write_errors(path):
        replace_file(path, write)


def report_from_folder(dst: Path, originals: Path | None, out: Path | None, work: Path | None = None) -> Path:
    """Writes the report of a finished run again, from what it left in DST, and with originals in WORK.

    Args:
        dst: the run's DST. originals: its SRC, to show faces before and after.
        out: the page; by default DST/report.html, and with originals beside DST, DST.owner-report.html.
        work: the run's WORK, for the distances on a page with originals; by default DST.work, if it is there.

    Returns:
        Where the page was written.

    Raises:
        UsageError: mien.parquet or mien.json is missing, damaged or of another version, WORK is another run's, there
            are no such originals, or the page would show originals in a DST, or has no name of a page.
        OutputError: the page cannot be written.
    """
    whole = dst.resolve()
    if out is None:
        out = dst / "report.html" if originals is None else whole.parent / f"{whole.name}.owner-report.html"
    if out.suffix.lower() != ".html":
        raise UsageError(f"{out} will be an HTML page", "end its name in .html")
    if originals is not None:
        _check_private(out, originals, dst)
    summary, recipe = read_run(dst)
    work = work or whole.with_name(f"{whole.name}.work")
    if originals is not None and (work / FACES_FILE).exists():
        summary.outcomes = read_outcomes(work, summary.outcomes)
    write_report(out, summary, recipe, originals, dst if originals is not None else None)
    return out


def _check_private(path: Path, originals: Path, results: Path | None) -> None:
    if results is None:
        raise UsageError("before and after cannot be shown without the folder of the results")
    if not originals.exists():
        raise UsageError(f"the originals {originals} do not exist", "give the SRC of the run")
    refuse_published(path, results)


def _content(summary: Summary, recipe: Recipe) -> dict[str, Any]:
    """What is on every page; nothing in it tells a face's distance or order of likeness, but for its band."""
    outcomes, gate = summary.outcomes, Gate.of(recipe)
    bands = count_bands(outcomes, gate)
    skipped = [(printable(item.file), skip_reason(item)) for item in summary.skipped]
    why_skipped = Counter(why for _, why in skipped)
    closest = heapq.nsmallest(FACES_LISTED, _replaced(summary), key=lambda row: _by_band(row, gate))
    return {
        "findings": run_findings(outcomes, summary.skipped, summary.photos, gate),
        "counts": _counts(summary), "reasons": reasons(outcomes),
        "layout": summary.layout, "notes": [printable(note) for note in summary.notes if note != gate.warning],
        "skipped": skipped[:FILES_LISTED], "skipped_more": max(0, len(skipped) - FILES_LISTED),
        "why_skipped": why_skipped.most_common(20), "limit": gate.limit, "margin": recipe.optimize.margin,
        "bands": [(band, bands[band]) for band in BANDS], "stages": _stages(summary), "pace": _pace(summary),
        "settings": _settings(published_settings(recipe)), "recipe": recipe.name,
        "hash": published_recipe(recipe).hash,
        "closest": [_row(row, gate) for row in closest], "replaced": sum(1 for _ in _replaced(summary))}


def _private_content(summary: Summary, recipe: Recipe) -> dict[str, Any]:
    """What the owner's page has besides or instead."""
    gate, margin = Gate.of(recipe), recipe.optimize.margin
    closest = heapq.nsmallest(FACES_LISTED, _replaced(summary), key=likeness)
    similarities = array("d", (row.similarity for row in _replaced(summary) if row.similarity is not None))
    return {
        "findings": run_findings(summary.outcomes, summary.skipped, summary.photos, gate, private=True),
        "distances": histogram(judge_distances(_replaced(summary)), gate.limit, f"limit {gate.limit:g}", limit=True),
        "similarities": histogram(similarities, margin, f"goal {margin:g}"),
        "seconds": histogram(array("d", (row.seconds for row in _replaced(summary))), start=0.0),
        "closest": [_row(row, gate) for row in closest]}


def _replaced(summary: Summary) -> Iterator[FaceOutcome]:  # never all at once
    return (row for row in summary.outcomes if row.status == "anonymized")


def _by_band(outcome: FaceOutcome, gate: Gate) -> tuple[int, str, int]:
    """Sort key: by band, within one by name: an order by distance would tell the distances."""
    band = privacy_band(outcome, gate.limit)
    return (BANDS.index(band) if band else -1, outcome.file, outcome.face)


def _counts(summary: Summary) -> list[tuple[str, int]]:
    statuses = Counter(row.status for row in summary.outcomes)
    faces = [(status, statuses[status]) for status in get_args(Status)]
    return [("photos written", summary.photos), ("faces found", len(summary.outcomes)), *faces,
            ("files skipped", len(summary.skipped))]


def _stages(summary: Summary) -> list[tuple[str, float, float]]:
    """(stage, seconds, share of all), the longest first."""
    times = {stage: time for stage, time in summary.stages.items() if math.isfinite(time) and time > 0}
    whole = sum(times.values())
    longest = sorted(times.items(), key=lambda item: -item[1])
    return [(printable(stage), time, time / whole) for stage, time in longest]


def _pace(summary: Summary) -> str:
    if not summary.wall or not summary.outcomes:
        return ""
    faces = len(summary.outcomes)
    return f"{summary.wall:,.0f} s for {plural(faces, 'face')}: {summary.wall / faces:,.1f} s a face, all told"


def _settings(table: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows += _settings(value, f"{before}{key}.")
        else:
            rows.append((f"{before}{key}", printable(str(value))))
    return rows


def _row(outcome: FaceOutcome, gate: Gate) -> dict[str, Any]:
    return {"file": printable(outcome.file), "face": outcome.face, "attempts": outcome.attempts,
            "band": privacy_band(outcome, gate.limit) or "not judged",
            "distance": _number(outcome.judge_distance), "similarity": _number(outcome.similarity)}


def _number(value: float | None) -> str:
    """Writes a number rounded down to three places."""
    if value is None or not math.isfinite(value):
        return "not known"
    return f"{math.floor(value * 1000 + 1e-4) / 1000:.3f}"


def _caption(outcome: FaceOutcome) -> str:
    if isinstance(outcome, PublishedFace) and outcome.privacy_band:
        return f"{outcome.privacy_band} by the judge"
    if outcome.status == "anonymized":
        return f"distance {_number(outcome.judge_distance)}"
    return f"{outcome.status}: {printable(outcome.reason)}"
