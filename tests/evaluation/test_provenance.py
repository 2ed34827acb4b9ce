"""What is known of how a set of photographs was made, where mien.json tells it and where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.made_up_runs import as_former_version, face, folders, run_of
from mien.cli.app import app
from mien.errors import UsageError
from mien.evaluation.attacks.layers import layers_changed
from mien.evaluation.evaluate import EvaluationConfig, evaluate
from mien.evaluation.pairs import find_pairs
from mien.evaluation.provenance import judges_in_loss, links_people, recipe_of
from mien.jobs.state import JobState
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


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """The DST of a run by a former version, beside its SRC."""
    src, dst = folders(tmp_path, ["a.png"])
    summary, recipe = run_of([face("a.png")]), Recipe()
    record = {"recipe": recipe.model_dump(mode="json"), "recipe_hash": recipe.hash}
    JobState(dst, src).write_manifest(summary.outcomes, record, recipe.hash)
    assert recipe_of(dst) == record["recipe"]
    as_former_version(dst)
    return dst


def test_a_set_of_another_version_is_refused_before_anything_is_made(former: Path, tmp_path: Path) -> None:
    """Its recipe would be misread: which layers were left alone, which judge was in the loss."""
    pairs = find_pairs(tmp_path / "src", former)
    config = EvaluationConfig(tmp_path / "src", former, tmp_path / "work")
    for call in (lambda: recipe_of(former), lambda: judges_in_loss(former), lambda: links_people(former),
                 lambda: layers_changed(pairs.published), lambda: evaluate(config)):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.message == (f"{former / 'mien.json'} was written by another version of mien: its recipe "
                                        "has pair.colour_weight, optimise, which this version does not know")
        assert "anonymize the photographs again" in caught.value.hint
    assert not (tmp_path / "work").exists()


def test_the_command_refuses_a_set_of_another_version(former: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["evaluate", str(tmp_path / "src"), str(former), "--quiet"])
    assert isinstance(ended.exception, UsageError), ended.exception
    assert "another version of mien: its recipe has pair.colour_weight, optimise" in ended.exception.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dst", "src"]
