"""How a set of photographs was made, as told by the mien.json that a run of mien leaves beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mien.evaluation.evaluation import Role
from mien.jobs.gate import Gate
from mien.jobs.published import RECORD
from mien.report.read_run import check_recipe_names
from mien.util.files import read_object

LOSSES = {"mobile": {"sface"}, "falco": {"arcface"}}  # model set -> the judges whose networks are in its loss


def recipe_of(published: Path) -> dict[str, Any]:
    """The recipe in the folder's mien.json, as it was recorded; empty where there is none.

    Raises:
        UsageError: another version of mien made the folder, whose recipe has names that this one does not know.
    """
    record = published / RECORD
    recipe = read_object(record).get("recipe")
    if not isinstance(recipe, dict):
        return {}
    check_recipe_names(record, recipe)
    return recipe


def judge_roles(published: Path, judges: Iterable[str]) -> dict[str, Role]:
    """The role of each judge in the run that made the folder.

    Every judge is independent of a set that mien did not make, as far as is known.

    Raises:
        UsageError: as `recipe_of`.
    """
    recipe = recipe_of(published)
    return roles_by_recipe(recipe, judges) if recipe else dict.fromkeys(judges, "independent")


def roles_by_recipe(recipe: Mapping[str, Any], judges: Iterable[str]) -> dict[str, Role]:
    """The role of each judge in a run by this recipe; one that both trained and gated is in the loss.

    A recipe that does not tell its networks may have used all that are in some loss of mien.
    """
    loss, gate = _losses(recipe), Gate.of_settings(recipe).judge
    return {name: "loss" if name in loss else "gate" if name == gate else "independent" for name in judges}


def roles_by_inversion(recipe: Mapping[str, Any], judges: Iterable[str]) -> dict[str, Role]:
    """The same of originals that were inverted alone: the recognizer in the loss drew them to their originals."""
    settings = recipe.get("invert")
    loss = _losses(recipe) if isinstance(settings, Mapping) and settings.get("identity_weight") else set()
    return {name: "loss" if name in loss else "independent" for name in judges}


def _losses(recipe: Mapping[str, Any]) -> set[str]:
    return LOSSES.get(str(recipe.get("models"))) or set().union(*LOSSES.values())


def gate_warning(published: Path) -> str:
    """A sentence where the run let faces pass that its gate takes for their originals; "" elsewhere."""
    recipe = recipe_of(published)
    return Gate.of_settings(recipe).warning if recipe else ""


def links_people(published: Path) -> bool:
    """Whether the recipe gave each person the same new face in all photographs."""
    return recipe_of(published).get("identity") == "per-person"
