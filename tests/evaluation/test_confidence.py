from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.confidence import estimate, estimate_median

FLAGS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=60)


@given(FLAGS)
def test_the_interval_holds_the_value_and_stays_a_share(drawn: list[tuple[bool, int]]) -> None:
    values, people = np.array([v for v, _ in drawn], float), np.array([p for _, p in drawn])
    found = estimate(values, people, share=True)
    assert found.value == pytest.approx(values.mean())
    assert (found.count, found.people) == (len(values), len(set(people)))
    if found.people == 1:
        assert np.isnan(found.low) and np.isnan(found.high)
    else:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_no_success_among_few_people_is_not_certainty() -> None:
    few, many = (estimate(np.zeros(10 * n), np.repeat(np.arange(n), 10), share=True) for n in (5, 500))
    assert few.high == pytest.approx(0.5218, abs=1e-4)  # Clopper and Pearson, 0 of 5
    assert many.high == pytest.approx(0.00735, abs=1e-4)
    assert estimate(np.ones(5), np.arange(5), share=True).low == pytest.approx(1 - 0.5218, abs=1e-4)


def test_photographs_of_one_person_are_not_independent() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 25)
    alike = np.repeat(rng.random(40) < 0.5, 25)  # who is found, is found on every photograph
    apart = rng.random(1000) < 0.5
    wide, narrow = (estimate(x, people, share=True) for x in (alike, apart))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    # 40 independent people: a normal interval of +-1.96 * 0.5 / sqrt(40)
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.5 / 40**0.5, rel=0.15)


def test_nothing_to_count_is_said() -> None:
    found = estimate([], [])
    assert np.isnan(found.value) and found.count == 0


def test_one_found_again_is_never_surer_than_none() -> None:
    people = np.repeat(np.arange(60), 5)
    none, one = np.zeros(300), np.eye(300)[0]
    assert estimate(one, people, share=True).high >= estimate(none, people, share=True).high
    assert estimate(1 - one, people, share=True).low <= estimate(1 - none, people, share=True).low


def test_a_median_ignores_outliers_and_has_an_interval_over_people() -> None:
    rng = np.random.default_rng(0)
    values, people = np.append(rng.normal(5, 1, 299), 1e9), np.repeat(np.arange(60), 5)
    found = estimate_median(values, people)
    assert found.value == np.median(values) and found.low < found.value < found.high < 6
    assert (found.count, found.people) == (300, 60)
    values[:40] = np.nan
    assert estimate_median(values, people).count == 260


def test_a_median_of_one_person_has_no_interval_and_of_nothing_no_value() -> None:
    alone = estimate_median([1.0, 2.0, 9.0], [4, 4, 4])
    assert alone.value == 2 and np.isnan(alone.low) and np.isnan(alone.high)
    assert estimate_median([np.nan], [0]).count == 0
