"""How a set of photographs was made, as told by the mien.json that a run of mien leaves beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mien.report.read_run import check_recipe_names
from mien.util.files import read_object

LOSSES = {"mobile": {"sface"}, "falco": {"arcface"}}  # model set -> the judges whose networks are in its loss


def recipe_of(published: Path) -> dict[str, Any]:
    """The recipe in the folder's mien.json, as it was recorded; empty where there is none.

    Raises:
        UsageError: another version of mien made the folder, whose recipe has names that this one does not know.
    """
    record = published / "mien.json"
    recipe = read_object(record).get("recipe")
    if not isinstance(recipe, dict):
        return {}
    check_recipe_names(record, recipe)
    return recipe


def judges_in_loss(published: Path) -> set[str]:
    """The judges that were in the anonymization's loss; for sets of other tools, all that are in some loss of mien."""
    return LOSSES.get(str(recipe_of(published).get("models"))) or set().union(*LOSSES.values())


def links_people(published: Path) -> bool:
    """Whether the recipe gave each person the same new face in all photographs."""
    return recipe_of(published).get("identity") == "per-person"
