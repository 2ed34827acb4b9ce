"""Shows progress and results to a person: bars on a terminal, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from mien.images.formats import printable
from mien.jobs.gate import Gate
from mien.jobs.progress import Progress
from mien.jobs.status import Status
from mien.jobs.summary import Summary
from mien.models.hub.download_bar import shown
from mien.models.hub.fetch import FetchProgress
from mien.recipe import Recipe
from mien.report.run_findings import run_findings

LINE_SECONDS = 10.0  # between plain lines
MOST_LISTED = 20  # reasons, and skipped files, shown on the terminal; mien.json has all

Advance = Callable[[int, int, str], None]  # items done, of how many, a note


class Reporter:
    """Shows progress and the closing table on standard error, so that standard output stays free for pipes."""

    def __init__(self, quiet: bool, console: Console | None = None) -> None:
        self.quiet = quiet
        self.console = console or Console(stderr=True)

    def fetching(self) -> AbstractContextManager[FetchProgress]:
        """Yields a callback for the fetching of weights."""
        return shown(self.console, self.quiet)

    @contextmanager
    def building(self) -> Iterator[Callable[[int, int], None]]:
        """Yields a callback for the building of the pool: faces done, of how many."""
        with self._counter("generated faces") as advance:
            yield lambda done, total: advance(done, total, "")

    @contextmanager
    def counting(self) -> Iterator[Callable[[str, int, int], None]]:
        """Yields a callback for work in several parts: the part's name, its items done, of how many."""
        with ExitStack() as stack:
            counters: dict[str, Advance] = {}

            def listen(what: str, done: int, total: int) -> None:
                if what not in counters:
                    stack.close()  # the part before is done
                    counters[what] = stack.enter_context(self._counter(what))
                counters[what](done, total, "")

            yield listen

    @contextmanager
    def run(self) -> Iterator[Callable[[Progress], None]]:
        """Yields a callback for a run; it shows photos done, faces a second and the time left."""
        with ExitStack() as stack:
            counters: dict[str, tuple[float, Advance]] = {}

            def listen(event: Progress) -> None:
                if event.what not in counters:
                    stack.close()  # the part before is done
                    counters[event.what] = time.monotonic(), stack.enter_context(self._counter(event.what))
                begun, advance = counters[event.what]
                speed = event.new_faces / max(time.monotonic() - begun, 1e-6)
                note = f"{event.faces} faces, {speed:.2f} faces/s" if event.faces else ""
                advance(event.photos, event.total, note)

            yield listen

    @contextmanager
    def _counter(self, what: str) -> Iterator[Advance]:
        if self.quiet:
            yield lambda done, total, note: None
        elif self.console.is_terminal:
            with self._bar(what) as advance:
                yield advance
        else:
            yield self._lines(what)

    @contextmanager
    def _bar(self, what: str) -> Iterator[Advance]:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
                   TimeRemainingColumn(elapsed_when_finished=True))
        with Bars(*columns, console=self.console) as bars:
            task = bars.add_task(what, total=None, visible=False, note="")
            yield lambda done, total, note: bars.update(task, completed=done, total=total, note=note,
                                                        visible=True)

    def _lines(self, what: str) -> Advance:
        begun, last, known, shown = time.monotonic(), -LINE_SECONDS, -1, -1

        def line(done: int, total: int, note: str) -> None:
            nonlocal last, known, shown
            now = time.monotonic()
            known = done if known < 0 else known  # what an earlier call did says nothing about the speed of this one
            if now - last < LINE_SECONDS and (done < total or done == shown):
                return
            last, shown = now, done
            text = f"{what}: {done}/{total}" + (f", {note}" if note else "")
            if done > known:
                text += f", about {(now - begun) / (done - known) * (total - done):.0f} s left"
            self.console.print(text, highlight=False, soft_wrap=True)

        return line

    def close(self, summary: Summary, dst: str, owners_report: Path | None, recipe: Recipe) -> None:
        """Shows the closing table: what was done, what was not and why; last what the owner has to know of it."""
        if self.quiet:
            return
        title = escape(f"photographs in {printable(dst)}")
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_row("layout", summary.layout)
        table.add_row("photos written", str(summary.photos))
        table.add_row("faces found", str(summary.faces))
        for status in ("anonymized", "blurred", "dropped", "kept", "excluded"):
            if status == "anonymized" or summary.statuses[status]:
                table.add_row(f"  {status}", str(summary.statuses[status]))
        for reason, count in summary.reasons.most_common(MOST_LISTED):
            table.add_row("    why", f"{count} x {reason}")
        table.add_row("photos skipped", str(len(summary.skipped)))
        if summary.faces and summary.wall:
            table.add_row("seconds a face", f"{summary.wall / summary.faces:.1f}")
        self.console.print(table)
        for skipped in summary.skipped[:MOST_LISTED]:
            self.console.print(f"skipped {printable(skipped.file)}: {skipped.reason}", highlight=False,
                               markup=False, soft_wrap=True)
        if len(summary.skipped) > MOST_LISTED:
            self.console.print(f"... and {len(summary.skipped) - MOST_LISTED} more, in mien.json", highlight=False)
        gate = Gate.of(recipe)
        for note in [note for note in summary.notes if note != gate.warning]:
            self.console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        if owners_report:
            page = printable(str(owners_report / "report.html"))
            self.console.print(f"before and after, for your eyes only: {page}", highlight=False, markup=False,
                               soft_wrap=True)
        findings = run_findings(summary.outcomes, summary.skipped, summary.photos, gate, private=True)
        self.console.print(f"{findings.verdict}: {findings.headline}.", highlight=False, markup=False, soft_wrap=True)
        if gate.warning:
            self.console.print(gate.warning, highlight=False, markup=False, soft_wrap=True)


def show_status(status: Status) -> None:
    """Shows the state of a run on standard output."""
    table = Table(show_header=False)
    table.add_row("run", "going on" if status.running else "done" if status.complete else "stopped")
    if not status.running and not status.complete and status.done == status.photos:
        table.add_row("", "the same command without --pass writes manifest and report")
    table.add_row("photos", f"{status.done:,} of {status.photos:,}")
    if not status.done and status.indexed:
        table.add_row("", f"{status.indexed:,} of {status.photos:,} indexed")
    table.add_row("faces", f"{status.faces:,}")
    for name, count in status.statuses.most_common():
        table.add_row(f"  {name}", f"{count:,}")
    table.add_row("files skipped", f"{status.skipped:,}")
    if status.left is not None:
        table.add_row("photos a second", f"{status.speed:.2f}")
        table.add_row("left", str(timedelta(seconds=round(status.left))))
    for worker, shards in sorted(status.workers.items()):
        table.add_row(f"  {printable(worker)}", f"{shards:,} shards")
    console = Console()
    console.print(table)
    for warning in status.warnings:
        console.print(warning, highlight=False, markup=False, soft_wrap=True)
