from __future__ import annotations

import numpy as np
import pytest

from mien.evaluation.measurements import Measurements
from mien.evaluation.utility import INNER, balanced_accuracy, utility
from mien.models.features.attribute_network import ATTRIBUTES


def test_balanced_accuracy_does_not_reward_the_common_answer() -> None:
    truth = np.zeros((100, 2), bool)
    truth[:5, 0] = True
    truth[:50, 1] = True
    assert balanced_accuracy(np.zeros_like(truth), truth) == 0.5
    assert balanced_accuracy(truth, truth) == 1
    assert np.isnan(balanced_accuracy(truth[:5], truth[:5]))  # all have both: nothing can be told


def made_up(count: int, seed: int = 0) -> Measurements:
    rng = np.random.default_rng(seed)
    columns = {"attributes": rng.normal(size=(count, 40)), "found": np.ones(count), "found_second": np.ones(count)}
    return Measurements(np.arange(count), {name: x.astype(np.float32) for name, x in columns.items()}, [])


def test_the_same_faces_lose_nothing_and_others_do() -> None:
    one, other, people = made_up(60), made_up(60, 1), np.repeat(np.arange(20), 3)
    truth = one.columns["attributes"] > 0
    same = utility(one, one, people, truth)
    for name in ("attributes", "inner", "outer", "found", "found_second"):
        assert getattr(same, name).value == 1
    assert same.balanced == 1
    apart = utility(one, other, people, truth)
    assert apart.attributes.value == pytest.approx(0.5, abs=0.05)
    assert utility(one, one, people, ~truth).attributes.value == 0


def test_faces_that_are_not_found_are_counted_and_do_not_spoil_the_rest() -> None:
    one, new = made_up(10), made_up(10)
    new.columns["found"][:4] = 0
    one.columns["found_second"][:5] = 0  # nor in the originals
    found = utility(one, new, np.arange(10), one.columns["attributes"] > 0)
    assert found.found.value == 0.6 and found.found_second.count == 5


def test_inner_attributes_are_attributes() -> None:
    assert set(INNER) < set(ATTRIBUTES)
