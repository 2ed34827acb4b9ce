"""What a set of photographs says of how it was made, and what it cannot make anybody believe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mien.evaluation.provenance import judges_in_loss, links_people, recipe_of
from mien.recipe import Recipe


def told(folder: Path, what: Any) -> Path:
    (folder / "mien.json").write_text(json.dumps(what))
    return folder


def test_a_run_says_which_networks_it_knew(tmp_path: Path) -> None:
    for models, judge in (("mobile", "sface"), ("falco", "arcface")):
        recipe = Recipe().with_changes({"models": models})
        assert judges_in_loss(told(tmp_path, {"recipe": recipe.model_dump(mode="json")})) == {judge}
    assert not links_people(tmp_path)
    linked = Recipe().with_changes({"identity": "per-person"})
    assert links_people(told(tmp_path, {"recipe": linked.model_dump(mode="json")}))


@pytest.mark.parametrize("what", [None, [], {}, {"recipe": None}, {"recipe": []}, {"recipe": {"models": ["mobile"]}},
                                  {"recipe": {"models": "other", "identity": 1}}])
def test_who_says_nothing_may_have_known_all(tmp_path: Path, what: Any) -> None:
    for folder in (told(tmp_path, what), tmp_path / "nowhere"):
        assert judges_in_loss(folder) == {"sface", "arcface"} and not links_people(folder)
        assert isinstance(recipe_of(folder), dict)
