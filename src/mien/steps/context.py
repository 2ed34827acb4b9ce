"""The context of a step: its recipe, its networks, which load on first use, and its output to the terminal."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from mien.anonymizer.load import Loaded, prepare
from mien.errors import UsageError
from mien.images.formats import printable
from mien.models.bundle import Networks
from mien.models.model_sets import model_set
from mien.recipe import Recipe
from mien.report.terminal import Reporter
from mien.types import Photo
from mien.util.devices import open_device


class StepContext:
    """Holds the recipe and networks of one command. Networks load on first use: wrong arguments fail first."""

    def __init__(self, recipe: Recipe, quiet: bool, device: str = "auto") -> None:
        self.recipe = recipe.settled(device)
        self.quiet = quiet
        self.device = device
        self._reporter = Reporter(quiet)

    @cached_property
    def networks(self) -> Networks:
        """The networks of the recipe; missing weights are fetched."""
        with self._reporter.fetching() as fetching:
            chosen = model_set(self.recipe.models, self.recipe.features, self.recipe.detect.network)
            return chosen.load(chosen.gather(fetching), self.recipe.detect.score, self.recipe.precision,
                               open_device(self.device))

    @cached_property
    def weights(self) -> dict[str, str]:
        """The SHA-256 of every weights file, by network name."""
        return model_set(self.recipe.models, self.recipe.features, self.recipe.detect.network).hashes()

    @cached_property
    def loaded(self) -> Loaded:
        """The networks and the pool of generated faces; a missing pool is generated."""
        with self._reporter.fetching() as fetching, self._reporter.building() as building:
            return prepare(self.recipe, fetching, building, self.device)

    def say(self, text: str) -> None:
        """Prints a line for people to standard error, unless --quiet was given."""
        if not self.quiet:
            typer.echo(printable(text), err=True)


def tell(**row: Any) -> None:
    """Prints a JSON line for programs to standard output."""
    typer.echo(json.dumps(row))


def check_out(source: Path, out: Path) -> None:
    """Raises an error if OUT is the source itself.

    Raises:
        UsageError: both paths are one file.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out} is the photo itself", "give another name for OUT: originals are never overwritten")


def check_png(out: Path) -> None:
    """Raises an error if OUT is not named as a PNG.

    Raises:
        UsageError: the name does not end in .png.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out} would be written as PNG, but its name does not end in .png",
                         "end the name of OUT in .png")


def check_format(photo: Photo, appended: str, out: Path) -> None:
    """Raises an error if OUT's suffix belongs to another format than the photo's.

    Args:
        appended: the suffix that `encode_photo` asks to append to the photo's name, or "".

    Raises:
        UsageError: the suffix is not one of the format's.
    """
    kind = "PNG" if appended else photo.encoding.format
    suffixes = [suffix for suffix, other in Image.registered_extensions().items() if other == kind]
    if suffixes and out.suffix.lower() not in suffixes:
        raise UsageError(f"{printable(photo.name)} is written as {kind}, but {out} is not named so",
                         f"end the name of OUT in {' or '.join(sorted(suffixes, key=len)[:3])}")
