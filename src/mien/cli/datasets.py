"""`mien datasets`: what layouts there are, and whether a folder has one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options

datasets_app = typer.Typer(help="Datasets: list the layouts, check a folder.", no_args_is_help=True)


@datasets_app.command("list")
def list_layouts() -> None:
    """Show the layouts that are known and what each carries over."""
    from mien.datasets.check import known

    for line in known():
        typer.echo(line)


@datasets_app.command("check")
def check_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset's folder.")],
    layout: options.Layout = "auto",
    pictures: Annotated[bool, typer.Option("--pictures", help="Decode all photographs, list damaged ones.")] = False,
) -> None:
    """Say what a folder is, what is in it, and what is wrong; exit code 2 when it cannot be used."""
    from mien.datasets.check import check

    lines, usable = check(folder, layout, pictures)
    for line in lines:
        typer.echo(line)
    if not usable:
        raise typer.Exit(2)
