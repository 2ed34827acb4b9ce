"""What a set of photographs says of how it was made, where a run of mien has left its record beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mien.util.files import read_object

LOSSES = {"mobile": {"sface"}, "falco": {"arcface"}}  # model set -> the judges whose networks are in its loss


def recipe_of(published: Path) -> dict[str, Any]:
    """The recipe in the folder's mien.json, as it stands there; empty where there is none."""
    told = read_object(published / "mien.json").get("recipe")
    return told if isinstance(told, dict) else {}


def judges_in_loss(published: Path) -> set[str]:
    """The judges that anonymizing knew, so that they are no fair ones; of other tools, all that are in some loss."""
    return LOSSES.get(str(recipe_of(published).get("models"))) or set().union(*LOSSES.values())


def links_people(published: Path) -> bool:
    """Whether a person was to be the same new person in all photographs."""
    return recipe_of(published).get("identity") == "per-person"
