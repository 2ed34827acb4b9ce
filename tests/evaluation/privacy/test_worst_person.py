from __future__ import annotations

import numpy as np
import pytest

from mien.evaluation.privacy.worst_person import worst_person


def test_the_worst_person_is_the_one_found_most() -> None:
    people = np.repeat([5, 7, -3, 9], [4, 3, 2, 6])
    found = np.array([1, 1, 1, 0] + [1, 0, 0] + [1, 1] + [0] * 6, bool)
    worst = worst_person(found, people)
    assert (worst.value, worst.count, worst.people) == (0.75, 4, 3)  # who has two faces does not count
    assert np.isnan(worst.low) and np.isnan(worst.high) and worst.most == 0.75


def test_the_worst_tenth_is_of_people_and_not_of_faces() -> None:
    people = np.repeat(np.arange(20), 5)
    found = np.zeros(100, bool)
    found[:5] = True  # one person always
    found[5] = True  # another one once
    worst = worst_person(found, people)
    assert worst.value == 1 and worst.most == pytest.approx(0.6)


def test_of_equally_bad_people_the_one_with_most_faces_counts() -> None:
    people = np.repeat([0, 1], [3, 8])
    assert worst_person(np.zeros(11, bool), people).count == 8
    assert worst_person(np.ones(11, bool), people).count == 8


def test_nobody_has_enough_faces() -> None:
    assert worst_person(np.ones(4, bool), np.array([0, 0, 1, 1])).count == 0
    assert worst_person(np.zeros(0, bool), np.zeros(0, np.int64)).count == 0
