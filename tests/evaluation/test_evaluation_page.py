"""The page of an evaluation: what it says, and what it must never hold."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.made_up_runs import Page, assert_self_contained
from mien.errors import UsageError
from mien.evaluation.evaluation import AttackResult, Evaluation, Figure, Group, Groups, JudgeRecord, SetResult, Slice
from mien.evaluation.evaluation_page import write_page
from mien.evaluation.findings import evaluation_findings, share_kept
from mien.evaluation.terminal_table import UNFAIR_MARK, WITHHELD, format_cell, remarks, tables
from mien.evaluation.withholding import WHY_WITHHELD
from mien.evaluation.worst_cases import WorstCase
from mien.report.charts import SPAN_LEFT, SPAN_RIGHT, comparison

HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"


def figure(value: float, reach: float | None = 0.02, worst: float | None = None) -> Figure:
    low, high = (None, None) if reach is None else (max(value - reach, 0), value + reach)
    return Figure(value=value, low=low, high=high, count=200, people=60, worst_tenth=worst)


def groups(verified: float, auc: float = 0.52, attributes: float = 0.85) -> Groups:
    privacy: Group = {"verified_own_original_far1e-3": figure(verified),
                      "rank1_own_original_all_originals": figure(verified), "auc_new_to_new": figure(auc)}
    return {"privacy/dlib": privacy,
            "utility": {"attributes_accuracy": figure(attributes, worst=0.6), "found_centerface": figure(0.99)},
            "look": {"sex_kept": figure(0.8), "age_change": figure(6.1), "skin_color": figure(4.2)},
            "quality": {"fd_effnet_lite0": figure(11.0, None)}}


def evaluation_of(verified: float = 0.0, auc: float = 0.52, name: str = "dst", **more: object) -> Evaluation:
    sets = {
        "originals": SetResult(title="originals", figures=groups(1.0, 0.99, 0.9)),
        name: SetResult(title=name, figures=groups(verified, auc),
                        slices={"men": Slice(small=False, faces=90, figures=groups(verified, auc)),
                                "with a hat": Slice(small=True, faces=7, figures=groups(verified, auc))}),
        "random": SetResult(title="random generated face", figures=groups(0.001, 0.5, 0.7)),
    }
    values: dict[str, object] = {
        "mien": "0.1", "date": "2026-01-01", "source": "src", "set": name, "faces": 200, "people": 60,
        "truth": "labels", "sample": 2000, "seed": 0, "sets": sets, "missing": 3, "notes": [],
        "skipped": {"too small": 2},
        "judges": {"dlib": JudgeRecord(role="independent", thresholds={"1e-2": 0.68, "1e-3": 0.62})}}
    return Evaluation.model_validate(values | more)


def rendered(evaluation: Evaluation, tmp_path: Path) -> Page:
    write_page(tmp_path / "dst.html", evaluation, tmp_path / "dst")
    html = (tmp_path / "dst.html").read_text("utf-8")
    page = Page(html)
    assert_self_contained(html, page)
    return page


def test_the_findings_come_first_and_in_words(tmp_path: Path) -> None:
    text = rendered(evaluation_of(), tmp_path).text
    assert text.index("Hardly anyone is found again") < text.index("Can anyone be found again?")
    assert "0 of 200 new faces are taken for their own originals" in text and "one stranger in 1,000" in text
    assert "75 % of the way from random generated faces to the originals" in text
    assert "No attack was run" in text and "missing of the originals: 3 photographs" in text
    assert "0.680 at a false match rate of 1e-2" in text and "2 photographs could not be compared: too small" in text


@pytest.mark.parametrize(("verified", "auc", "level"),
                         [(0.0, 0.5, "good"), (0.02, 0.5, "mixed"), (0.0, 0.8, "mixed"), (0.3, 0.5, "bad")])
def test_the_levels_of_the_findings(verified: float, auc: float, level: str) -> None:
    assert evaluation_findings(evaluation_of(verified, auc)).level == level


def test_what_chance_finds_among_few_people_is_not_held_against_a_set() -> None:
    """A set that hides everything: the nearest of four people's originals is the own one every fourth time."""
    evaluation = evaluation_of()
    found = groups(0.0)
    found["privacy/dlib"]["rank1_own_original_all_originals"] = figure(0.25)
    levels = []
    for times in (None, 0.5, 1.0, 1.1, 50.0):  # chance is not known of the fewest
        if times:
            found["privacy/dlib"]["lift_rank1_own_original_all_originals"] = figure(times)
        few = evaluation.model_copy(update={"sets": {"dst": SetResult(title="dst", figures=found)}})
        levels.append(evaluation_findings(few).level)
    assert levels == ["good", "good", "good", "mixed", "bad"]


def test_one_face_is_one(tmp_path: Path) -> None:
    assert "1 of 200 new faces is taken for its own original (" in rendered(evaluation_of(0.005), tmp_path).text


