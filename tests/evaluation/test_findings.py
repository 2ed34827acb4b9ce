"""Which judge the findings go by, and what is said of its part in making the faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.errors import UsageError
from mien.evaluation.evaluation import AttackResult, Evaluation, Figure, JudgeRecord, Role, SetResult
from mien.evaluation.findings import FOUND_LIFT, RANKED, RANKED_LIFT, VERIFIED, evaluation_findings, main_judge
from mien.evaluation.terminal_table import format_figure, group_title


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


def test_a_judge_that_judged_nothing_does_not_make_it() -> None:
    evaluation = evaluation_of({"silent": "independent", "dlib": "gate", "faceplugin": "independent"})
    for figures in ({}, None):
        if figures is None:
            del evaluation.sets["dst"].figures["privacy/silent"]
        else:
            evaluation.sets["dst"].figures["privacy/silent"] = figures
        assert main_judge(evaluation) == "faceplugin"
        assert evaluation_findings(evaluation).headline.startswith("2 of 200")


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


def with_ranks(rate: float, lift: float | None, at_least: bool = False) -> Evaluation:
    """None is verified; some of 200 faces are nearest to their originals, and so many times as often as by chance."""
    evaluation = evaluation_of({"faceplugin": "independent"})
    group = evaluation.sets["dst"].figures["privacy/faceplugin"]
    group[RANKED] = Figure(value=rate, low=None, high=None, count=200, people=60)
    if lift is not None:
        group[RANKED_LIFT] = Figure(value=lift, low=None, high=None, count=200, people=60, at_least=at_least)
    return evaluation


@pytest.mark.parametrize(("rate", "lift", "level"), [
    (0.1, 1.0, "good"), (0.1, 0.2, "good"), (0.1, 1.05, "good"), (0.1, 1.5, "mixed"), (0.1, 4.0, "bad"),
    (0.0, 0.0, "good"), (0.25, None, "good")])
def test_what_is_found_beyond_measured_chance_counts(rate: float, lift: float | None, level: str) -> None:
    """Among too few people for a lift, ranks say nothing."""
    assert evaluation_findings(with_ranks(rate, lift)).level == level


def test_chance_is_told_as_it_was_measured() -> None:
    told = [evaluation_findings(one).notes[0] for one in (
        with_ranks(0.1, 3.04), with_ranks(0.1, 50.0, at_least=True), with_ranks(0.1, None))]
    assert "nearest to their own originals, 3.0 times as often as by chance; the person's other" in told[0]
    assert "at least 50.0 times as often" in told[1] and "chance" not in told[2]


def test_the_headline_says_how_many_strangers_pass_at_most() -> None:
    """Of fewer than 1,000 pairs none passes, and of 1,500 one in 1,500."""
    assert evaluation_findings(with_ranks(0.0, None)).headline.endswith("where at most one stranger in 1,000 is")


@pytest.mark.parametrize(("lift", "level", "words"), [
    (1.1, "good", "12.0 % of the new faces at first guess, 1.1 times as often as by chance."),
    (4.0, "mixed", "4.0 times as often as by chance."), (None, "mixed", "12.0 % of the new faces at first guess.")])
def test_an_attack_counts_beyond_measured_chance(lift: float | None, level: str, words: str) -> None:
    """Among too few victims for a lift, all that it finds counts."""
    figures = {"rank1_other_photo_victims": 0.12} | ({} if lift is None else {FOUND_LIFT: lift})
    attack = AttackResult(title="", budget="", seed=0, seconds=1, known=30, people=30, faces=100, attackers={
        "the layers": {name: Figure(value=value, low=None, high=None, count=100, people=30)
                       for name, value in figures.items()}})
    found = evaluation_findings(evaluation_of({"faceplugin": "independent"}).model_copy(
        update={"attacks": {"layers": attack}}))
    assert found.level == level and any(note.endswith(words) for note in found.notes)


def test_tables_mark_lower_bounds() -> None:
    bound = Figure(value=41.25, low=None, high=None, count=200, people=60, at_least=True)
    assert format_figure(bound, "×", interval=True) == "≥ 41.2 ×"


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
