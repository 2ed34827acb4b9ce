"""Chance, measured on strangers' new faces, and rates as multiples of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mien.evaluation.confidence import Estimate, estimate
from mien.evaluation.privacy.chance import StrangerSearch, lift, share_of_strangers_below
from mien.evaluation.privacy.distance_histogram import DistanceHistogram
from mien.evaluation.privacy.reidentification import OriginalsGallery, Reidentification, reidentification, thresholds

PEOPLE = st.lists(st.integers(0, 5), min_size=2, max_size=20)


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


def searched(new: torch.Tensor, originals: torch.Tensor, people: np.ndarray) -> Reidentification:
    limits, _ = thresholds(originals, people)
    return reidentification(new, OriginalsGallery(originals, people), np.arange(len(people)), limits)


@given(PEOPLE, st.integers(0, 3), st.data())
def test_chance_is_the_mean_over_all_strangers_whose_original_a_face_may_be_said_to_be_of(
        drawn: list[int], grain: int, data: st.DataObject) -> None:
    """Counted face by face and claim by claim; coarse distances have ties."""
    people = np.array(drawn)
    claimed = np.array(data.draw(st.lists(st.booleans(), min_size=len(people), max_size=len(people))))
    table = torch.cdist(vectors(len(people)), vectors(len(people), 1)).round(decimals=grain)
    search = StrangerSearch(torch.from_numpy(people), torch.from_numpy(claimed))
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
        assert found == pytest.approx(np.mean(wanted)) if wanted else np.isnan(found)


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
    assert part.chance.ranked == pytest.approx(2 * whole.chance.ranked, rel=0.02)
    assert part.chance.verified[1e-2] == pytest.approx(2 * whole.chance.verified[1e-2], rel=0.25)


def test_what_no_stranger_reaches_is_rarer_than_one_pair() -> None:
    histogram = DistanceHistogram(2.0)
    assert np.isnan(share_of_strangers_below(histogram, 1.0))
    histogram.add(torch.full((50,), 1.5))
    assert share_of_strangers_below(histogram, 1.0) == 1 / 50 and np.isnan(share_of_strangers_below(histogram, np.nan))
    assert share_of_strangers_below(histogram, 1.9) == 1


def test_a_lift_keeps_count_and_interval() -> None:
    rate = estimate([1, 0, 0, 0], [0, 1, 2, 3], share=True)
    found = lift(rate, 0.05)
    assert (found.value, found.count, found.people) == (5, 4, 4) and found.high == rate.high / 0.05
    assert lift(rate, float("nan")).count == 0 and lift(Estimate.missing(), 0.1).count == 0