def test_without_people_the_findings_do_not_calm() -> None:
    evaluation = evaluation_of()
    bare = evaluation.model_copy(update={"sets": {"dst": SetResult(title="dst", figures={
        "utility": {"attributes_accuracy": figure(0.8)}})}})
    found = evaluation_findings(bare)
    assert found.level == "mixed" and "not known" in found.headline
    assert share_kept(bare, "utility", "attributes_accuracy") is None


def test_a_judge_from_the_loss_is_called_one() -> None:
    evaluation = evaluation_of(judges={"dlib": JudgeRecord(role="loss", thresholds={})})
    assert any("no fair judgment" in note for note in evaluation_findings(evaluation).notes)


def test_attacks_are_told(tmp_path: Path) -> None:
    attack = AttackResult(title="fingerprint of the layers", budget="one pass", seed=0, seconds=2.0, known=30,
                          people=30, faces=100, attackers={"the layers": {"rank1_other_photo_victims": figure(0.33)},
                                                           "dlib, knowing nothing": {}})
    text = rendered(evaluation_of(attacks={"layers": attack}), tmp_path).text
    assert "knows the method (layers) finds another photograph of the same person for 33.0 %" in text
    assert "Fingerprint of the layers" in text and "33.0 % (31.0 to 35.0)" in text


def test_small_parts_and_the_worst_tenth_are_marked(tmp_path: Path) -> None:
    text = rendered(evaluation_of(), tmp_path).text
    assert "with a hat *" in text and "60.0 %" in text


def test_what_is_withheld_is_said_to_be_so(tmp_path: Path) -> None:
    """A figure that was left out looked like one that was not measured."""
    evaluation = evaluation_of()
    own = evaluation.sets["dst"]
    privacy = {"privacy/dlib": ["distance_own_original", "verified_own_original_far1e-3"]}
    own.withheld["look"] = ["pose_difference"]
    own.slices["with a hat"] = Slice(small=True, faces=1, withheld=privacy,
                                     figures={"look": {"sex_kept": figure(1.0, None)}})
    assert format_cell(evaluation, "dst", "look", "pose_difference") == WITHHELD
    assert remarks(evaluation, "look", ["dst"]) == [f"{WITHHELD}: {WHY_WITHHELD}"]
    assert remarks(evaluation, "look", ["originals"]) == remarks(evaluation, "utility", ["dst"]) == []
    page = rendered(evaluation, tmp_path)
    assert "fewer than 10 faces, or of fewer than 3 people" in page.text and "head pose withheld" in page.text
    assert "with a hat * 1 withheld" in page.text
    (look,) = (table for table in tables(evaluation) if table.title == "look")
    assert list(look.columns[1].cells)[list(look.columns[0].cells).index("head pose")] == WITHHELD
    assert WHY_WITHHELD in str(look.caption)


def test_the_set_whose_judge_is_unfair_is_marked_alone(tmp_path: Path) -> None:
    """The heading tells the judge's role in the evaluated set, and stands above sets that were made against it."""
    sets = evaluation_of().sets | {"recipe default": SetResult(title="recipe default", figures=groups(0.01), roles={
        "dlib": "loss"}), "floor": SetResult(title="noise floor", figures=groups(0.9), roles={"dlib": "independent"})}
    evaluation = evaluation_of(sets=sets)
    marked = {name: UNFAIR_MARK in format_cell(evaluation, name, "privacy/dlib", "auc_new_to_new") for name in sets}
    assert marked == {"originals": False, "dst": False, "random": False, "recipe default": True, "floor": False}
    assert not any(UNFAIR_MARK in format_cell(evaluation, name, "look", "sex_kept") for name in sets)
    table = tables(evaluation)[0]
    assert "(independent judge)" in str(table.title) and "dlib was in the loss of this set" in str(table.caption)
    for column in table.columns[1:]:
        assert all((UNFAIR_MARK in str(cell)) == (column.header == "recipe default") for cell in column.cells)
    assert f"{UNFAIR_MARK} dlib was in the loss of this set" in rendered(evaluation, tmp_path).text
    evaluation.sets.pop("recipe default")
    assert UNFAIR_MARK not in rendered(evaluation, tmp_path).text and tables(evaluation)[0].caption is None


@pytest.mark.parametrize("role", ["loss", "gate"])
def test_the_evaluated_set_s_own_unfair_judge_is_marked(role: str) -> None:
    evaluation = evaluation_of(judges={"dlib": JudgeRecord.model_validate({"role": role, "thresholds": {}})})
    assert UNFAIR_MARK in format_cell(evaluation, "dst", "privacy/dlib", "auc_new_to_new")
    assert UNFAIR_MARK not in format_cell(evaluation, "random", "privacy/dlib", "auc_new_to_new")


def test_sets_and_figures_of_fewer_faces_say_so(tmp_path: Path) -> None:
    found = groups(0.0)
    found["look"]["pose_difference"] = figure(4.0).model_copy(update={"count": 150})
    sets = evaluation_of().sets | {"floor": SetResult(title="noise floor", figures=found, lacks=20)}
    evaluation = evaluation_of(sets=sets)
    write_page(tmp_path / "dst.html", evaluation, tmp_path / "dst")
    html = (tmp_path / "dst.html").read_text("utf-8")
    assert "noise floor, 180 faces" in html and 'title="of 150 of 180 faces">4.00°' in html
    assert html.count("title=\"of ") == 1  # all others are of as many faces as their sets
    assert "cannot be told of the new face counts as not kept" in html


