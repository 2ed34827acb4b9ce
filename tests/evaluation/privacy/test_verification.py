from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.privacy.verification import area_under_curve, equal_error

DISTANCES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), min_size=1, max_size=20).map(np.array)


@given(DISTANCES, DISTANCES)
def test_the_area_is_the_share_of_comparisons_that_are_right(mated: np.ndarray, non_mated: np.ndarray) -> None:
    wanted = ((mated[:, None] < non_mated).mean() + (mated[:, None] <= non_mated).mean()) / 2
    assert area_under_curve(mated, non_mated, np.arange(len(mated))).value == pytest.approx(wanted)


@given(DISTANCES, DISTANCES)
def test_at_the_equal_error_both_rates_are_about_it(mated: np.ndarray, non_mated: np.ndarray) -> None:
    found = equal_error(mated, non_mated)
    errors = [((non_mated <= limit).mean(), (mated > limit).mean()) for limit in [-1, *mated, *non_mated]]
    assert any(found == pytest.approx(np.mean(one)) for one in errors)
    apart = min(abs(a - b) for a, b in errors)
    assert any(found == pytest.approx(np.mean(one)) and abs(one[0] - one[1]) == pytest.approx(apart) for one in errors)


def test_the_ends_of_the_scale() -> None:
    near, far = np.linspace(0, 1, 50), np.linspace(2, 3, 70)
    assert area_under_curve(near, far, np.arange(50)).value == 1 and equal_error(near, far) == 0
    assert area_under_curve(far, near, np.arange(70)).value == 0 and equal_error(far, near) == 1
    assert equal_error(near, near) == pytest.approx(0.5, abs=0.02)
    assert np.isnan(equal_error(near, far[:0])) and area_under_curve(near, far[:0], np.arange(50)).count == 0
