from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.confidence import Estimate
from mien.evaluation.privacy.verification import area_under_curve, equal_error, placements

DISTANCES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), min_size=1, max_size=20).map(np.array)


def area(mated: np.ndarray, non_mated: np.ndarray) -> Estimate:
    """Of pairs that have no person in common."""
    strangers = 1000 + np.arange(2 * len(non_mated)).reshape(-1, 2)
    return area_under_curve(mated, non_mated, np.arange(len(mated)), strangers)


@given(DISTANCES, DISTANCES)
def test_the_area_is_the_share_of_comparisons_that_are_right(mated: np.ndarray, non_mated: np.ndarray) -> None:
    wanted = ((mated[:, None] < non_mated).mean() + (mated[:, None] <= non_mated).mean()) / 2
    assert area(mated, non_mated).value == pytest.approx(wanted)
    assert all(one.mean() == pytest.approx(wanted) for one in placements(mated, non_mated))


@given(DISTANCES, DISTANCES)
def test_at_the_equal_error_both_rates_are_about_it(mated: np.ndarray, non_mated: np.ndarray) -> None:
    found = equal_error(mated, non_mated)
    errors = [((non_mated <= limit).mean(), (mated > limit).mean()) for limit in [-1, *mated, *non_mated]]
    assert any(found == pytest.approx(np.mean(one)) for one in errors)
    apart = min(abs(a - b) for a, b in errors)
    assert any(found == pytest.approx(np.mean(one)) and abs(one[0] - one[1]) == pytest.approx(apart) for one in errors)


def test_the_ends_of_the_scale() -> None:
    near, far = np.linspace(0, 1, 50), np.linspace(2, 3, 70)
    perfect = area(near, far)
    assert perfect.value == 1 == perfect.high and perfect.low == pytest.approx(0.025 ** (1 / 50))
    assert equal_error(near, far) == 0
    assert area(far, near).value == 0 and equal_error(far, near) == 1
    assert equal_error(near, near) == pytest.approx(0.5, abs=0.02)
    assert np.isnan(equal_error(near, far[:0])) and area(near, far[:0]).count == 0
    alone = area_under_curve(near, far, np.zeros(50, np.int64), np.ones((70, 2), np.int64))
    assert np.isnan(alone.low) and np.isnan(alone.high)


def pairs(random: np.random.Generator, people: int, strangers: int, own: float
          ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distances in which some people are nearer to everyone, `own` times as much as pairs differ otherwise."""
    likeness, who = own * random.normal(size=people), np.repeat(np.arange(people), 3)
    two = np.array([random.permutation(people)[:2] for _ in range(strangers)])
    return (likeness[who] + random.normal(size=len(who)) - 1.5, likeness[two].sum(axis=1)
            + random.normal(size=strangers), who, two)


@pytest.mark.parametrize(("people", "strangers", "own"), [(60, 30, 0.7), (30, 300, 1.0), (60, 60, 0.0)])
def test_the_interval_holds_the_area_nineteen_times_of_twenty(people: int, strangers: int, own: float) -> None:
    """An interval of the mated pairs alone held it 70 to 88 times of 100."""
    random = np.random.default_rng(0)
    found = [area_under_curve(*pairs(random, people, strangers, own)) for _ in range(150)]
    true = np.mean([one.value for one in found])
    assert 0.89 <= np.mean([one.low <= true <= one.high for one in found]) <= 0.995
