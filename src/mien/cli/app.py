"""The `mien` program: its commands, and how it ends. Commands import torch when they run, so that --help is fast."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from mien.cli import options
from mien.cli.anonymize import anonymize_command
from mien.cli.bench import bench_app
from mien.cli.datasets import datasets_app
from mien.cli.evaluate import attack_command, compare_training_command, evaluate_command
from mien.cli.models import models_app
from mien.cli.pool import pool_app
from mien.cli.sheets import sheets_command
from mien.cli.steps import steps_app
from mien.errors import MienError
from mien.util.memory import keep_freed_memory
from mien.util.wait_policy import wait_asleep

EVALUATION, PARTS = "Evaluation", "Single steps, networks and data"  # headings in the help

app = typer.Typer(name="mien", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(steps_app, name="steps", rich_help_panel=PARTS)
app.add_typer(models_app, name="models", rich_help_panel=PARTS)
app.add_typer(datasets_app, name="datasets", rich_help_panel=PARTS)
app.add_typer(pool_app, name="pool", rich_help_panel=PARTS)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mien {version('mien')}")
        raise typer.Exit


@app.callback()
def program(version: Annotated[bool, typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version and exit.")] = False) -> None:
    """Anonymize photographs: replace the faces of real people with faces of people who do not exist."""


app.command("anonymize")(anonymize_command)


@app.command()
def report(dst: Annotated[Path, typer.Argument(metavar="DST", help="The DST folder of a finished run.")],
           originals: Annotated[Path | None, typer.Option(
               "--originals", metavar="SRC", show_default="none",
               help="Show photographs of this folder before and after; the page is then private.")] = None,
           out: Annotated[Path | None, typer.Option(
               "--out", metavar="FILE", show_default="DST/report.html",
               help="Write the report to this HTML page.")] = None) -> None:
    """Write the HTML report of a finished run again."""
    from mien.report.run_page import report_from_folder

    typer.echo(str(report_from_folder(dst, originals, out)))


@app.command()
def status(work: Annotated[Path, typer.Argument(
               metavar="WORK", help="The WORK folder of a run, by default DST.work.")],
           as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of a table.")] = False,
           prometheus: Annotated[bool, typer.Option(
               "--prometheus", help="Print Prometheus' text format instead of a table.")] = False) -> None:
    """Print the progress of a run that is going on, was stopped or is finished."""
    from mien.jobs.status import read_status

    found = read_status(work)
    if as_json or prometheus:
        typer.echo(found.as_json() if as_json else found.as_prometheus(), nl=as_json)
        return
    from mien.report.terminal import show_status

    show_status(found)


app.command("sheets")(sheets_command)


@app.command()
def samples(folder: Annotated[Path, typer.Argument(
                metavar="FOLDER", help="The folder to write the photographs to.")],
            quiet: options.Quiet = False) -> None:
    """Write sample photographs to try mien on: a public-domain portrait and groups of generated faces."""
    from mien.report.terminal import Reporter
    from mien.samples import write_samples

    with Reporter(quiet).fetching() as fetching:
        for path in write_samples(folder, fetching):
            typer.echo(str(path))


app.command("evaluate", rich_help_panel=EVALUATION)(evaluate_command)
app.command("attack", rich_help_panel=EVALUATION)(attack_command)
app.command("compare-training", rich_help_panel=EVALUATION)(compare_training_command)
app.add_typer(bench_app, name="bench", rich_help_panel=EVALUATION)


class _Stopped(BaseException):
    """Ctrl-C or a request to end; not an Exception, so that nothing on the way takes it for a bad photo."""


_stopped_by = 0  # the signal


def _stop(number: int, frame: FrameType | None) -> None:
    global _stopped_by
    _stopped_by = number
    raise _Stopped


def main() -> None:
    """Runs the `mien` program: an error becomes one sentence, a hint and an exit code, never a traceback."""
    global _stopped_by
    _stopped_by = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    wait_asleep()  # before any command loads torch
    keep_freed_memory()
    try:
        app()
    except BaseException as error:
        # Whoever was just reading a file may have taken the stop for damage: safetensors does.
        if _stopped_by:
            typer.echo("mien: stopped; run the same command again to go on", err=True)
            sys.exit(128 + _stopped_by)
        if not isinstance(error, MienError):
            raise
        typer.secho(f"mien: {error.message}", fg="red", err=True)
        if error.hint:
            typer.echo(f"      {error.hint}", err=True)
        sys.exit(error.exit_code)
