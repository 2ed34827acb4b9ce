"""Says what may be published: which folders are, and what of a run's record and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.errors import UsageError
from mien.recipe import Recipe

RECORD = "mien.json"  # which every finished DST holds


def published_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe with the seed that every recipe has that names none.

    The owner's seed stands for the secret of the run. It is not in the hash of the published recipe either: among
    small numbers it would soon be found.
    """
    return recipe.model_copy(update={"seed": Recipe.model_fields["seed"].default})


def published_settings(recipe: Recipe) -> dict[str, Any]:
    """Returns the fields of a recipe that are published: all but the seed."""
    return published_recipe(recipe).model_dump(mode="json", exclude={"seed"})


def published_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a run's record as it is published: without the seed, and with the published recipe's hash."""
    recipe = Recipe.model_validate(record["recipe"])
    return {**record, "recipe": published_settings(recipe), "recipe_hash": published_recipe(recipe).hash,
            "seed": "kept private"}


def refuse_published(out: Path, *results: Path) -> None:
    """Refuses a place for pictures of originals that is in a DST.

    Args:
        out: the file or folder that would be written, there or not.
        results: folders that are published, whether they hold a run's record or not.

    Raises:
        UsageError: it is, or is in, one of these or a folder that holds a run's record.
    """
    whole, known = out.resolve(), {folder.resolve() for folder in results}
    for folder in (whole, *whole.parents):
        if folder in known or (folder / RECORD).is_file():
            raise UsageError(f"{out} is inside {folder}, which is published: originals may not be there",
                             "give another folder")
