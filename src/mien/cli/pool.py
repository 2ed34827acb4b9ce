"""`mien pool`: builds, lists and exports the generated faces that real faces are paired with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options

if TYPE_CHECKING:
    from mien.steps.context import StepContext

pool_app = typer.Typer(
    no_args_is_help=True, help="Build, list or export the pools of generated faces that real faces are paired with.")


@pool_app.command("build")
def pool_build(recipe: options.Recipe = "default", models: options.Models = None, pool_size: options.PoolSize = None,
               settings: options.Settings = None, device: options.Device = "auto",
               quiet: options.Quiet = False) -> None:
    """Generate the pool of a recipe now instead of at the start of the first run. Continues after an interruption."""
    context = _context(recipe, models, pool_size, settings, device, quiet)
    typer.echo(f"{len(context.loaded.pool)} generated faces")


@pool_app.command("info")
def pool_info() -> None:
    """List the pools in the cache: number of faces, size in MB, path."""
    from mien.models.hub.cache import cache_folder

    files = sorted((cache_folder() / "pools").glob("pool-*.safetensors"))
    for path in files:
        typer.echo(f"{path.stem.split('-')[1]} faces, {path.stat().st_size / 1e6:.0f} MB: {path}")
    if not files:
        typer.echo("no pool yet; run: mien pool build")


@pool_app.command("export")
def pool_export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write to.")],
    recipe: options.Recipe = "default",
    models: options.Models = None,
    pool_size: options.PoolSize = None,
    settings: options.Settings = None,
    pictures: Annotated[int, typer.Option(
        "--pictures", metavar="N", min=0, help="Also render this many faces at 1024 px, as JPEG.")] = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Write a pool as files: codes.safetensors (z, w, whitened codes), embeddings.safetensors, 000000.jpg and so on."""
    from mien.anonymizer.pool import export_pool

    context = _context(recipe, models, pool_size, settings, device, quiet)
    export_pool(context.loaded.networks, context.loaded.pool, context.recipe.pool, out, pictures)
    typer.echo(f"{len(context.loaded.pool)} generated faces: {out}")


def _context(recipe: str, models: str | None, pool_size: int | None, settings: list[str] | None, device: str,
             quiet: bool) -> StepContext:
    from mien.recipe import Recipe
    from mien.steps.context import StepContext

    changed = Recipe.load(recipe).with_changes({"models": models, "pool.size": pool_size})
    return StepContext(changed.with_settings(settings or ()), quiet, device)
