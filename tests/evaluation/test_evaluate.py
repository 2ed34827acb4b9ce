"""Whole evaluations, on generated people in LFW's layout, by the real judges."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import mien
from helpers import fake_run
from helpers.fake_run import save
from mien.anonymizer.load import Loaded
from mien.errors import UsageError
from mien.evaluation.baselines import make_generated_baseline, make_simple_baseline
from mien.evaluation.evaluate import EvaluationConfig, evaluate, measure_originals_and_new
from mien.evaluation.evaluation import AttackResult, Evaluation
from mien.evaluation.evaluators import load_detector, load_evaluators
from mien.evaluation.measure_face import faces_by_size, measure_face
from mien.evaluation.measure_sets import measure_sets
from mien.evaluation.pairs import find_pairs, sample
from mien.evaluation.privacy.reidentification import thresholds
from mien.evaluation.terminal_table import tables
from mien.models.features.inception import Inception
from mien.recipe import Recipe

PEOPLE, PHOTOS = 4, 2  # see `source`


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of as few faces as `source` has are published."""
    monkeypatch.setattr("mien.evaluation.confidence.LEAST_FACES", 1)
    monkeypatch.setattr("mien.evaluation.confidence.LEAST_PEOPLE", 1)


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


@pytest.mark.slow
@pytest.mark.usefixtures("few_are_enough")
def test_the_sanity_of_the_scale_s_ends(source: Path, tmp_path: Path) -> None:
    """Originals verify as themselves, a black patch is no face; the result is read again as it was written."""
    dst = copied(source, tmp_path / "same")
    result = evaluate(EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", baselines=("blackout",)))
    assert (result.faces, result.people) == (PEOPLE * PHOTOS, PEOPLE)
    for name in ("originals", "same"):
        privacy = result.sets[name].figures["privacy/dlib"]
        assert privacy["verified_own_original_far1e-3"].value == 1
        assert privacy["rank1_own_original_all_originals"].value == 1
        assert privacy["rank1_other_photo_all_originals"].value == 1
        assert privacy["auc_new_to_new"].value > 0.95
        utility = result.sets[name].figures["utility"]
        assert utility["attributes_accuracy"].value == 1
        look = result.sets[name].figures["look"]
        assert look["sex_kept"].value == look["group_kept"].value == 1 and look["age_change"].value == 0
    black = result.sets["blackout"].figures
    assert black["privacy/dlib"]["verified_own_original_far1e-3"].value == 0
    assert black["utility"]["found_yunet"].value == 0 and black["utility"]["found_centerface"].value == 0
    assert black["utility"]["attributes_accuracy"].value < 0.95
    assert {name: one.role for name, one in result.judges.items()} == dict.fromkeys(
        ("faceplugin", "dlib", "sface"), "independent")  # mien did not make the set
    assert sum(part.faces for part in result.sets["same"].slices.values() if part.small) > 0
    result.write(tmp_path / "same.json")
    assert Evaluation.read(tmp_path / "same.json") == result
    assert [str(table.title) for table in tables(result)] == [
        *(f"privacy, judged by {name} (independent judge)" for name in ("faceplugin", "dlib", "sface")), "look",
        "utility", "quality"]


@pytest.mark.usefixtures("few_are_enough")
def test_fid_where_its_weights_are_there(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured without them is measured anew."""
    dst = tmp_path / "dst"
    for path in sorted(source.rglob("*.png")):
        save(dst / path.relative_to(source), 255 - fake_run.pixels_of(path))
    config = EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", baselines=(), judges=("dlib",))
    without = evaluate(config)
    assert not any("fid_inception" in one.figures.get("quality", {}) for one in without.sets.values())
    torch.manual_seed(0)
    network = Inception()
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)  # or all pictures would be alike to so many layers
    save_file(network.state_dict(), tmp_path / "inception")
    for name, answer in {"read_record": {"size": 1}, "published_path": tmp_path / "inception",
                         "published_sha256": "1"}.items():
        monkeypatch.setattr(f"mien.evaluation.evaluators.{name}", lambda _, answer=answer: answer)
    found = evaluate(config)
    assert found.sets["originals"].figures["quality"]["fid_inception"].value == pytest.approx(0, abs=1e-3)
    assert found.sets["dst"].figures["quality"]["fid_inception"].value > 1
    one, other = ({kind: {name: figure for name, figure in group.items() if name != "fid_inception"}
                   for kind, group in result.sets["dst"].figures.items()} for result in (without, found))
    assert one == other


def test_what_cannot_be_compared_is_said(source: Path, tmp_path: Path) -> None:
    dst = copied(source, tmp_path / "dst")
    (dst / "Person_0" / "Person_0_0001.png").unlink()
    save(dst / "Person_1" / "Person_1_0001.png", np.zeros((40, 60, 3), np.uint8))
    (dst / "Person_2" / "Person_2_0001.png").write_bytes(b"no picture")
    result = evaluate(EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", baselines=(), judges=("dlib",)))
    assert result.missing == 1 and result.faces == PEOPLE * PHOTOS - 3
    assert any("60x40 for 256x256" in reason for reason in result.skipped) and len(result.skipped) == 2


def test_few_faces_give_no_figure_of_a_single_one(source: Path, tmp_path: Path) -> None:
    """Neither as a whole nor in parts, of whatever set; the file says which are withheld."""
    dst = copied(source, tmp_path / "dst")
    result = evaluate(EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", baselines=("floor",),
                                       judges=("dlib",)))
    assert result.judges["dlib"].thresholds == {} and "other" in result.sets
    for one in result.sets.values():
        assert one.slices
        for part in (one, *one.slices.values()):
            assert part.figures.get("privacy/dlib", {}) == part.figures.get("quality", {}) == {}
            assert all(figure.worst_tenth is None for group in part.figures.values() for figure in group.values())
            assert "points5_difference" in part.withheld["look"] and "sex_kept" in part.figures["look"]
            assert one.title == "another photo" or "distance_own_original" in part.withheld["privacy/dlib"]
    assert any("are withheld" in note for note in result.notes)


def test_faces_that_a_baseline_lacks_stay_in_the_evaluated_set(source: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that refuses a photograph has figures of the others, and the evaluated set of all."""
    dst, made = copied(source, tmp_path / "dst"), copied(source, tmp_path / "made")
    names = [path.relative_to(made) for path in sorted(made.rglob("*.png"))]
    (made / names[0]).unlink()
    sets = {"floor": [made / name for name in names], "blur": [tmp_path / "none" / name for name in names]}
    monkeypatch.setattr("mien.evaluation.evaluate._make_baselines", lambda *_: sets)
    asked = EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", judges=("dlib",))
    result = evaluate(asked)
    counts = {name: one.figures["utility"]["attributes_accuracy"].count
              for name, one in result.sets.items() if "utility" in one.figures}
    assert counts == {"originals": 8, "dst": 8, "floor": 7} and result.faces == 8
    assert {name: one.lacks for name, one in result.sets.items()} == {
        "originals": 0, "dst": 0, "floor": 1, "blur": 8, "other": 0}
    assert "The set 'noise floor' lacks 1 of the 8 faces: its figures are of the others." in result.notes
    assert "The set 'Gaussian blur' lacks 8 of the 8 faces: its figures are of the others." in result.notes
    alone = evaluate(replace(asked, work=tmp_path / "alone", baselines=(), reuse=asked.work))
    monkeypatch.undo()
    assert alone.sets["dst"] == result.sets["dst"]
    assert {str(column.header) for table in tables(result) for column in table.columns} >= {"noise floor, 7 faces"}


def test_the_roles_of_a_judge_are_those_in_each_set(source: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of another tool beside one by a recipe, whose loss has SFace and whose gate is dlib's."""
    dst, made = copied(source, tmp_path / "dst"), copied(source, tmp_path / "made")
    files = [made / path.relative_to(source) for path in sorted(source.rglob("*.png"))]
    monkeypatch.setattr("mien.evaluation.evaluate._make_baselines",
                        lambda *_: {"recipe default": files, "inversion": files, "nearest": files})
    result = evaluate(EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", judges=("dlib", "sface"),
                                       recipes=(Recipe(),)))
    independent = {"dlib": "independent", "sface": "independent"}
    assert {name: one.role for name, one in result.judges.items()} == independent
    assert {name: one.roles for name, one in result.sets.items() if one.roles} == {
        "dst": independent, "recipe default": {"dlib": "gate", "sface": "loss"},
        "inversion": {"dlib": "independent", "sface": "loss"}}
    result.write(tmp_path / "dst.json")
    assert Evaluation.read(tmp_path / "dst.json") == result


def test_without_people_nothing_is_said_about_privacy(source: Path, tmp_path: Path) -> None:
    one = source / "Person_0"
    result = evaluate(EvaluationConfig(one, one, tmp_path / "work", layout="folder", baselines=()))
    assert set(result.sets["Person_0"].figures) == {"look", "utility", "quality"}
    assert any("Nobody is named" in note for note in result.notes)


@pytest.mark.usefixtures("few_are_enough")
def test_the_library_answers_the_same(source: Path, tmp_path: Path) -> None:
    asked = {"layout": "lfw", "judges": ("dlib",), "sample": 2000}
    result = mien.evaluate(source, source, work=tmp_path / "work", bounds=(), **asked)
    assert result == evaluate(EvaluationConfig(source, source, tmp_path / "work", baselines=(), **asked))
    assert result.sets[result.set].figures["privacy/dlib"]["distance_own_original"].worst_tenth == 0


def test_a_folder_called_as_a_baseline_is_no_baseline(source: Path, tmp_path: Path) -> None:
    dst = copied(source, tmp_path / "blur")
    asked = EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", baselines=("blur",), judges=("dlib",))
    result = evaluate(asked)
    assert result.set == "blur (asked)" and set(result.sets) == {"originals", "other", "blur (asked)", "blur"}
    assert result.sets["blur (asked)"].figures != result.sets["blur"].figures


@pytest.mark.usefixtures("few_are_enough")
def test_who_is_not_named_is_no_stranger(source: Path, tmp_path: Path) -> None:
    """A photograph without a name may show anybody: beside three more of the same people privacy stays as it was."""
    src = copied(source, tmp_path / "src")
    for i in range(3):
        save(src / "More" / f"{i}.png", fake_run.pixels_of(src / f"Person_{i}" / f"Person_{i}_0001.png"))
    asked = {"layout": "lfw", "baselines": (), "judges": ("dlib",)}
    with_names, all_ = (evaluate(EvaluationConfig(one, one, tmp_path / f"{one.name}.work", **asked))
                        for one in (source, src))
    assert (all_.faces, all_.unnamed, all_.people, with_names.unnamed) == (PEOPLE * PHOTOS + 3, 3, PEOPLE, 0)
    assert all_.judges == with_names.judges
    for name in ("originals", all_.set):
        assert all_.sets[name].figures["privacy/dlib"] == with_names.sets["originals"].figures["privacy/dlib"]
        assert all_.sets[name].figures["utility"]["attributes_accuracy"].count == PEOPLE * PHOTOS + 3
    assert any("Nobody is named on 3 photographs" in note for note in all_.notes)
    assert not any("named" in note for note in with_names.notes)


def test_one_person_alone_has_no_threshold(source: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    copied(source / "Person_0", one / "Person_0")
    result = evaluate(EvaluationConfig(one, one, tmp_path / "work", layout="lfw", baselines=()))
    assert "privacy/dlib" not in result.sets["one"].figures | result.sets["one"].withheld
    assert any("Only one person" in note for note in result.notes)


def test_wrong_configs_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="none of the 8 photographs"):
        evaluate(EvaluationConfig(source, tmp_path / "empty", tmp_path / "work", layout="lfw"))
    with pytest.raises(UsageError, match="nowhere is no folder"):
        evaluate(EvaluationConfig(source, tmp_path / "nowhere", tmp_path / "work", layout="lfw"))
    with pytest.raises(UsageError, match="no baseline 'dreams'"):
        evaluate(EvaluationConfig(source, source, tmp_path / "work", baselines=("dreams",)))
    with pytest.raises(UsageError, match="different recipes are called 'mine'"):
        mien.evaluate(source, source, work=tmp_path / "work", recipes=[Recipe(name="mine"),
                                                                       Recipe(name="mine", seed=1)])
    with pytest.raises(UsageError, match="no judge 'nobody:sees'"):
        evaluate(EvaluationConfig(source, source, tmp_path / "work", judges=("nobody:sees",)))
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no evaluation"):
        Evaluation.read(tmp_path / "result.json")


def test_a_sample_has_whole_people(source: Path) -> None:
    pairs = find_pairs(source, source, "lfw")
    assert sample(pairs, None, 0) is pairs and sample(pairs, 8, 0) is pairs
    five = sample(pairs, 5, 0)
    assert len(five.names) == 4 and sorted(np.bincount(five.people)[np.unique(five.people)].tolist()) == [2, 2]
    assert sample(pairs, 5, 0).names == five.names


def test_people_are_numbered_and_who_is_not_known_stays_apart(source: Path, tmp_path: Path) -> None:
    src = copied(source, tmp_path / "src")
    for i in range(2):
        shutil.copy(src / "Person_0" / "Person_0_0001.png", src / "Person_1" / f"b{i}.png")
    pairs = find_pairs(src, src, "lfw")
    assert [pairs.person_names[i] for i in np.flatnonzero(pairs.people < 0)] == ["", ""]
    assert len(set(pairs.people.tolist())) == PEOPLE + 2 and pairs.known
    some = sample(pairs, 4, 1)
    assert [name.split("/")[0] for name, who in zip(some.names, some.person_names, strict=True) if who] == [
        who for who in some.person_names if who]
    assert not pairs.at(np.flatnonzero(pairs.people < 0)).known


def test_a_sample_keeps_to_people_with_many_photographs(source: Path, tmp_path: Path) -> None:
    few = copied(source, tmp_path / "few")
    (few / "Person_3" / "Person_3_0002.png").unlink()
    pairs = find_pairs(few, few, "lfw")
    assert not any("Person_3" in name for name in sample(pairs, None, 0, least=2).names)
    (one,) = {name for seed in range(8) for name in sample(pairs, 1, seed, least=2).names if "Person_3" in name} or {""}
    assert not one  # though nobody with two photographs fits into one


def test_two_files_that_may_be_the_same_photograph_are_refused(source: Path, tmp_path: Path) -> None:
    dst = copied(source, tmp_path / "dst")
    first = dst / "Person_0" / "Person_0_0001.png"
    first.rename(first.with_suffix(".jpg"))
    assert find_pairs(source, dst, "lfw").missing == []
    shutil.copy(first.with_suffix(".jpg"), first.with_suffix(".webp"))
    with pytest.raises(UsageError, match="several photographs"):
        find_pairs(source, dst, "lfw")


def test_a_set_is_made_once_and_goes_on(source: Path, tmp_path: Path) -> None:
    names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*.png"))[:3]]
    made = make_simple_baseline("blur", source, names[:2], tmp_path, load_detector())
    before = [path.stat().st_mtime_ns for path in made]
    told: list[tuple[int, int]] = []
    again = make_simple_baseline("blur", source, names, tmp_path, load_detector(), lambda *done: told.append(done))
    assert again[:2] == made and [path.stat().st_mtime_ns for path in made] == before and again[2].exists()
    assert told == [(2, 3), (3, 3)]


def test_a_set_follows_originals_that_change(source: Path, tmp_path: Path) -> None:
    folder = copied(source / "Person_0", tmp_path / "src")
    names = sorted(path.name for path in folder.iterdir())
    made = make_simple_baseline("blur", folder, names, tmp_path / "sets", load_detector())
    before = [path.read_bytes() for path in made]
    shutil.copy(source / "Person_1" / "Person_1_0001.png", folder / names[0])
    assert make_simple_baseline("blur", folder, names, tmp_path / "sets", load_detector()) == made
    assert made[0].read_bytes() != before[0] and made[1].read_bytes() == before[1]


def test_generated_baselines_put_other_faces_in_place(source: Path, tmp_path: Path, ready: Loaded) -> None:
    names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*_0001.png"))[:2]]
    originals = [source / name for name in names]
    recipe = Recipe.load("fast")
    made = {kind: make_generated_baseline(kind, source, names, tmp_path / "sets", ready, recipe)
            for kind in ("inversion", "nearest", "random")}
    seen = measure_sets(originals, {"originals": originals, **made}, ("dlib",), tmp_path / "seen")
    assert all((one.columns["found"] == 1).all() for one in seen.values())
    vectors = {kind: one.columns["vector_dlib"] for kind, one in seen.items()}
    apart = {kind: np.linalg.norm(vectors["originals"] - vectors[kind], axis=1).mean() for kind in made}
    assert apart["inversion"] < min(apart["nearest"], apart["random"])
    # The nearest one is so in whatever order photographs come, and beside whatever others.
    (first, second), (other, one) = (make_generated_baseline("nearest", source, order, tmp_path / place, ready, recipe)
                                     for order, place in ((names, "sets"), (names[::-1], "turned")))
    assert (first.read_bytes(), second.read_bytes()) == (one.read_bytes(), other.read_bytes())


def test_a_set_goes_by_one_name_whoever_makes_it(source: Path, tmp_path: Path, ready: Loaded) -> None:
    """Also of a recipe that leaves its precision to the machine."""
    src = copied(source / "Person_0", tmp_path / "src")
    recipe, names = Recipe.load("fast"), sorted(path.name for path in src.iterdir())
    assert recipe.precision == "auto"
    (tmp_path / "work").mkdir(mode=0o700)
    made = make_generated_baseline("random", src, names, tmp_path / "work" / "sets", ready, recipe.settled())
    before = [path.stat().st_mtime_ns for path in made]
    asked = EvaluationConfig(src, copied(src, tmp_path / "dst"), tmp_path / "work", baselines=("random",),
                             recipe=recipe)
    assert evaluate(asked, load=lambda _: ready).sets["random"].figures
    assert [path.stat().st_mtime_ns for path in made] == before
    assert [path.parent for path in made] == 2 * [path for path in (tmp_path / "work" / "sets").iterdir()
                                                  if path.is_dir()]


def test_another_evaluation_of_the_same_files_measures_nothing(source: Path, tmp_path: Path, ready: Loaded,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    src = copied(source / "Person_0", tmp_path / "src")
    asked = EvaluationConfig(src, copied(src, tmp_path / "dst"), tmp_path / "work", baselines=("blackout",))
    first = evaluate(asked, load=lambda _: ready)
    again = replace(asked, work=tmp_path / "other", reuse=asked.work)
    again.work.mkdir(mode=0o700)
    (again.work / "sets").symlink_to(asked.work / "sets")

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("mien.evaluation.measure_sets._measure_photo", refuse)
    assert evaluate(again, load=lambda _: ready).sets == first.sets


def test_what_is_known_of_a_set_survives_a_torn_line(source: Path, tmp_path: Path) -> None:
    names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*_0001.png"))]
    make_simple_baseline("blackout", source, names[:2], tmp_path, load_detector())
    (note,) = tmp_path.glob("*.made.jsonl")
    with note.open("a") as file:
        file.write('{"torn": [1')
    told: list[tuple[int, int]] = []
    make_simple_baseline("blackout", source, names[:3], tmp_path, load_detector(), lambda *done: told.append(done))
    assert told[0] == (2, 3)
    make_simple_baseline("blackout", source, names[:3], tmp_path, load_detector(), lambda *done: told.append(done))
    assert told[-1] == (3, 3)


def test_an_attack_on_too_few_is_refused_before_anything_is_made(source: Path, tmp_path: Path) -> None:
    three = tmp_path / "three"
    for folder in sorted(source.iterdir())[:3]:
        shutil.copytree(folder, three / folder.name)
    dst = copied(three, tmp_path / "dst")
    asked = EvaluationConfig(three, dst, tmp_path / "work", layout="lfw", attacks=("layers",))
    with pytest.raises(UsageError, match="at least 4 people"):
        evaluate(asked)
    with pytest.raises(UsageError, match="nobody is named"):
        evaluate(replace(asked, layout="folder"))
    assert not (tmp_path / "work").exists()


def test_people_who_are_cut_from_an_attack_do_not_count_for_it(source: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.evaluation.attacks.run_attack.MOST", 7)
    asked = EvaluationConfig(source, copied(source, tmp_path / "dst"), tmp_path / "work", layout="lfw",
                             attacks=("layers",))
    with pytest.raises(UsageError, match="at least 4 people, and 3"):
        evaluate(asked)
    assert not (tmp_path / "work").exists()


def test_an_attack_that_fails_after_all_leaves_a_note(source: Path, tmp_path: Path) -> None:
    """Only a search for faces tells that there is none of the fourth person."""
    src = copied(source, tmp_path / "src")
    for path in (src / "Person_3").iterdir():
        save(path, np.full((64, 64, 3), 90, np.uint8))
    result = evaluate(EvaluationConfig(src, src, tmp_path / "work", layout="lfw", baselines=(), judges=("dlib",),
                                       attacks=("layers", "parrot")))
    assert result.faces == 2 * (PEOPLE - 1) and result.attacks == {}
    why = "an attack needs at least 4 people, and 3 can be compared"
    assert {f"The attack {name} was not made: {why}." for name in ("layers", "parrot")} < set(result.notes)


def test_an_attack_that_fails_takes_no_other_along(source: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    done = AttackResult(title="layers", people=20, faces=40, known=20, budget="", seed=0, seconds=1, attackers={})

    def run(names: Sequence[str], **given: object) -> dict[str, AttackResult]:
        if "parrot" in names:
            raise UsageError("the parrot has flown", "")
        return dict.fromkeys(names, done)

    monkeypatch.setattr("mien.evaluation.evaluate.run_attacks", run)
    monkeypatch.setattr("mien.evaluation.evaluate.attacked_photos", lambda pairs, seed: pairs)
    result = evaluate(EvaluationConfig(source, source, tmp_path / "work", layout="lfw", baselines=(), judges=("dlib",),
                                       attacks=("layers", "parrot")))
    assert set(result.attacks) == {"layers"} and "The attack parrot was not made: the parrot has flown." in result.notes


def test_a_threshold_of_few_pairs_is_told_as_what_it_is(source: Path, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the largest that no two originals of different people reach, and does not let nobody pass."""
    monkeypatch.setattr("mien.evaluation.confidence.LEAST_FACES", 1)
    config = EvaluationConfig(source, source, tmp_path / "work", layout="lfw", baselines=(), judges=("dlib",))
    result = evaluate(config)
    assert any(note.startswith("24 pairs of different people") and note.endswith(
        "here it is just below the smallest distance of two people, and is not published.") for note in result.notes)
    assert result.sets[result.set].figures["privacy/dlib"]["verified_own_original_far1e-3"].value == 1
    assert result.judges["dlib"].thresholds == {}  # whoever has two originals could compare them with it
    pairs, before, _ = measure_originals_and_new(config)
    people, vectors = pairs.people[before.rows], before.columns["vector_dlib"]
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    smallest = apart[people[:, None] != people].min()
    assert 0.999 * smallest < thresholds(torch.from_numpy(vectors), people)[0][1e-3] <= smallest


def test_sizes_that_differ_are_reported_before_baselines_are_made(source: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    for path in sorted(source.rglob("*.png"))[:2]:
        save(dst / path.relative_to(source), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UsageError, match=r"no face of .* can be compared"):
        evaluate(EvaluationConfig(source, dst, tmp_path / "work", layout="lfw", baselines=("blackout",)))
    assert not (tmp_path / "work" / "sets").exists()


def test_a_photo_is_not_compared_with_its_neighbor_s_result(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        save(tmp_path / "src" / name, np.full((40, 40, 3), 90, np.uint8))
    for name in ("a.jpg", "b.png"):
        save(tmp_path / "dst" / name, np.full((40, 40, 3), 90, np.uint8))
    pairs = find_pairs(tmp_path / "src", tmp_path / "dst")
    assert (pairs.names, [path.name for path in pairs.new], pairs.missing) == (
        ["a.jpg", "b.jpg"], ["a.jpg", "b.png"], ["a.png"])


def test_other_faces_are_no_surroundings(source: Path) -> None:
    """A run changes all faces of a group, a baseline one."""
    first, second = (np.asarray(fake_run.pixels_of(path)) for path in sorted(source.rglob("*_0001.png"))[:2])
    original = np.hstack([first, second])
    evaluators = load_evaluators(("dlib",))
    faces = faces_by_size(evaluators.detector, original)
    assert len(faces) == 2
    changed = original.copy()
    for face in faces:
        x, y, width, height = (int(v) for v in face.box)
        changed[y + height // 4 : y + 3 * height // 4, x + width // 4 : x + 3 * width // 4] = 0
    assert measure_face(evaluators, changed, faces[0], original, faces[1:])["outside"] == 0
    assert measure_face(evaluators, changed, faces[0], original)["outside"] > 0
    changed[:4] = 0
    assert measure_face(evaluators, changed, faces[0], original, faces[1:])["outside"] > 0
