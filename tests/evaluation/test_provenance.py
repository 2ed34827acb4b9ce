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
from mien.evaluation.provenance import (
    LOSSES,
    gate_warning,
    judge_roles,
    links_people,
    recipe_of,
    roles_by_inversion,
    roles_by_recipe,
)
from mien.jobs.state import JobState
from mien.recipe import Recipe


def told(folder: Path, what: Any) -> Path:
    (folder / "mien.json").write_text(json.dumps(what))
    return folder


def test_a_run_says_whether_it_links_photographs(tmp_path: Path) -> None:
    for identity in ("per-photo", "per-person"):
        recipe = Recipe().with_changes({"identity": identity})
        found = links_people(told(tmp_path, {"recipe": recipe.model_dump(mode="json")}))
        assert found == (identity == "per-person")


@pytest.mark.parametrize(("models", "roles"), [
    ("mobile", ["independent", "gate", "loss", "independent", "independent"]),
    ("falco", ["independent", "gate", "independent", "loss", "independent"])])
def test_a_run_gives_the_judges_their_roles(tmp_path: Path, models: str, roles: list[str]) -> None:
    recipe = Recipe().with_changes({"models": models})
    judges = ["faceplugin", "dlib", "sface", "arcface", "some/sface.onnx"]
    found = judge_roles(told(tmp_path, {"recipe": recipe.model_dump(mode="json")}), judges)
    assert list(found.items()) == list(zip(judges, roles, strict=True))


def test_a_recipe_alone_tells_the_same_roles(tmp_path: Path) -> None:
    recipe, judges = Recipe().model_dump(mode="json"), ["faceplugin", "dlib", "sface"]
    assert roles_by_recipe(recipe, judges) == judge_roles(told(tmp_path, {"recipe": recipe}), judges)


@pytest.mark.parametrize(("weight", "role"), [(0.1, "loss"), (0.0, "independent")])
def test_inversion_alone_has_the_loss_s_recognizer_but_no_gate(weight: float, role: str) -> None:
    recipe = Recipe().with_changes({"invert.identity_weight": weight}).model_dump()
    assert roles_by_inversion(recipe, ["faceplugin", "dlib", "sface"]) == {
        "faceplugin": "independent", "dlib": "independent", "sface": role}


def test_a_judge_that_trains_and_gates_is_in_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "mobile", {"sface", "dlib"})
    told(tmp_path, {"recipe": Recipe().model_dump(mode="json")})
    assert judge_roles(tmp_path, ["dlib"]) == {"dlib": "loss"}


@pytest.mark.parametrize("what", [None, [], {}, {"recipe": None}, {"recipe": []}])
def test_judges_are_independent_of_a_set_that_mien_did_not_make(tmp_path: Path, what: Any) -> None:
    for folder in (told(tmp_path, what), tmp_path / "nowhere"):
        assert not links_people(folder) and gate_warning(folder) == ""
        assert set(judge_roles(folder, ["faceplugin", "dlib", "sface"]).values()) == {"independent"}
        assert recipe_of(folder) == {}


@pytest.mark.parametrize("recipe", [{"models": ["mobile"]}, {"models": "other", "identity": 1, "verify": 3}])
def test_a_run_that_does_not_tell_its_networks_may_have_used_all(tmp_path: Path, recipe: Any) -> None:
    assert judge_roles(told(tmp_path, {"recipe": recipe}), ["faceplugin", "dlib", "sface", "arcface"]) == {
        "faceplugin": "independent", "dlib": "gate", "sface": "loss", "arcface": "loss"}


def test_a_gate_that_was_loosened_is_told(tmp_path: Path) -> None:
    for threshold, words in ((0.6, ""), (0.7, ""), (0.45, "verify.threshold is 0.45")):
        recipe = Recipe().with_changes({"verify.threshold": threshold})
        found = gate_warning(told(tmp_path, {"recipe": recipe.model_dump(mode="json")}))
        assert words in found and bool(found) == bool(words)
    assert "0.6" in found


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """The DST of a run by a former version, beside its SRC."""
    src, dst = folders(tmp_path, ["a.png"])
    summary, recipe = run_of([face("a.png")]), Recipe()
    record = {"recipe": recipe.model_dump(mode="json"), "recipe_hash": recipe.hash}
    JobState(dst, src).write_manifest(summary.outcomes, record, recipe.hash)
    assert recipe_of(dst).items() <= record["recipe"].items() and recipe_of(dst)["verify"] == record["recipe"]["verify"]
    as_former_version(dst)
    return dst


def test_a_set_of_another_version_is_refused_before_anything_is_made(former: Path, tmp_path: Path) -> None:
    """Its recipe would be misread: which layers were left alone, which judge was in the loss."""
    pairs = find_pairs(tmp_path / "src", former)
    config = EvaluationConfig(tmp_path / "src", former, tmp_path / "work")
    for call in (lambda: recipe_of(former), lambda: judge_roles(former, ()),
                 lambda: gate_warning(former), lambda: links_people(former),
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
