"""A probe that has seen examples: what it spots, what it cannot, and how sure its figure is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation.quality import spot_the_fake as protocol
from mien.evaluation.quality.spot_the_fake import spot_the_fake

Floats = npt.NDArray[np.float32]


def faces(count: int, seed: int, dims: int = 40) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, dims)).astype(np.float32) * 3 + 5


def one_each(count: int) -> npt.NDArray[np.int64]:
    return np.full(count, -1)


def test_identical_sets_are_exactly_even() -> None:
    same = faces(80, 0)
    found = spot_the_fake(same, same.copy(), np.repeat(np.arange(20), 4))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    assert (found.count, found.people) == (80, 20)


@pytest.mark.parametrize("seed", range(5))
def test_two_draws_of_one_distribution_are_nearly_even(seed: int) -> None:
    found = spot_the_fake(faces(300, 10 + seed), faces(300, 20 + seed), one_each(300), seed)
    assert 0.41 < found.value < 0.59
    assert found.high - found.low < 0.2


def test_a_faint_shift_of_a_few_features_is_found() -> None:
    before = faces(200, 1)
    after = before + np.random.default_rng(2).normal(size=before.shape).astype(np.float32) * 0.3
    even = spot_the_fake(before, after, one_each(200))
    after[:, :4] += 2.0  # two thirds of the spread between people
    found = spot_the_fake(before, after, one_each(200))
    assert even.value < 0.6 < 0.7 < found.low < found.value < found.high <= 1


def test_what_is_plain_is_always_found_and_never_certain() -> None:
    before = faces(60, 3)
    found = spot_the_fake(before, before + 50, np.repeat(np.arange(30), 2))
    assert found.value == 1 == found.high
    assert found.low == pytest.approx(0.025 ** (1 / 30))  # Clopper and Pearson, 30 people of 30


def test_the_figure_is_repeatable_and_does_not_know_the_units() -> None:
    before, after = faces(50, 4), faces(50, 5) + 1
    people = np.arange(50) % 25
    found = spot_the_fake(before, after, people, 7)
    assert repr(spot_the_fake(before, after, people, 7)) == repr(found)
    scale = np.geomspace(1e-4, 1e4, before.shape[1])
    other = spot_the_fake(before * scale - 3, after * scale - 3, people, 7)
    assert other.value == pytest.approx(found.value, abs=2e-3)
    assert spot_the_fake(before, after, people, 8).value != found.value  # other halves


def test_nothing_is_learned_of_the_people_who_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives away each person's changed faces is of use only to who has seen that person."""
    people = np.repeat(np.arange(40), 5)
    mark = np.random.default_rng(6).normal(size=(40, 40))[people] * 4
    before = faces(200, 7)
    found = spot_the_fake(before, before + mark, people)
    assert found.value < 0.7
    alone = spot_the_fake(before, before + mark, one_each(200))  # not known to be of one person: seen in training
    assert alone.value > found.value + 0.1
    trained: list[set[float]] = []

    class Spy(protocol._Probe):
        def __init__(self, untouched: npt.NDArray[np.float64], changed: npt.NDArray[np.float64]) -> None:
            super().__init__(untouched, changed)
            trained.append(set(untouched[:, 0]))

    monkeypatch.setattr(protocol, "_Probe", Spy)
    spot_the_fake(before, before + mark, people)
    whose = [{int(people[np.flatnonzero(before[:, 0] == value)[0]]) for value in half} for half in trained]
    assert len(whose) == 2 and not whose[0] & whose[1] and whose[0] | whose[1] == set(range(40))


def test_the_interval_is_that_of_the_area() -> None:
    """Placements scatter as the area does when the faces are drawn again."""
    def scores(seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        face = rng.normal(size=150)
        return face + rng.normal(size=150), face + rng.normal(size=150) + 1

    areas = [protocol._area_values(*scores(seed)).mean() for seed in range(400)]
    told = [protocol._area_values(*scores(seed)).std() / 150**0.5 for seed in range(20)]
    assert np.std(areas) == pytest.approx(np.mean(told), rel=0.12)
    untouched, changed = scores(0)
    plain = (changed[:, None] > untouched).mean()
    assert areas[0] == pytest.approx(plain)


def test_a_constant_or_missing_feature_does_no_harm() -> None:
    before, after = faces(60, 8), faces(60, 8) + 2
    before[:, 0] = after[:, 0] = 7
    before[3, 1] = np.nan
    found = spot_the_fake(before, after, np.arange(60))
    assert found.count == 59 and found.value > 0.9


def test_too_few_people_and_what_does_not_fit() -> None:
    few = spot_the_fake(faces(30, 0), faces(30, 1), np.arange(30) % 3)
    assert few.count == 0 and np.isnan(few.value)
    with pytest.raises(ValueError, match="do not fit"):
        spot_the_fake(faces(30, 0), faces(29, 1), np.arange(30))
    with pytest.raises(ValueError, match="do not fit"):
        spot_the_fake(faces(30, 0), faces(30, 1), np.arange(29))


def test_a_large_set_is_cut_to_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST", 50)
    assert spot_the_fake(faces(80, 0), faces(80, 1), one_each(80)).count == 50
