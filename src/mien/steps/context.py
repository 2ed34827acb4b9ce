"""What all stage commands share: recipe, networks when they are first needed, and the way to speak."""

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
    """Recipe and networks of one command; they load on first use, so that wrong arguments fail at once."""

    def __init__(self, recipe: Recipe, quiet: bool, device: str = "auto") -> None:
        self.recipe = recipe.settled(device)
        self.quiet = quiet
        self.device = device
        self._reporter = Reporter(quiet)

    @cached_property
    def networks(self) -> Networks:
        """The networks, fetched where they are missing."""
        with self._reporter.fetching() as fetching:
            chosen = model_set(self.recipe.models, self.recipe.features, self.recipe.detect.network)
            return chosen.load(chosen.gather(fetching), self.recipe.detect.score, self.recipe.precision,
                               open_device(self.device))

    @cached_property
    def weights(self) -> dict[str, str]:
        """SHA-256 of every weights file, by name."""
        return model_set(self.recipe.models, self.recipe.features, self.recipe.detect.network).hashes()

    @cached_property
    def ready(self) -> Loaded:
        """Networks and pool, built where it is missing."""
        with self._reporter.fetching() as fetching, self._reporter.building() as building:
            return prepare(self.recipe, fetching, building, self.device)

    def say(self, text: str) -> None:
        """A line for people, on standard error."""
        if not self.quiet:
            typer.echo(printable(text), err=True)


def tell(**row: Any) -> None:
    """A JSON line for programs, on standard output."""
    typer.echo(json.dumps(row))


def check_out(source: Path, out: Path) -> None:
    """Refuse to write over the source.

    Raises:
        UsageError: both are one file.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out} is the photo itself", "give another name: originals are never written over")


def check_png(out: Path) -> None:
    """Refuse a name that lies about the format.

    Raises:
        UsageError: the name does not end in .png.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out} will be a PNG: end its name in .png")


def check_format(photo: Photo, appended: str, out: Path) -> None:
    """Refuse to write a photo under a name of another format.

    Args:
        appended: what `encode_photo` wants appended to the photo's name.

    Raises:
        UsageError: the name's suffix is not one of the format.
    """
    kind = "PNG" if appended else photo.encoding.format
    suffixes = [suffix for suffix, other in Image.registered_extensions().items() if other == kind]
    if suffixes and out.suffix.lower() not in suffixes:
        raise UsageError(f"{printable(photo.name)} is written as {kind}, which {out} does not say",
                         f"end the name in {' or '.join(sorted(suffixes, key=len)[:3])}")
