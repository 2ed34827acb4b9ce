"""`mien steps`: every step of the anonymization as a command of its own.

Between the commands is a folder of single faces, see `mien.steps.face_folder`. Heavy modules are imported on use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options
from mien.errors import UsageError

if TYPE_CHECKING:
    from mien.steps.context import StepContext

Photo = Annotated[Path, typer.Argument(metavar="PHOTO", help="The photograph to read.")]
PhotoOrDataset = Annotated[Path, typer.Argument(
    metavar="PHOTO|SRC", help="A photograph, or the folder of a dataset of photographs.")]
Folder = Annotated[Path, typer.Argument(
    metavar="FOLDER", help="The private folder of single faces that `mien steps align` makes.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The photograph to write, in the format of PHOTO.")]
Again = Annotated[bool, typer.Option("--again", help="Make files again that FOLDER has already.")]
Afresh = Annotated[bool, typer.Option("--again", help="Delete what FOLDER has of these photographs first.")]
Codes = Annotated[Path, typer.Argument(
    metavar="CODES|FOLDER", help="A file of latent codes (.safetensors), or a folder of single faces.")]
Drawing = Annotated[Path | None, typer.Argument(
    metavar="OUT", help="The PNG to write; needed for a file of codes, not used for a folder.")]
First = Annotated[Path, typer.Argument(metavar="PHOTO|FOLDER", help="A photograph, or a folder of single faces.")]
Second = Annotated[Path | None, typer.Argument(
    metavar="PHOTO", help="A second photograph; needed with a first one, not used with a folder.")]

steps_app = typer.Typer(
    no_args_is_help=True,
    help="Run one step of the anonymization at a time, to look at or replace what is in between. The usual order is "
    "align, invert, pair, optimize, render, then blend (or collect, for a dataset of whole generated pictures).")


@steps_app.command("read")
def read(photo: Photo, out: Annotated[Path, typer.Argument(metavar="OUT", help="The PNG to write.")]) -> None:
    """Write a photograph's pixels as mien reads them: upright RGB of 8 bits, without metadata."""
    from mien.steps.align import read_upright

    read_upright(photo, out)


@steps_app.command("detect")
def detect(photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="The photographs to search.")],
           recipe: options.Recipe = "default", settings: options.Settings = None, quiet: options.Quiet = False) -> None:
    """Print one JSON line for each detected face: file, face, box (x, y, width, height in pixels), points, score."""
    from mien.steps.align import detect_photos

    detect_photos(photos, _context(recipe, quiet, settings))


@steps_app.command("align")
def align(src: PhotoOrDataset, folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
          layout: options.Layout = "auto", subset: options.Subset = None,
          largest: Annotated[bool, typer.Option("--largest", help="Crop only the largest face of each photo.")] = False,
          again: Afresh = False, quiet: options.Quiet = False) -> None:
    """Crop and align the faces of a photograph or dataset into FOLDER: PHOTO.0.png and PHOTO.0.json for the first face.

    The JSON file has file, box, points, score and quad (the crop's corners in the photograph, in pixels).
    """
    from mien.steps.align import align_dataset, align_photo

    if src.is_dir():
        align_dataset(src, folder, _context(recipe, quiet, settings), again, largest, layout, subset)
    else:
        align_photo(src, folder, _context(recipe, quiet, settings), again, largest)


@steps_app.command("features")
def features(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
             again: Again = False, quiet: options.Quiet = False) -> None:
    """Write the feature network's embeddings of all crops to FOLDER/embeddings.safetensors."""
    from mien.steps.embeddings import embed_folder

    embed_folder(folder, _context(recipe, quiet, settings), again)


@steps_app.command("invert")
def invert(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None, again: Again = False,
           quiet: options.Quiet = False) -> None:
    """Find the latent codes of each crop: .inversion.safetensors, and .inversion.png to look at."""
    from mien.steps.codes import invert_folder

    invert_folder(folder, _context(recipe, quiet, settings), again)


@steps_app.command("pair")
def pair(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
         by: Annotated[tuple[Path, Path] | None, typer.Option(
             metavar="FACES POOL", show_default="the recipe's",
             help="Measure distances by the embeddings [N, E] in these two files: of FOLDER's faces and of the pool.",
         )] = None,
         again: Again = False, quiet: options.Quiet = False) -> None:
    """Choose a generated face of the pool for each crop: written to its .json file, and .pair.png to look at."""
    from mien.steps.codes import pair_folder

    pair_folder(folder, _context(recipe, quiet, settings), again, by)


