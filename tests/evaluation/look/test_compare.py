"""Metrics of the look: zero for the same faces, chance for random ones, and each trait noticed when it changes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mien.evaluation.evaluation import Figure
from mien.evaluation.look.compare import (
    CHILD,
    LOOK_METRICS,
    OLD,
    compare_looks,
    gaze_angle,
    other_photo_of,
    rotation_angle,
    vector_angle,
)
from mien.evaluation.look.eyes import CLOSED_EYE
from mien.evaluation.measurements import Measurements
from mien.models.features.attribute_network import ATTRIBUTES

COUNT = 400


def faces(seed: int = 0, count: int = COUNT) -> dict[str, npt.NDArray[np.float32]]:
    """Measurements of random faces."""
    rng = np.random.default_rng(seed)
    columns = {
        "look_man": rng.random(count), "look_age": rng.uniform(1, 90, count),
        "look_group": rng.dirichlet(np.full(5, 0.3), count), "expression": rng.dirichlet(np.full(7, 0.3), count),
        "gaze": rng.normal(0, 10, (count, 2)), "eyes_open": rng.uniform(0, 0.5, count),
        "mouth_open": rng.uniform(0, 0.5, count), "pose": rng.normal(0, 15, (count, 3)),
        "points": rng.normal(0, 1, (count, 5, 2)), "points68": rng.normal(0, 1, (count, 68, 2)),
        "skin": rng.uniform((30, 5, 5), (90, 25, 30), (count, 3)),
        "iris": rng.uniform((10, 0, 0), (60, 9, 20), (count, 3)),
        "light": rng.normal(0, 1, (count, 3)), "sharpness": rng.uniform(50, 500, count),
        "grain": rng.uniform(1, 9, count), "chroma": rng.choice([0.0, 20.0], count),
        "attributes": rng.normal(0, 2, (count, len(ATTRIBUTES))), "age": rng.uniform(1, 80, count),
        "man": rng.random(count),
    }
    return {name: np.asarray(values, np.float32) for name, values in columns.items()}


def compared(a: dict[str, npt.NDArray[np.float32]], b: dict[str, npt.NDArray[np.float32]]) -> dict[str, float]:
    rows = np.arange(len(a["age"]))
    found = compare_looks(Measurements(rows, a, []), Measurements(rows, b, []), rows)
    return {name: one.value for name, one in found.items()}


def test_a_face_looks_like_itself() -> None:
    found = compared(faces(), faces())
    assert found.keys() == LOOK_METRICS.keys()
    for name, value in found.items():
        best = {"%": 1.0, "": 0.0, "years": 0.0, "°": 0.0}[LOOK_METRICS[name].unit]
        if name.endswith("_ratio"):
            best = 1.0
        if name.startswith("points"):
            best = 0.0
        assert value == pytest.approx(best, abs=1e-3), name


def test_a_random_face_is_at_chance() -> None:
    found = compared(faces(0), faces(1))
    assert found["sex_kept"] == pytest.approx(0.5, abs=0.08)
    assert found["group_kept"] == pytest.approx(0.2, abs=0.08)
    assert found["expression_kept"] == pytest.approx(1 / 7, abs=0.08)
    assert found["age_change"] == pytest.approx(89 / 3, abs=3)  # the mean distance of two uniform ages
    assert found["light_difference"] == pytest.approx(90, abs=6)
    assert found["skin_color"] > 10 and found["pose_difference"] > 15 and found["gaze_difference"] > 10


@pytest.mark.parametrize(("metric", "column", "change"), [
    ("sex_kept", "look_man", lambda x: 1 - x), ("age_change", "look_age", lambda x: x + 12),
    ("expression_kept", "expression", lambda x: np.roll(x, 1, axis=1)), ("gaze_difference", "gaze", lambda x: x + 9),
    ("group_kept", "look_group", lambda x: np.roll(x, 1, axis=1)), ("mouth_kept", "mouth_open", lambda x: 0.5 - x),
    ("pose_difference", "pose", lambda x: x + np.array((20, 0, 0))),
    ("skin_color", "skin", lambda x: x + np.array((10, 0, 0))),
    ("iris_color", "iris", lambda x: x + np.array((0, -8, -25))),
    ("light_difference", "light", lambda x: x[:, ::-1]),
    ("sharpness_ratio", "sharpness", lambda x: x / 3), ("grain_ratio", "grain", lambda x: x / 3),
    ("monochrome_chroma", "chroma", lambda x: x + 8), ("glasses_kept", "attributes", lambda x: -x),
    ("facial_hair_kept", "attributes", lambda x: -np.abs(x) * np.where(np.array(ATTRIBUTES) == "No_Beard", -1, 1)),
    ("makeup_kept", "attributes", lambda x: -x), ("hairline_kept", "attributes", lambda x: -x),
    ("points68_difference", "points68", lambda x: x * 1.3)])
def test_a_change_is_seen_by_its_own_metric_alone(metric: str, column: str, change: object) -> None:
    before = faces()
    after = before | {column: np.asarray(change(before[column]), np.float32)}  # type: ignore[operator]
    same, found = compared(before, before), compared(before, after)
    moved = {name for name in found if found[name] != pytest.approx(same[name], abs=1e-6)}
    assert metric in moved
    related = {"age_change": {"child_kept", "old_kept"}, "group_kept": {"group_kept_not_white"},
               "glasses_kept": {"facial_hair_kept", "makeup_kept", "hairline_kept"}}
    related["makeup_kept"] = related["hairline_kept"] = related["glasses_kept"] | {"glasses_kept"}
    related["facial_hair_kept"] = related["makeup_kept"]
    assert moved - {metric} <= related.get(metric, set()) | {metric}


def test_children_and_old_people_count_by_themselves() -> None:
    before = faces()
    after = before | {"look_age": np.full(COUNT, 35, np.float32)}
    found = compare_looks(Measurements(np.arange(COUNT), before, []), Measurements(np.arange(COUNT), after, []),
                          np.arange(COUNT))
    assert found["child_kept"].value == 0 and found["child_kept"].count == (before["look_age"] < CHILD).sum()
    assert found["old_kept"].value == 0 and found["old_kept"].count == (before["look_age"] > OLD).sum()


KEPT = [name for name in LOOK_METRICS if name.endswith("_kept") or "_kept_" in name]
COLUMNS = {"sex_kept": "look_man", "child_kept": "look_age", "old_kept": "look_age", "group_kept": "look_group",
           "group_kept_not_white": "look_group", "expression_kept": "expression", "eyes_kept": "eyes_open",
           "closed_eyes_kept": "eyes_open", "mouth_kept": "mouth_open", "gender_kept": "man"}
DIFFERENCES = {"age_change": "look_age", "gaze_difference": "gaze", "pose_difference": "pose",
               "points5_difference": "points", "points68_difference": "points68", "skin_color": "skin",
               "iris_color": "iris", "light_difference": "light", "sharpness_ratio": "sharpness",
               "grain_ratio": "grain", "age_difference": "age"}


def test_every_trait_is_kept_by_one_rule() -> None:
    """Those that are not here are of attributes, which are always told."""
    assert set(KEPT) - set(COLUMNS) == {"glasses_kept", "facial_hair_kept", "makeup_kept", "hairline_kept"}
    assert set(LOOK_METRICS) == set(KEPT) | set(DIFFERENCES) | {"monochrome_chroma"}


@pytest.mark.parametrize("metric", COLUMNS)
def test_a_trait_that_cannot_be_told_of_the_new_face_is_not_kept(metric: str) -> None:
    """A face that is not found in the new photograph is none whose eyes stayed open, nor one that is left out."""
    before, after, rows = faces(), faces(), np.arange(COUNT)
    whole = compare_looks(Measurements(rows, before, []), Measurements(rows, before, []), rows)[metric]
    after[COLUMNS[metric]][:200] = np.nan
    found = compare_looks(Measurements(rows, before, []), Measurements(rows, after, []), rows)[metric]
    later = compare_looks(Measurements(rows, after, []), Measurements(rows, before, []), rows)[metric]
    assert whole.value == 1 and found.count == whole.count > later.count  # the last are those told of the original
    assert found.value == pytest.approx(later.count / whole.count) and later.value == 1


@pytest.mark.parametrize("metric", DIFFERENCES)
def test_a_difference_is_over_the_faces_where_both_are_told(metric: str) -> None:
    before, after, rows = faces(), faces(), np.arange(COUNT)
    after[DIFFERENCES[metric]][:50] = np.nan
    found = compare_looks(Measurements(rows, before, []), Measurements(rows, after, []), rows)[metric]
    assert found.count == COUNT - 50
    assert found.value == pytest.approx(float(LOOK_METRICS[metric].better == "one"), abs=1e-3)


def test_closed_eyes_are_those_without_a_gaze() -> None:
    before, after, rows = faces(), faces(), np.arange(COUNT)
    before["eyes_open"][:] = CLOSED_EYE / 2
    after["eyes_open"][:] = CLOSED_EYE * 2
    found = compare_looks(Measurements(rows, before, []), Measurements(rows, after, []), rows)
    assert found["closed_eyes_kept"].value == 0 and found["closed_eyes_kept"].count == COUNT


def test_a_ratio_is_bad_below_1_as_well_as_above() -> None:
    before, after, rows = faces(), faces(), np.arange(COUNT)
    after["grain"][:20] *= 4
    after["grain"][20:40] /= 4
    found = compare_looks(Measurements(rows, before, []), Measurements(rows, after, []), rows)
    figure = Figure.of(found["grain_ratio"], LOOK_METRICS["grain_ratio"].better)
    assert figure.value == pytest.approx(1) and figure.worst_tenth == pytest.approx(4, rel=1e-3)


@given(st.lists(st.floats(-80, 80), min_size=3, max_size=3), st.lists(st.floats(-80, 80), min_size=3, max_size=3))
def test_the_angle_of_a_rotation_is_the_same_both_ways(a: list[float], b: list[float]) -> None:
    first, second = np.array([a]), np.array([b])
    assert rotation_angle(first, second) == pytest.approx(rotation_angle(second, first), abs=1e-6)
    assert 0 <= rotation_angle(first, second)[0] <= 180
    turned = Rotation.from_euler("YXZ", first, degrees=True) * Rotation.from_euler("Y", 10, degrees=True)
    assert rotation_angle(first, turned.as_euler("YXZ", degrees=True)) == pytest.approx(10, abs=1e-4)


def test_angles_of_looks_and_vectors() -> None:
    assert gaze_angle(np.array([[0, 0], [10, 0], [0, np.nan]]), np.array([[0, 20], [-10, 0], [0, 0]])) == pytest.approx(
        [20, 20, np.nan], nan_ok=True)
    assert vector_angle(np.array([[1, 0, 0], [0, 0, 0]]), np.array([[0, 2, 0], [1, 0, 0]])) == pytest.approx(
        [90, np.nan], nan_ok=True)


def test_another_photo_of_a_person_goes_round() -> None:
    assert other_photo_of(np.array([3, 1, 3, -1, 3, 0, -2])).tolist() == [2, -1, 4, -1, 0, -1, -1]
