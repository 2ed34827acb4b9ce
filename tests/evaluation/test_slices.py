"""No part of the data is published by which figures of a withheld one could be computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.confidence import LEAST_FACES, LEAST_PEOPLE, are_few
from mien.evaluation.slices import APART, telling_parts


def parts_of(told: list[int], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The rows of every part, of each face's part: a number from 0, or -1 of none."""
    found = {name: np.flatnonzero(np.array(told) == number) for number, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if len(rows)}


@given(names=st.sampled_from(APART), told=st.lists(st.integers(-1, 4), min_size=1, max_size=60),
       people=st.integers(1, 60))
def test_what_is_left_of_all_without_the_published_parts_is_enough_or_nothing(names: tuple[str, ...], told: list[int],
                                                                              people: int) -> None:
    rows, whose = parts_of(told, names), np.arange(len(told)) % people
    telling = telling_parts(rows, whose)
    shown = [rows[name] for name in rows if name not in telling and not are_few(whose[rows[name]])]
    for one in shown:
        rest = np.delete(whose, one)
        assert not len(rest) or not are_few(rest)
    if shown:
        rest = np.delete(whose, np.concatenate(shown))
        assert not len(rest) or not are_few(rest)


@pytest.mark.parametrize(("sizes", "telling"), [
    ((30, 30), set()), ((30, LEAST_FACES - 1), {"men"}), ((30, 0), set()), ((30, 20), set())])
def test_two_sexes(sizes: tuple[int, int], telling: set[str]) -> None:
    told = [0] * sizes[0] + [1] * sizes[1]
    assert telling_parts(parts_of(told, APART[0]), np.arange(len(told))) == telling


def test_of_three_bands_the_smaller_one_is_withheld_with_the_one_that_is_few() -> None:
    told = [0] * 4 + [1] * 100 + [2] * 20
    assert telling_parts(parts_of(told, APART[1]), np.arange(len(told))) == {APART[1][2]}
    assert telling_parts(parts_of(told, APART[1]), np.arange(len(told)) % (LEAST_PEOPLE - 1)) == set()  # all are few


def test_a_part_that_nearly_all_have_is_withheld() -> None:
    rows = {"with glasses": np.arange(95)}
    assert telling_parts(rows, np.arange(100)) == {"with glasses"} and telling_parts(rows, np.arange(95)) == set()
