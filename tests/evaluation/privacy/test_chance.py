"""Chance, measured on strangers' new faces, and rates as multiples of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.random_vectors import vectors
from mien.evaluation.confidence import Estimate, estimate
from mien.evaluation.privacy.chance import (
    LEAST_SEARCHED,
    ChanceRate,
    StrangerSearch,
    lift,
    share_of_strangers_below,
)
from mien.evaluation.privacy.distance_histogram import DistanceHistogram
from mien.evaluation.privacy.reidentification import OriginalsGallery, Reidentification, reidentification, thresholds

PEOPLE = st.lists(st.integers(0, 5), min_size=2, max_size=20)


def drawn_search(people: np.ndarray, grain: int,
                 data: st.DataObject) -> tuple[np.ndarray, torch.Tensor, StrangerSearch]:
    """Which originals may be claimed, coarse distances of new faces to originals, which have ties, and their search."""
    claimed = np.array(data.draw(st.lists(st.booleans(), min_size=len(people), max_size=len(people))))
    table = torch.cdist(vectors(len(people)), vectors(len(people), 1)).round(decimals=grain)
    return claimed, table, StrangerSearch(torch.from_numpy(people), torch.from_numpy(claimed))


def searched(new: torch.Tensor, originals: torch.Tensor, people: np.ndarray) -> Reidentification:
    limits, _ = thresholds(originals, people)
    return reidentification(new, OriginalsGallery(originals, people), np.arange(len(people)), limits)


@given(PEOPLE, st.integers(0, 3), st.data())
def test_chance_is_the_mean_over_all_strangers_whose_original_a_face_may_be_said_to_be_of(
        drawn: list[int], grain: int, data: st.DataObject) -> None:
    """Counted face by face and claim by claim."""
    people = np.array(drawn)
    claimed, table, search = drawn_search(people, grain, data)
    search.add(table, torch.from_numpy(people))
    own, others = [], []
    for original in np.flatnonzero(claimed & (len(set(drawn)) > 1)):
        kin = np.flatnonzero((people == people[original]) & (np.arange(len(people)) != original))
        rates = []
        for row, mine in zip(table.numpy(), people, strict=True):
            if mine != people[original]:
                competing = row[(people != mine) & (people != people[original])].min(initial=np.inf)
                rates.append((row[original] <= competing, row[kin].min(initial=np.inf) <= competing))
        own.append(np.mean(rates, axis=0)[0])
        others += [np.mean(rates, axis=0)[1]] if len(kin) else []
    for found, wanted in zip(search.rates(), (own, others), strict=True):
        assert found.value == pytest.approx(np.mean(wanted)) if wanted else np.isnan(found.value) and not found.trials


@given(PEOPLE, st.integers(0, 3), st.data())
def test_a_rate_without_one_person_is_the_mean_over_all_who_may_be_left_out(
        drawn: list[int], grain: int, data: st.DataObject) -> None:
    """Person by person, each as often as a claimed original shows that person."""
    people = np.array(drawn)
    claimed, table, search = drawn_search(people, grain, data)
    found = search.found_without_one(table, torch.from_numpy(people), table.diagonal())
    for row, mine, own, rate in zip(table.numpy(), people, table.diagonal().tolist(), found.tolist(), strict=True):
        left_out = people[claimed & (people != mine)]
        if len(left_out):
            wins = [own <= row[(people != mine) & (people != one)].min(initial=np.inf) for one in left_out]
            assert rate == pytest.approx(np.mean(wins))


@pytest.mark.parametrize(("count", "each"), [(2, 5), (3, 3), (4, 5), (25, 1)])
def test_faces_that_say_nothing_are_found_as_often_as_chance_says_however_few_there_are(count: int, each: int) -> None:
    """The galleries are equally large, also among two people, where the stranger who is left out is all of it."""
    people, random = torch.arange(count).repeat_interleave(each), torch.Generator().manual_seed(0)
    rates = []
    for _ in range(1500):
        table = torch.cdist(*(torch.randn(len(people), 4, generator=random) for _ in range(2)))
        search = StrangerSearch(people, torch.ones(len(people), dtype=torch.bool))
        search.add(table, people)
        rates.append((float(search.found_without_one(table, people, table.diagonal()).mean()),
                      search.rates()[0].value))
    rate, chance = np.mean(rates, axis=0)
    assert rate == pytest.approx(chance, rel=0.08)


@pytest.mark.parametrize("count", [2, 3, 4, LEAST_SEARCHED - 1, LEAST_SEARCHED])
def test_a_perfect_attacker_has_a_large_lift_or_none(count: int) -> None:
    people = np.repeat(np.arange(count), 5)
    originals = vectors(len(people), 1)
    found = searched(originals, originals, people)
    assert found.ranked[1].value == 1
    lifts = found.lift_ranked(), found.lift_ranked_others(), found.lift_verified(1e-3)
    if count < LEAST_SEARCHED:
        assert not any(one.count for one in lifts)
    else:
        assert lifts[0].value > 0.7 * (len(people) - 10)  # of so many strangers' originals one is the nearest


@pytest.mark.parametrize("seed", range(3))
def test_random_faces_are_found_as_often_as_by_chance_and_the_originals_far_more_often(seed: int) -> None:
    people = np.repeat(np.arange(60), 4)
    originals = 2 * vectors(60, 10 + seed)[people] + vectors(240, 20 + seed)
    random = searched(2 * vectors(240, 30 + seed) + vectors(240, 40 + seed), originals, people)
    for one in (random.lift_ranked(), random.lift_ranked_others(), random.lift_verified(1e-2)):
        assert one.low <= 1 <= one.high
    same = searched(originals, originals, people)
    assert same.lift_ranked().value > 50 and same.lift_ranked_others().value > 20
    assert same.lift_verified(1e-3).value == pytest.approx(1000, rel=0.3)


def test_people_with_many_photographs_are_found_by_more_strangers() -> None:
    """Of faces that say nothing, those of a person with half of the gallery find it half of the time; lift is 1."""
    people = np.array([0] * 100 + list(np.repeat(np.arange(1, 51), 2)))
    found = searched(vectors(200, 1), vectors(200, 2), people)
    assert found.ranked_others[1].value > 0.2 and 0.8 < found.lift_ranked_others().value < 1.25


def test_a_part_is_compared_with_strangers_of_the_part() -> None:
    """Faces that only say which half somebody is in: among all they are found more often than by chance, within the
    half they are not."""
    people, half = np.arange(400), np.arange(400) % 2
    originals, new = (8 * vectors(2, 1)[half] + vectors(400, seed) for seed in (2, 3))
    gallery, limits = OriginalsGallery(originals, people), thresholds(originals, people)[0]
    rows = np.flatnonzero(half)
    whole = reidentification(new, gallery, people, limits)
    part = reidentification(new[rows], gallery, rows, limits)
    assert part.chance.ranked.value == pytest.approx(2 * whole.chance.ranked.value, rel=0.02)
    assert part.chance.verified[1e-2].value == pytest.approx(2 * whole.chance.verified[1e-2].value, rel=0.25)


def test_strangers_below_a_threshold_are_counted() -> None:
    histogram = DistanceHistogram(2.0)
    assert share_of_strangers_below(histogram, 1.0).trials == 0
    histogram.add(torch.full((50,), 1.5))
    assert share_of_strangers_below(histogram, 1.0) == ChanceRate(0.0, 50)
    assert share_of_strangers_below(histogram, np.nan).trials == 0
    assert share_of_strangers_below(histogram, 1.9) == ChanceRate(1.0, 50)


def rate_of(found: int, count: int = 40) -> Estimate:
    return estimate(np.arange(count) < found, np.arange(count), share=True)


def test_a_lift_keeps_count_and_interval() -> None:
    rate = rate_of(10)
    found = lift(rate, ChanceRate(0.05, 1000))
    assert (found.value, found.count, found.people, found.at_least) == (5, 40, 40, False)
    assert found.high == rate.high / 0.05 and found.low == rate.low / 0.05
    none = lift(rate_of(0), ChanceRate(0.05, 1000))
    assert none.value == 0 and none.high > 1
    assert lift(rate, ChanceRate(float("nan"), 0)).count == lift(Estimate.missing(), ChanceRate(0.1, 9)).count == 0
    assert lift(rate_of(10, LEAST_SEARCHED - 1), ChanceRate(0.05, 1000)).count == 0


def test_a_lift_over_what_never_happened_is_a_bound_without_an_interval() -> None:
    found = lift(rate_of(10), ChanceRate(0.0, 1000))
    assert found.value == 250 and found.at_least and np.isnan(found.low) and np.isnan(found.high)
    assert lift(rate_of(0), ChanceRate(0.0, 1000)).count == 0


def test_ranks_and_thresholds_have_bounds_by_one_rule() -> None:
    """The last new face is nothing but its own original; the others' are like nothing at all."""
    people = np.arange(30)
    originals = vectors(30, 1)
    new = torch.cat([originals[:29], torch.full((1, 16), 9.0)])
    originals = torch.cat([originals[:29], new[29:] + 0.01])
    places = np.arange(30)
    found = reidentification(new, OriginalsGallery(originals, people), places, {1e-3: 0.1})
    bounds = found.lift_verified(1e-3), lift(rate_of(10), found.chance.verified[1e-3])
    assert all(one.at_least and one.value == pytest.approx(rate * 30 * 29) and np.isnan(one.high)
               for one, rate in zip(bounds, (1.0, 0.25), strict=True))
    # Searched for the last one's original alone, the other faces never have it as their nearest.
    search = StrangerSearch(torch.from_numpy(people), torch.arange(30) == 29)
    search.add(torch.cdist(new, originals), torch.from_numpy(people))
    bound = lift(rate_of(10), search.rates()[0])
    assert search.rates()[0] == ChanceRate(0.0, 29) and bound.at_least and bound.value == pytest.approx(0.25 * 29)