def test_a_ratio_is_best_at_1(tmp_path: Path) -> None:
    evaluation = evaluation_of()
    evaluation.sets["dst"].figures["look"]["sharpness_ratio"] = figure(0.8, worst=2.5)
    text = rendered(evaluation, tmp_path).text
    assert "sharpness 1 is best" in text and "2.50" in text and "sharpness more is better" not in text


def test_the_estimators_are_not_praised_beyond_what_was_measured(tmp_path: Path) -> None:
    text = rendered(evaluation_of(), tmp_path).text
    assert "eyes called closed" not in text and "sex, CelebA-HQ" in text
    assert "dlib's and face-api's were trained on is not known" in text and "none of them was trained on" not in text


def test_names_are_text(tmp_path: Path) -> None:
    page = rendered(evaluation_of(name=HOSTILE, source=HOSTILE, skipped={HOSTILE: 1}, notes=[HOSTILE]), tmp_path)
    assert "script" not in page.tags and "<script>" in page.text and "{{ 7*7 }}" in page.text


def test_long_names_end_where_their_column_does(tmp_path: Path) -> None:
    rendered(evaluation_of(name="recipe-default-86883b2e"), tmp_path)
    labels = re.findall(r'class="mark-label" x="122"[^>]*>([^<]*)<', (tmp_path / "dst.html").read_text("utf-8"))
    assert set(labels) == {"recipe-default-8…"}  # 17 bold characters of 7 px at most: 119 of 122


def test_originals_are_for_the_owner_alone(tmp_path: Path) -> None:
    case = WorstCase("a.png", "distance 0.41", "data:image/jpeg;base64,AA==", "data:image/jpeg;base64,AA==")
    path = tmp_path / "dst.html"
    write_page(path, evaluation_of(), tmp_path / "dst", [case])
    html = path.read_text("utf-8")
    assert_self_contained(html, Page(html))
    assert path.stat().st_mode & 0o77 == 0 and "for the owner's eyes only" in html and "distance 0.41" in html
    write_page(path, evaluation_of(), tmp_path / "dst")
    assert path.stat().st_mode & 0o777 == 0o644 and "owner's eyes only" not in path.read_text("utf-8")
    with pytest.raises(UsageError, match="which is published"):
        write_page(tmp_path / "dst" / "page.html", evaluation_of(), tmp_path / "dst", [case])


NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.just(math.nan), NUMBERS | st.just(math.nan)), max_size=12))
def test_every_dot_is_in_the_drawing(drawn: list[tuple[float, float, float]]) -> None:
    rows = [(f"set {i}", value, low, high, "") for i, (value, low, high) in enumerate(drawn)]
    drawing = comparison(rows, "set 0")
    if not rows:
        assert drawing is None
        return
    assert drawing is not None and [row.label for row in drawing.rows if row.chosen] == ["set 0"]
    for row in drawing.rows:
        for x in (row.x, row.low, row.high):
            assert SPAN_LEFT - 0.5 <= x <= SPAN_RIGHT + 0.5
    assert 2 <= len(drawing.ticks) <= 12 and drawing.rows[-1].y < drawing.bottom < drawing.height


def test_people_who_were_to_be_linked_are_no_fault(tmp_path: Path) -> None:
    apart, linked = evaluation_of(auc=0.98), evaluation_of(auc=0.98, linked=True)
    assert evaluation_findings(apart).level == "mixed" and evaluation_findings(linked).level == "good"
    assert any("was to be the same new person" in note for note in evaluation_findings(linked).notes)


def test_parts_of_the_data_are_beside_their_baselines(tmp_path: Path) -> None:
    random = SetResult(title="random generated face", figures=groups(0.001, 0.5, 0.7),
                       slices={"men": Slice(small=False, faces=90, figures=groups(0.002, 0.5, 0.71))})
    evaluation = evaluation_of()
    page = rendered(evaluation.model_copy(update={"sets": evaluation.sets | {"random": random}}), tmp_path)
    assert "85.0 % (71.0 %)" in page.text and "In brackets: random generated face." in page.text


@pytest.mark.parametrize(("width", "most"), [(40, 2), (80, 3), (120, 6), (400, 99)])
def test_a_narrow_terminal_gets_the_sets_that_fit(width: int, most: int) -> None:
    evaluation = evaluation_of()
    for name in ("floor", "other", "inversion", "nearest", "blur", "pixelation"):
        evaluation.sets[name] = SetResult(title=name, figures=groups(0.1))
    for table in tables(evaluation, width):
        heads = [str(column.header) for column in table.columns if column.header not in ("", "worst tenth")]
        assert heads[0] == "dst" and len(heads) == min(most, len(evaluation.sets))
        assert most < 3 or {"floor", "random generated face"} <= set(heads)
