"""Anonymizes single images with networks that stay loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from mien.anonymizer.detect import detect
from mien.anonymizer.load import Loaded, prepare
from mien.anonymizer.pipeline import Pipeline
from mien.anonymizer.seeds import secret_of
from mien.anonymizer.work_item import WorkItem
from mien.errors import FaceError, UsageError
from mien.recipe import Recipe
from mien.types import Encoding, FaceOutcome, Photo, Pixels

_SECRET = secret_of(None)  # of this process, where no seed is given: who has it can tell which pool faces were chosen


@dataclass(frozen=True, eq=False)  # arrays have no truth of their own
class Result:
    """Holds an anonymized image.

    Attributes:
        image: [H, W, 3] uint8 RGB, a new array; it may be published.
        faces: what became of each face that was found. They are private: distances and points lead to the original.
    """

    image: Pixels
    faces: list[FaceOutcome]


class Anonymizer:
    """Anonymizes any number of images with the networks and the pool of one recipe.

    Creating one takes some seconds, and minutes where weights have to be fetched or the pool has to be generated first.
    Several threads may share one; each call returns what it would return alone. It is a context manager that releases
    the networks at the end of the `with` block.

    Args:
        recipe: name of a preset, path of a TOML file, or a `Recipe`.
        device: "auto", "cpu", "cuda", "cuda:1", ...

    Raises:
        UsageError: there is no such recipe or device, or the recipe is for whole datasets (per-person identities).
        ModelError: weights are missing or damaged, and cannot be fetched. OutputError: the cache cannot be written.
    """

    def __init__(self, recipe: str | Recipe = "default", device: str = "auto") -> None:
        self.recipe = recipe_for_images(recipe).settled(device)
        self._loaded: Loaded | None = prepare(self.recipe, device=device)

    @classmethod
    def _of(cls, recipe: Recipe, loaded: Loaded) -> Self:
        """Makes one of networks and a pool that are loaded already; `recipe` is settled and for single images."""
        made = cls.__new__(cls)
        made.recipe, made._loaded = recipe, loaded
        return made

    def anonymize(self, image: Pixels, *, name: str = "", seed: int | None = None) -> Result:
        """Replaces every face of an image by the face of a person who does not exist.

        Args:
            image: [H, W, 3] uint8 RGB, upright; it is not changed.
            name: decides, with the secret, which generated faces the new ones start from: equal images of one name get
                equal results. By default a hash of the pixels that only the holder of the secret can compute.
            seed: stands for the secret, and is to be kept like one: the same seed gives the same results in another
                process too. By default the recipe's seed, or where it has none, a secret of this process.

        Returns:
            The new image, and what became of each face, which is private. Faces that could not be anonymized are
            blurred, with that status.

        Raises:
            UsageError: the image is not such an array, or the Anonymizer is closed.
            FaceError: a face could not be anonymized and the recipe says on_failure = "error" or "drop"; or every
                search of the finished image finds another face, so that no image can be given back.
        """
        loaded = self._loaded  # once: another thread may close this Anonymizer at any moment
        if loaded is None:
            raise UsageError("this Anonymizer is closed", "make a new one")
        pixels = check_image(image)
        recipe = self.recipe if seed is None else self.recipe.with_changes({"seed": seed})
        secret = _SECRET if recipe.seed is None else secret_of(recipe.seed)
        photo = Photo(name or _default_name(pixels, secret), pixels, Encoding("PNG", "RGB"))
        pipeline = Pipeline(loaded.networks, loaded.pool, recipe)
        pipeline.secret = secret
        item = pipeline.prepare(photo, detect(loaded.networks, photo))
        pipeline.run([item])
        decision = pipeline.finish(item, _pixels)
        if decision != "anonymized":
            reason = "a face could not be anonymized, and the recipe drops such images"
            if decision == "refused":
                reason = "every search of the finished image finds another face"
            raise FaceError(reason, "leave this image out")
        return Result(_pixels(item), item.outcomes)

    def close(self) -> None:
        """Releases the networks; calls that are running in other threads finish undisturbed."""
        self._loaded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def recipe_for_images(recipe: str | Recipe) -> Recipe:
    """Returns the recipe, or the one of that name.

    Raises:
        UsageError: there is no such recipe, or it is for whole datasets.
    """
    chosen = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    if chosen.identity == "per-person":
        raise UsageError("one image has no people to tell apart",
                         'use anonymize_dataset, or a recipe with identity = "per-photo"')
    return chosen


def check_image(image: Pixels) -> Pixels:
    """Returns the image as a contiguous array.

    Raises:
        UsageError: it is not an array [H, W, 3] of uint8.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise UsageError(f"expected an image [H, W, 3] of uint8 RGB, got {pixels.dtype} {list(pixels.shape)}",
                         "convert the image, as in numpy.asarray(PIL.Image.open(FILE).convert(\"RGB\"))")
    return np.ascontiguousarray(pixels)


def _default_name(pixels: Pixels, secret: bytes = _SECRET) -> str:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), key=secret, digest_size=16)
    digest.update(pixels.data)
    return digest.hexdigest()


def _pixels(item: WorkItem) -> Pixels:
    assert item.pixels is not None
    return item.pixels