@steps_app.command("optimize")
def optimize(folder: Folder, recipe: options.Recipe = "default", settings: options.Settings = None,
             again: Again = False, quiet: options.Quiet = False) -> None:
    """Optimize the latent codes of a new face from each inversion and pair: .result.safetensors, figures in .json."""
    from mien.steps.codes import optimize_folder

    optimize_folder(folder, _context(recipe, quiet, settings), again)


@steps_app.command("render")
def render(source: Codes, out: Drawing = None, recipe: options.Recipe = "default", settings: options.Settings = None,
           again: Again = False, quiet: options.Quiet = False) -> None:
    """Render latent codes as a picture of 1024 px: one file of codes to OUT, or all results of a folder."""
    from mien.steps.codes import render_file, render_folder

    if source.is_dir():
        if out is not None:
            raise UsageError(f"{source} is a folder, whose pictures are written into it: leave OUT away",
                             f"run: mien steps render {source}")
        render_folder(source, _context(recipe, quiet, settings), again)
    elif out is None:
        raise UsageError(f"{source} is not a folder of faces; a file of codes needs OUT",
                         f"run: mien steps render {source} OUT.png")
    else:
        render_file(source, out, _context(recipe, quiet, settings))


@steps_app.command("verify")
def verify(first: First, second: Second = None, recipe: options.Recipe = "default", settings: options.Settings = None,
           quiet: options.Quiet = False) -> None:
    """Print the judge's distances as JSON lines: between the faces of two photos, or FOLDER's new and real faces."""
    from mien.steps.verify import verify_folder, verify_photos

    if first.is_dir():
        if second is not None:
            raise UsageError(f"{first} is a folder, which is verified by itself", f"run: mien steps verify {first}")
        verify_folder(first, _context(recipe, quiet, settings))
    elif second is None:
        raise UsageError(f"{first} is not a folder of faces; a photograph is compared with another one",
                         f"run: mien steps verify {first} PHOTO")
    else:
        verify_photos(first, second, _context(recipe, quiet, settings))


@steps_app.command("blend")
def blend(photo: Photo, folder: Folder, out: Out, recipe: options.Recipe = "default", settings: options.Settings = None,
          quiet: options.Quiet = False) -> None:
    """Put FOLDER's new faces into their photograph. Faces without a new one, or that still verify, are blurred."""
    from mien.steps.blend import blend_photo

    blend_photo(photo, folder, out, _context(recipe, quiet, settings))


@steps_app.command("collect")
def collect(src: Annotated[Path, typer.Argument(
                metavar="SRC", help="The folder of the dataset that FOLDER was made from.")],
            folder: Folder,
            dst: Annotated[Path, typer.Argument(
                metavar="DST", help="The new folder to write the dataset of pictures to.")],
            recipe: options.Recipe = "default", settings: options.Settings = None, layout: options.Layout = "auto",
            subset: options.Subset = None, quiet: options.Quiet = False) -> None:
    """Write FOLDER's new faces as a dataset in SRC's layout, as in the paper: whole generated pictures, verified."""
    from mien.steps.collect import collect_dataset

    collect_dataset(src, folder, dst, _context(recipe, quiet, settings), layout, subset)


@steps_app.command("compare")
def compare(folder: Folder,
            out: Annotated[Path, typer.Argument(metavar="OUT", help="The private folder to write the sheets to.")],
            every: Annotated[int, typer.Option(
                "--every", metavar="N", min=1, help="Show only every N-th face.")] = 1) -> None:
    """Write contact sheets of FOLDER's faces, one a row: original, inversion, nearest pool face, new face."""
    from mien.steps.compare import compare_folder

    compare_folder(folder, out, every)


@steps_app.command("export")
def export(photo: Photo, out: Out) -> None:
    """Write a photograph again without its metadata. Its faces stay as they are."""
    from mien.steps.align import export_photo

    export_photo(photo, out)


def _context(recipe: str, quiet: bool, settings: list[str] | None = None) -> StepContext:
    from mien.recipe import Recipe
    from mien.steps.context import StepContext

    return StepContext(Recipe.load(recipe).with_settings(settings or ()), quiet)
