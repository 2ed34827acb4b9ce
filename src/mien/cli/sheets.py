"""The command that draws a run's faces for people to look at: contact sheets, or pictures to judge blind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.errors import UsageError


def sheets_command(src: Annotated[Path, typer.Argument(metavar="SRC", help="The SRC folder of a finished run.")],
                   dst: Annotated[Path, typer.Argument(metavar="DST", help="The DST folder of the run.")],
                   out: Annotated[Path, typer.Argument(
                       metavar="OUT", help="The private folder to write the sheets to.")],
                   work: Annotated[Path | None, typer.Option(
                       "--work", metavar="FOLDER", show_default="DST.work",
                       help="Read this WORK folder of the run.")] = None,
                   every: Annotated[int, typer.Option(
                       "--every", metavar="N", min=1, help="Show only every N-th face.")] = 1,
                   blind: Annotated[int | None, typer.Option(
                       "--blind", metavar="N", min=1, show_default="no",
                       help="Instead write N untouched and N changed faces in random order, one picture each, for "
                       "readers to tell apart.")] = None,
                   key: Annotated[Path | None, typer.Option(
                       "--key", metavar="FILE", show_default="OUT.key.csv",
                       help="With --blind: write to this CSV file which picture is which. Keep it from the "
                       "readers.")] = None,
                   seed: Annotated[int | None, typer.Option(
                       "--seed", metavar="N", min=0, show_default="a new draw",
                       help="With --blind: draw the same faces and order as another time with this seed.")] = None
                   ) -> None:
    """Write contact sheets of a run's faces, one a row: original, inversion, pool face, new face, new photograph."""
    if blind is None and (key is not None or seed is not None):
        raise UsageError("--key and --seed are for --blind", "give --blind N too")
    if blind is not None and (work is not None or every != 1):
        raise UsageError("--work and --every are for contact sheets, not for --blind", "leave them out")
    from mien.datasets.dataset import refuse_container
    from mien.report.read_run import read_run

    summary, recipe = read_run(dst)
    refuse_container(summary.layout, src)
    if blind is not None:
        from mien.report.blind_sheets import write_blind_sheets

        for path in write_blind_sheets(src, dst, out, summary, blind, key, seed):
            typer.echo(str(path))
        return
    from mien.anonymizer.load import prepare
    from mien.report.run_sheets import write_sheets
    from mien.report.terminal import Reporter

    reporter = Reporter(quiet=False)
    with reporter.fetching() as fetching, reporter.building() as building:
        loaded = prepare(recipe, fetching, building)
    for path in write_sheets(src, dst, work or dst.with_name(f"{dst.name}.work"), out, loaded, recipe, every):
        typer.echo(str(path))
