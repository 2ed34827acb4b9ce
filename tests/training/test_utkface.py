"""How UTKFace's names are read, and that no face is in two parts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from utkface import PARTS, Labels, part_of


def test_a_name_tells_age_sex_and_group() -> None:
    assert Labels.of("26_1_3_20170117154501234.jpg.chip.jpg") == Labels(26, True, 3)
    assert Labels.of("100_0_0_20170112213500903.jpg") == Labels(100, False, 0)


@pytest.mark.parametrize("name", ["", "26_1_20170117.jpg", "26_2_3_20170117.jpg", "26_1_5_20170117.jpg", "a_1_3_2.jpg",
                                  "26_1_3_20170117.png", "1000_1_3_20170117.jpg", "26_1_3_.jpg"])
def test_another_name_tells_nothing(name: str) -> None:
    assert Labels.of(name) is None


@given(st.text())
def test_any_name_is_read_or_refused(name: str) -> None:
    told = Labels.of(name)
    assert told is None or (0 <= told.age < 1000 and 0 <= told.group < 5)
    assert part_of(name) in PARTS


def test_the_parts_are_of_their_sizes_and_stay_as_they_are() -> None:
    names = [f"{age}_{sex}_0_{number}.jpg" for age in range(50) for sex in (0, 1) for number in range(20)]
    counts = Counter(map(part_of, names))
    assert counts["judge"] / len(names) == pytest.approx(0.4, abs=0.04)
    assert counts["loss"] / len(names) == pytest.approx(0.4, abs=0.04)
    # Trained weights depend on it.
    assert [part_of(f"{age}_0_0_1.jpg") for age in (1, 2, 3, 4)] == ["loss", "loss", "judge", "judge"]
