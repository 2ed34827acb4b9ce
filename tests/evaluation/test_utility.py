from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.measurements import Measurements
from mien.evaluation.utility import INNER, MODEL, balanced_accuracy, pose, utility
from mien.models.features.attribute_network import ATTRIBUTES


def seen_from(turn: float, nod: float, scale: float = 1.0, offset: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The generic face's points, its head turned about the upright axis and then nodding, in degrees."""
    about_y = cv2.Rodrigues(np.array([0, -np.radians(turn), 0]))[0]
    about_x = cv2.Rodrigues(np.array([np.radians(nod), 0, 0]))[0]
    moved = MODEL @ (about_y @ about_x).T
    return moved[:, :2] * scale + offset


@given(st.floats(-40, 40), st.floats(-25, 25), st.floats(0.01, 50), st.floats(-100, 100))
def test_pose_is_found_again(turn: float, nod: float, scale: float, offset: float) -> None:
    found = pose(seen_from(turn, nod, scale, (offset, -offset)))
    assert found == pytest.approx((turn, nod), abs=4)


def test_unknown_points_have_no_pose() -> None:
    assert all(np.isnan(pose(np.full((5, 2), np.nan))))


def test_balanced_accuracy_does_not_reward_the_common_answer() -> None:
    truth = np.zeros((100, 2), bool)
    truth[:5, 0] = True
    truth[:50, 1] = True
    assert balanced_accuracy(np.zeros_like(truth), truth) == 0.5
    assert balanced_accuracy(truth, truth) == 1
    assert np.isnan(balanced_accuracy(truth[:5], truth[:5]))  # all have both: nothing can be told


def made_up(count: int, seed: int = 0) -> Measurements:
    rng = np.random.default_rng(seed)
    columns = {"attributes": rng.normal(size=(count, 40)), "age": rng.uniform(20, 60, count),
               "man": rng.uniform(size=count), "points": MODEL[None, :, :2] / 64 + rng.normal(0, 0.01, (count, 5, 2)),
               "points68": rng.normal(0, 1, (count, 68, 2)),
               "found": np.ones(count), "found_second": np.ones(count)}
    return Measurements(np.arange(count), {name: x.astype(np.float32) for name, x in columns.items()}, [])


def test_the_same_faces_lose_nothing_and_others_do() -> None:
    one, other, people = made_up(60), made_up(60, 1), np.repeat(np.arange(20), 3)
    truth = one.columns["attributes"] > 0
    same = utility(one, one, people, truth)
    for name in ("attributes", "inner", "outer", "gender", "found", "found_second"):
        assert getattr(same, name).value == 1
    assert same.balanced == 1
    for name in ("age", "points", "points68", "turn", "nod"):
        assert getattr(same, name).value == 0
    apart = utility(one, other, people, truth)
    assert apart.attributes.value == pytest.approx(0.5, abs=0.05) and apart.age.value > 5 and apart.points.value > 0.01
    assert utility(one, one, people, ~truth).attributes.value == 0


def test_faces_that_are_not_found_are_counted_and_do_not_spoil_the_rest() -> None:
    one, new = made_up(10), made_up(10)
    new.columns["found"][:4] = 0
    new.columns["points"][:4] = np.nan
    new.columns["age"][0] = np.nan
    one.columns["found_second"][:5] = 0  # nor in the originals
    found = utility(one, new, np.arange(10), one.columns["attributes"] > 0)
    assert found.found.value == 0.6 and found.found_second.count == 5
    assert found.points.count == 6 and found.points.value == 0 and found.age.count == 9


def test_inner_attributes_are_attributes() -> None:
    assert set(INNER) < set(ATTRIBUTES)
