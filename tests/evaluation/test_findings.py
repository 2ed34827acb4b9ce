"""Which judge the findings go by, and what is said of its part in making the faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.errors import UsageError
from mien.evaluation.evaluation import Evaluation, Figure, JudgeRecord, Role, SetResult
from mien.evaluation.findings import RANKED, VERIFIED, evaluation_findings, main_judge
from mien.evaluation.terminal_table import group_title


def evaluation_of(judges: dict[str, Role], notes: list[str] | None = None) -> Evaluation:
    """Each judge takes another share of the faces for their originals: none, 1 of 200, 2 of 200, ..."""
    figures = {}
    for number, name in enumerate(judges):
        found = Figure(value=number / 200, low=0, high=0.02, count=200, people=60)
        figures[f"privacy/{name}"] = {VERIFIED: found, RANKED: found}
    return Evaluation(
        mien="0.1", date="2026-01-01", source="src", set="dst", faces=200, people=60, truth="labels", sample=None,
        seed=0, judges={name: JudgeRecord(role=role, thresholds={}) for name, role in judges.items()},
        sets={"dst": SetResult(title="dst", figures=figures)}, missing=0, skipped={}, notes=notes or [])


@pytest.mark.parametrize(("judges", "chosen", "found"), [
    ({"sface": "loss", "dlib": "gate", "faceplugin": "independent", "mine": "independent"}, "faceplugin", "2 of 200"),
    ({"sface": "loss", "dlib": "gate"}, "dlib", "1 of 200"),
    ({"sface": "loss", "arcface": "loss"}, "sface", "0 of 200")])
def test_the_fairest_judge_makes_the_headline(judges: dict[str, Role], chosen: str, found: str) -> None:
    evaluation = evaluation_of(judges)
    assert main_judge(evaluation) == chosen
    assert evaluation_findings(evaluation).headline.startswith(found)


@pytest.mark.parametrize(("role", "words"), [
    ("gate", "The judge dlib let these faces through, and those that it recognized did not pass, so that this is no "
             "fair judgment."),
    ("loss", "The judge dlib took part in making the faces, so that this is no fair judgment.")])
def test_a_judge_with_a_part_in_it_is_called_unfair(role: Role, words: str) -> None:
    assert words in evaluation_findings(evaluation_of({"dlib": role})).notes


def test_an_independent_judge_is_not_called_unfair() -> None:
    notes = evaluation_findings(evaluation_of({"faceplugin": "independent", "sface": "loss"})).notes
    assert not any("fair" in note for note in notes)


def test_the_evaluation_s_own_notes_are_findings() -> None:
    evaluation = evaluation_of({"dlib": "gate"}, ["The gate was loosened."])
    assert "The gate was loosened." in evaluation_findings(evaluation).notes


def test_without_judges_nothing_is_known() -> None:
    assert main_judge(evaluation_of({})) == ""
    assert "not known" in evaluation_findings(evaluation_of({})).headline


def test_tables_say_the_roles() -> None:
    evaluation = evaluation_of({"faceplugin": "independent", "dlib": "gate", "sface": "loss"})
    assert [group_title(evaluation, name) for name in (*evaluation.sets["dst"].figures, "utility")] == [
        "privacy, judged by faceplugin (independent judge)", "privacy, judged by dlib (gate: let these faces through)",
        "privacy, judged by sface (in the loss: no fair judge)", "utility"]


def test_figures_of_a_former_version_are_refused(tmp_path: Path) -> None:
    """Their judges have no role but `in_loss`."""
    told = json.loads(evaluation_of({"dlib": "gate"}).model_dump_json())
    told["judges"]["dlib"] = {"in_loss": False, "thresholds": {}}
    (tmp_path / "dst.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="holds no evaluation") as caught:
        Evaluation.read(tmp_path / "dst.json")
    assert "mien evaluate" in caught.value.hint
