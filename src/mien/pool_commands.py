"""`mien pool`: the generated faces that real ones are paired with: build, info, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.recipe import Recipe
    from mien.setup import Ready

pool_app = typer.Typer(help="The pool of generated faces: build, info, export.", no_args_is_help=True)

RecipeOption = Annotated[str, typer.Option("--recipe", help="default, fast, falco, falco-reference, or a TOML file.")]
ModelsOption = Annotated[str | None, typer.Option("--models", help="mobile, or falco: the imported checkpoints.")]
SizeOption = Annotated[int | None, typer.Option("--pool-size", help="Generated faces to choose from.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="A field of the recipe, as in pool.seed=1; may be repeated.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


@pool_app.command("build")
def pool_build(recipe: RecipeOption = "default", models: ModelsOption = None, pool_size: SizeOption = None,
               settings: Settings = None, quiet: QuietOption = False) -> None:
    """Generate the pool now; a run does it by itself the first time."""
    _, ready = _ready(recipe, models, pool_size, settings, quiet)
    typer.echo(f"{len(ready.pool)} generated faces")


@pool_app.command("info")
def pool_info() -> None:
    """Show the pools in the cache."""
    from mien.models.cache import cache_folder

    files = sorted((cache_folder() / "pools").glob("pool-*.safetensors"))
    for path in files:
        typer.echo(f"{path.stem.split('-')[1]} faces, {path.stat().st_size / 1e6:.0f} MB: {path}")
    if not files:
        typer.echo("no pool yet; run: mien pool build")


@pool_app.command("export")
def pool_export(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    recipe: RecipeOption = "default",
    models: ModelsOption = None,
    pool_size: SizeOption = None,
    settings: Settings = None,
    pictures: Annotated[int, typer.Option(min=0, help="Draw so many faces in full, as JPEG.")] = 0,
    quiet: QuietOption = False,
) -> None:
    """Write the pool as files: codes.safetensors (z, w, codes whitened), embeddings.safetensors, 000000.jpg, ..."""
    from mien.stages.pool import export_pool

    chosen, ready = _ready(recipe, models, pool_size, settings, quiet)
    export_pool(ready.networks, ready.pool, chosen.pool, out, pictures)
    typer.echo(f"{len(ready.pool)} generated faces: {out}")


def _ready(recipe: str, models: str | None, pool_size: int | None, settings: list[str] | None,
           quiet: bool) -> tuple[Recipe, Ready]:
    from mien.console import Reporter
    from mien.recipe import Recipe
    from mien.setup import prepare

    changed = Recipe.load(recipe).with_changes({"models": models, "pool.size": pool_size})
    chosen = changed.with_settings(settings or ()).settled()
    reporter = Reporter(quiet)
    with reporter.fetching() as fetching, reporter.building() as building:
        return chosen, prepare(chosen, fetching, building)
