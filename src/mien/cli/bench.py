"""`mien bench`: tests whose results can be put beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options
from mien.cli.evaluate import print_notes
from mien.errors import UsageError

bench_app = typer.Typer(no_args_is_help=True, help="Test an anonymization as published comparisons do.")


@bench_app.command("lfw")
def bench_lfw(
    path: Annotated[Path, typer.Argument(
        metavar="PATH", help="Your copy of LFW: a folder for each person, Person/Person_0001.jpg, with or without "
        "pairs.txt.")],
    anonymized: Annotated[Path | None, typer.Option(
        "--anonymized", metavar="DST", show_default="none",
        help="Test these photographs, anonymized by any tool under the same names, instead of anonymizing with a "
        "recipe.")] = None,
    recipe: options.Recipe = "default",
    settings: options.Settings = None,
    judge: Annotated[list[str] | None, typer.Option(
        "--judge", metavar="NAME", show_default="faceplugin",
        help="Verify with this recognizer, as in mien evaluate. May be given several times.")] = None,
    pairs: Annotated[int, typer.Option(
        "--pairs", metavar="N", min=1,
        help="Compare at most this many pairs of one person, and as many of two people.")] = 3000,
    seed: Annotated[int, typer.Option(
        "--seed", metavar="N", help="Draw the pairs with this seed where there is no pairs.txt.")] = 0,
    workers: Annotated[int, typer.Option(
        "--workers", metavar="N", min=1, help="Measure photographs in this many processes.")] = 1,
    work: Annotated[Path | None, typer.Option(
        "--work", metavar="FOLDER", show_default="PATH.bench.work",
        help="Keep intermediate results in this private folder; the same command goes on where it stopped.")] = None,
    out: Annotated[Path | None, typer.Option(
        "--out", metavar="FILE", show_default="PATH.bench.json", help="Write the figures to this JSON file.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Verify pairs of LFW before and after anonymization: areas under the curve, error rates, Fréchet distance."""
    from rich.console import Console

    from mien.evaluation.lfw.protocol import LfwConfig, run_lfw_protocol
    from mien.evaluation.lfw.table import lfw_tables, pairs_line
    from mien.recipe import Recipe
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    whole = path.resolve()
    out = out or whole.with_name(f"{whole.name}.bench.json")
    _check_writable(out)
    config = LfwConfig(
        path, work or whole.with_name(f"{whole.name}.bench.work"), anonymized,
        recipe=Recipe.load(recipe).with_settings(settings or ()),
        judges=tuple(dict.fromkeys(judge or ("faceplugin",))), most=pairs, seed=seed, processes=workers)
    with Reporter(quiet).counting() as progress, write_errors(config.work):
        result = run_lfw_protocol(config, progress)
    with write_errors(out):
        result.write(out)
    console = Console()
    console.print(pairs_line(result), highlight=False, soft_wrap=True)
    for table in lfw_tables(result):
        console.print(table)
    print_notes(console, result.notes)
    typer.echo(str(out))


def _check_writable(out: Path) -> None:
    """Refuses a file that cannot be written, before hours of work.

    Raises:
        UsageError: it is not called .json. OutputError: it cannot be written.
    """
    from tempfile import TemporaryFile

    from mien.util.files import write_errors

    if out.suffix.lower() != ".json":
        raise UsageError(f"{out} will be JSON", "end its name in .json")
    with write_errors(out):
        if out.is_dir():
            raise IsADirectoryError(21, "it is a folder", str(out))
        with TemporaryFile(dir=out.parent):
            pass
