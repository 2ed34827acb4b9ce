"""LFW's protocol: on made-up vectors, and on generated people by a real judge."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from helpers import fake_run
from helpers.fake_run import TINY, save
from mien.anonymizer.load import Loaded
from mien.errors import UsageError
from mien.evaluation.lfw.pairs import LfwPairs, read_lfw_pairs
from mien.evaluation.lfw.protocol import COMPARISONS, SIZE, LfwConfig, LfwResult, _result, run_lfw_protocol, verify
from mien.evaluation.lfw.table import lfw_tables, pairs_line
from mien.evaluation.measurements import Measurements

PEOPLE = np.repeat(np.arange(60), 3)
FIRST = np.arange(0, 180, 3)
MATED = np.concatenate([np.stack([FIRST, FIRST + 1], 1), np.stack([FIRST + 1, FIRST + 2], 1)])
NON_MATED = np.stack([np.arange(179), np.arange(1, 180)], 1)[2::3]


def vectors(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


ORIGINALS = 3 * vectors(0, 60, 16)[PEOPLE] + vectors(1, 180, 16)


def areas(new: np.ndarray) -> dict[str, float]:
    found = verify(ORIGINALS, new, MATED, NON_MATED, PEOPLE)
    assert list(found) == list(COMPARISONS)
    return {name: one.auc.value for name, one in found.items()}


def test_originals_are_recognized_in_every_comparison() -> None:
    assert all(area > 0.97 for area in areas(ORIGINALS).values())


def test_random_faces_are_recognized_in_none() -> None:
    found = areas(3 * vectors(2, 60, 16)[vectors(3, 180).argsort() % 60] + vectors(4, 180, 16))
    assert found.pop("originals") > 0.97
    assert all(0.35 < area < 0.65 for area in found.values())


def test_each_comparison_sees_its_own_leak() -> None:
    linked = areas(3 * vectors(5, 60, 16)[PEOPLE] + vectors(6, 180, 16))  # one new person for each
    assert linked["new"] > 0.97 and 0.35 < linked["other_photo"] < 0.65 and 0.35 < linked["own_original"] < 0.65
    traced = areas(ORIGINALS - 3 * vectors(0, 60, 16)[PEOPLE] + 0.1 * vectors(7, 180, 16))  # of this photograph alone
    assert traced["own_original"] > traced["other_photo"] + 0.1
    far = areas(3 * vectors(8, 180, 16) + 20)  # like nobody: strangers' originals are nearer
    assert far["published"] < 0.05 and 0.35 < far["other_photo"] < 0.65


def test_pairs_without_a_vector_are_left_out_of_all_comparisons() -> None:
    new = ORIGINALS.copy()
    new[0] = np.nan
    found = verify(ORIGINALS, new, MATED, np.append(NON_MATED, [[-1, 5]], axis=0), PEOPLE)
    assert found["originals"].mated == found["new"].mated == len(MATED) - 1
    assert found["originals"].non_mated == len(NON_MATED)
    with pytest.raises(UsageError, match="no pair of photographs"):
        verify(ORIGINALS, new * np.nan, MATED, NON_MATED, PEOPLE)
    with pytest.raises(UsageError, match="no pair of photographs"):
        verify(None, None, MATED, NON_MATED, PEOPLE)


def test_an_interval_considers_how_few_pairs_of_two_people_there_are() -> None:
    new = ORIGINALS + 3 * vectors(9, 180, 16)
    many, few = (verify(ORIGINALS, new, MATED, some, PEOPLE)["other_photo"].auc for some in (NON_MATED, NON_MATED[:6]))
    assert few.high - few.low > 1.5 * (many.high - many.low)


@pytest.mark.parametrize("unmeasured", [0, 1])
def test_only_photographs_without_a_face_are_noted(unmeasured: int, tmp_path: Path) -> None:
    """Of four photographs of each person there are six pairs, but four comparisons with the own original."""
    people = np.repeat(np.arange(20), 4)
    both = np.array([pair for pair in combinations(range(80), 2) if people[pair[0]] == people[pair[1]]])
    pairs = LfwPairs(tmp_path, [f"{i}.png" for i in range(80)], people, both, np.stack([np.arange(76),
                                                                                       np.arange(4, 80)], 1), True)
    seen = Measurements(np.arange(80 - unmeasured), {"vector_dlib": vectors(1, 80 - unmeasured, 16)}, [])
    result = _result(LfwConfig(tmp_path, tmp_path), pairs, seen, seen, {"dlib": "gate"}, [])
    found = result.judges["dlib"].comparisons
    assert found["own_original"].mated == 80 - unmeasured and found["new"].mated == 120 - 3 * unmeasured
    assert result.notes == unmeasured * ["Pairs with a photograph in which no face can be measured are left out: "
                                         "1 photograph could not be measured at all."]


def enlarged(source: Path, target: Path, negative: bool = False) -> Path:
    """The same photographs with twice the pixels; as negatives no recognizer knows them."""
    for path in sorted(source.rglob("*.png")):
        pixels = fake_run.pixels_of(path).repeat(2, axis=0).repeat(2, axis=1)
        save(target / path.relative_to(source), 255 - pixels if negative else pixels)
    return target


@pytest.mark.slow
def test_an_anonymized_folder_is_tested_at_256_px(source: Path, tmp_path: Path) -> None:
    """Whatever size it has; the second call measures nothing again."""
    dst = enlarged(source, tmp_path / "dst", negative=True)
    (dst / "Person_3" / "Person_3_0002.png").unlink()
    config = LfwConfig(source, tmp_path / "work", dst, judges=("dlib",))
    result = run_lfw_protocol(config)
    assert (result.set, result.size, result.photos, result.mated, result.non_mated) == ("dst", SIZE, 7, 3, 18)
    assert not result.listed and any("lacks 1 photograph" in note for note in result.notes)
    found = result.judges["dlib"].comparisons
    assert found["originals"].auc.value > 0.95 and found["originals"].eer < 0.1
    assert found["own_original"].auc.value < found["originals"].auc.value
    assert result.distances["fd_effnet_lite0"] > 0
    pictures = sorted((tmp_path / "work").rglob("Person_*.png"))
    assert len(pictures) == 14 and {max(fake_run.pixels_of(path).shape) for path in pictures} == {SIZE}
    before = [path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.npz")]
    assert run_lfw_protocol(config) == result
    assert [path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.npz")] == before
    result.write(tmp_path / "result.json")
    assert LfwResult.model_validate_json((tmp_path / "result.json").read_bytes()) == result
    assert [str(table.title) for table in lfw_tables(result)] == [
        "verification on LFW, judged by dlib (independent judge)", "distance of the new photographs to the originals"]
    assert pairs_line(result).startswith("3 mated and 18 non-mated pairs (drawn with seed 0) of 7 photographs")


@pytest.mark.slow
def test_a_recipe_anonymizes_and_goes_on(source: Path, tmp_path: Path, ready: Loaded) -> None:
    src = tmp_path / "src"
    for person in ("Person_0", "Person_1"):
        shutil.copytree(source / person, src / person)
    config = LfwConfig(src, tmp_path / "work", recipe=TINY, judges=("dlib", "faceplugin"))
    told: list[str] = []
    result = run_lfw_protocol(config, lambda what, done, total: told.append(what), lambda _: ready)
    assert (result.set, result.photos, result.mated, result.non_mated) == ("recipe tiny", 4, 2, 4)
    assert {name: one.role for name, one in result.judges.items()} == {"dlib": "gate", "faceplugin": "independent"}
    assert "anonymizing: tiny" in told and result.distances["fd_effnet_lite0"] > 0
    assert (tmp_path / "work").stat().st_mode & 0o77 == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*_000?.png")}
    assert len(made) == 8 and run_lfw_protocol(config, load=lambda _: ready) == result
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*_000?.png")} == made


def test_wrong_configs_are_refused_before_the_work_begins(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no judge 'nobody:sees'"):
        run_lfw_protocol(LfwConfig(source, tmp_path / "work", judges=("nobody:sees",)))
    with pytest.raises(UsageError, match="in one another"):
        run_lfw_protocol(LfwConfig(source, source / "work", judges=("dlib",)))
    with pytest.raises(UsageError, match="lies inside"):
        run_lfw_protocol(LfwConfig(source, tmp_path / "dst" / "work", tmp_path / "dst", judges=("dlib",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="none of the 8 photographs"):
        run_lfw_protocol(LfwConfig(source, tmp_path / "work", tmp_path / "empty", judges=("dlib",)))
    assert not (tmp_path / "work").exists() and len(read_lfw_pairs(source).names) == 8
