"""`mien pool`: the generated faces that real ones are paired with: build, info, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options

if TYPE_CHECKING:
    from mien.steps.context import StepContext

pool_app = typer.Typer(help="The pool of generated faces: build, info, export.", no_args_is_help=True)



@pool_app.command("build")
def pool_build(recipe: options.Recipe = "default", models: options.Models = None, pool_size: options.PoolSize = None,
               settings: options.Settings = None, device: options.Device = "auto",
               quiet: options.Quiet = False) -> None:
    """Generate the pool now; a run does it by itself the first time."""
    kit = _kit(recipe, models, pool_size, settings, device, quiet)
    typer.echo(f"{len(kit.ready.pool)} generated faces")


@pool_app.command("info")
def pool_info() -> None:
    """Show the pools in the cache."""
    from mien.models.hub.cache import cache_folder

    files = sorted((cache_folder() / "pools").glob("pool-*.safetensors"))
    for path in files:
        typer.echo(f"{path.stem.split('-')[1]} faces, {path.stat().st_size / 1e6:.0f} MB: {path}")
    if not files:
        typer.echo("no pool yet; run: mien pool build")


@pool_app.command("export")
def pool_export(
    out: Annotated[Path, typer.Argument(help="Folder to write into.")],
    recipe: options.Recipe = "default",
    models: options.Models = None,
    pool_size: options.PoolSize = None,
    settings: options.Settings = None,
    pictures: Annotated[int, typer.Option(min=0, help="Draw so many faces in full, as JPEG.")] = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Write the pool as files: codes.safetensors (z, w, codes whitened), embeddings.safetensors, 000000.jpg, ..."""
    from mien.anonymizer.pool import export_pool

    kit = _kit(recipe, models, pool_size, settings, device, quiet)
    export_pool(kit.ready.networks, kit.ready.pool, kit.recipe.pool, out, pictures)
    typer.echo(f"{len(kit.ready.pool)} generated faces: {out}")


def _kit(recipe: str, models: str | None, pool_size: int | None, settings: list[str] | None, device: str,
         quiet: bool) -> StepContext:
    from mien.recipe import Recipe
    from mien.steps.context import StepContext

    changed = Recipe.load(recipe).with_changes({"models": models, "pool.size": pool_size})
    return StepContext(changed.with_settings(settings or ()), quiet, device)
