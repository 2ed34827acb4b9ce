"""Every stage as a command of its own, so that one can stop, look, swap and go on.

Between the commands lies a folder of single faces, see `mien.steps.face_folder`. Heavy modules are imported on use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options
from mien.errors import UsageError

if TYPE_CHECKING:
    from mien.steps.context import StepContext

Photo = Annotated[Path, typer.Argument(help="A photograph.")]
PhotoOrDataset = Annotated[Path, typer.Argument(metavar="PHOTO|SRC", help="A photograph, or a dataset of them.")]
Folder = Annotated[Path, typer.Argument(help="Folder of single faces, made by mien align; private.")]
Out = Annotated[Path, typer.Argument(help="Photograph to write, in the format of PHOTO.")]
Again = Annotated[bool, typer.Option("--again", help="Make anew what is there already.")]
Afresh = Annotated[bool, typer.Option("--again", help="Delete what FOLDER has of this photo first.")]
Codes = Annotated[Path, typer.Argument(metavar="CODES|FOLDER", help="A codes file, or a folder of faces.")]
Drawing = Annotated[Path | None, typer.Argument(metavar="[OUT]", help="PNG to write, for a codes file.")]
First = Annotated[Path, typer.Argument(metavar="PHOTO|FOLDER", help="A photograph, or a folder of faces.")]
Second = Annotated[Path | None, typer.Argument(metavar="[PHOTO]", help="A second photograph.")]


def register(app: typer.Typer) -> None:
    """Add the stage commands to the program's, under a heading of their own."""
    for command in (read, detect, align, features, invert, pair, optimize, render, verify, blend, collect, compare,
                    export):
        app.command(rich_help_panel="One stage alone")(command)


def read(photo: Photo, out: Annotated[Path, typer.Argument(help="PNG to write.")]) -> None:
    """Write a photo's pixels as mien sees them: upright RGB, 8 bits, no metadata."""
    from mien.steps.align import read_upright

    read_upright(photo, out)


def detect(photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photographs.")],
           recipe: options.Recipe = "default", settings: options.Settings = None, quiet: options.Quiet = False) -> None:
    """Print one JSON line a face: file, face, box (x, y, width, height), points, score."""
    from mien.steps.align import detect_photos

    detect_photos(photos, _kit(recipe, quiet, settings))


def align(src: PhotoOrDataset, folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
          layout: options.Layout = "auto", subset: options.Subset = None,
          largest: Annotated[bool, typer.Option("--largest", help="One face a photo.")] = False,
          again: Afresh = False, quiet: options.Quiet = False) -> None:
    """Cut a photo's or a dataset's faces into FOLDER: <stem>.<i>.png and .json (file, box, points, score, quad)."""
    from mien.steps.align import align_dataset, align_photo

    if src.is_dir():
        align_dataset(src, folder, _kit(recipe, quiet, settings), again, largest, layout, subset)
    else:
        align_photo(src, folder, _kit(recipe, quiet, settings), again, largest)


def features(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
             again: Again = False, quiet: options.Quiet = False) -> None:
    """Write the feature network's embeddings of all crops: FOLDER/embeddings.safetensors, [N, E] and names."""
    from mien.steps.embeddings import embed_tray

    embed_tray(folder, _kit(recipe, quiet, settings), again)


def invert(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None, again: Again = False,
           quiet: options.Quiet = False) -> None:
    """Find each crop's codes: .inversion.safetensors (codes whitened, w_plus), .inversion.png."""
    from mien.steps.codes import invert_tray

    invert_tray(folder, _kit(recipe, quiet, settings), again)


def pair(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
         by: Annotated[tuple[Path, Path] | None, typer.Option(
             metavar="REAL POOL", help="Embeddings [N, E] to pair by: the faces' file and the pool's.")] = None,
         again: Again = False, quiet: options.Quiet = False) -> None:
    """Choose a generated face for each crop: pair in its .json, .pair.png."""
    from mien.steps.codes import pair_tray

    pair_tray(folder, _kit(recipe, quiet, settings), again, by)


def optimize(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
             again: Again = False, quiet: options.Quiet = False) -> None:
    """Make new faces from inversions and pairs: .result.safetensors, similarity and more in .json."""
    from mien.steps.codes import optimize_tray

    optimize_tray(folder, _kit(recipe, quiet, settings), again)


def render(source: Codes, out: Drawing = None, recipe: options.Recipe = "default", settings: options.Settings = None,
           again: Again = False, quiet: options.Quiet = False) -> None:
    """Draw codes at 1024 px: a codes file into OUT, or all results of a folder into .result.png."""
    from mien.steps.codes import render_file, render_tray

    if source.is_dir():
        if out is not None:
            raise UsageError("a folder's pictures stay in it: leave OUT away", f"run: mien render {source}")
        render_tray(source, _kit(recipe, quiet, settings), again)
    elif out is None:
        raise UsageError(f"{source} is no folder of faces; a codes file needs OUT",
                         f"run: mien render {source} OUT.png")
    else:
        render_file(source, out, _kit(recipe, quiet, settings))


def verify(first: First, second: Second = None, recipe: options.Recipe = "default", settings: options.Settings = None,
           quiet: options.Quiet = False) -> None:
    """Print the judge's distances as JSON lines: two photos' faces, or FOLDER's results to originals."""
    from mien.steps.verify import verify_photos, verify_tray

    if first.is_dir():
        if second is not None:
            raise UsageError("a folder is verified by itself", f"run: mien verify {first}")
        verify_tray(first, _kit(recipe, quiet, settings))
    elif second is None:
        raise UsageError(f"{first} is no folder of faces; a photo is compared with another",
                         f"run: mien verify {first} PHOTO")
    else:
        verify_photos(first, second, _kit(recipe, quiet, settings))


def blend(photo: Photo, folder: Folder, out: Out, recipe: options.Recipe = "default", settings: options.Settings = None,
          quiet: options.Quiet = False) -> None:
    """Put FOLDER's new faces into their photo; faces without one, or still known, are blurred."""
    from mien.steps.blend import blend_photo

    blend_photo(photo, folder, out, _kit(recipe, quiet, settings))


def collect(src: Annotated[Path, typer.Argument(help="The dataset that FOLDER was made from.")], folder: Folder,
            dst: Annotated[Path, typer.Argument(help="New folder for the whole new pictures.")],
            recipe: options.Recipe = "default", settings: options.Settings = None, layout: options.Layout = "auto",
            subset: options.Subset = None,
            quiet: options.Quiet = False) -> None:
    """Write FOLDER's new faces as a dataset in SRC's layout, as the paper does: whole generated pictures, judged."""
    from mien.steps.collect import collect_dataset

    collect_dataset(src, folder, dst, _kit(recipe, quiet, settings), layout, subset)


def compare(folder: Folder, out: Annotated[Path, typer.Argument(help="Folder for the sheets; private.")],
            every: Annotated[int, typer.Option(min=1, help="Show every n-th face.")] = 1) -> None:
    """Draw FOLDER's faces in rows: original, inversion, nearest, new face."""
    from mien.steps.compare import compare_tray

    compare_tray(folder, out, every)


def export(photo: Photo, out: Out) -> None:
    """Write a photo again without its metadata. Its faces stay."""
    from mien.steps.align import export_photo

    export_photo(photo, out)


def _kit(recipe: str, quiet: bool, settings: list[str] | None = None) -> StepContext:
    from mien.recipe import Recipe
    from mien.steps.context import StepContext

    return StepContext(Recipe.load(recipe).with_settings(settings or ()), quiet)
