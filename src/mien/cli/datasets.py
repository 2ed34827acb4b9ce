"""`mien datasets`: lists the known layouts, and checks whether a folder has one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options

datasets_app = typer.Typer(
    no_args_is_help=True, help="List the layouts of datasets that mien reads, or check a folder.")


@datasets_app.command("list")
def list_layouts() -> None:
    """List the layouts that mien reads, and which tables of each are written again for the anonymized photographs."""
    from mien.datasets.check import describe_layouts

    for line in describe_layouts():
        typer.echo(line)


@datasets_app.command("check")
def check_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the dataset.")],
    layout: options.Layout = "auto",
    pictures: Annotated[bool, typer.Option(
        "--pictures", help="Decode every photograph as well, and list the damaged ones.")] = False,
) -> None:
    """Print a folder's layout, its content and what is wrong with it. The exit code is 2 if mien cannot use it."""
    from mien.datasets.check import check

    lines, usable = check(folder, layout, pictures)
    for line in lines:
        typer.echo(line)
    if not usable:
        raise typer.Exit(2)
