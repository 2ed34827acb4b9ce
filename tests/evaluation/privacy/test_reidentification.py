from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.random_vectors import vectors
from mien.evaluation.privacy.distance_histogram import BINS, DistanceHistogram, impostor_distances
from mien.evaluation.privacy.reidentification import (
    OriginalsGallery,
    linkability,
    pairs_of_one_person,
    reidentification,
    thresholds,
)
from mien.evaluation.privacy.verification import equal_error

PEOPLE = st.lists(st.integers(0, 6), min_size=2, max_size=40)


def table(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return np.asarray(torch.cdist(a.double(), b.double()))


@given(st.lists(st.floats(0, 2), min_size=1, max_size=200), st.floats(0, 1), st.floats(0, 2))
def test_counted_shares_are_exact_to_a_bin(distances: list[float], share: float, at: float) -> None:
    histogram = DistanceHistogram(2.0)
    histogram.add(torch.tensor(distances))
    x, width = np.float32(distances), 2.0 / BINS
    assert (x < at - 2 * width).mean() - 1e-9 <= histogram.share_below(at) <= (x < at + 2 * width).mean() + 1e-9
    limit = histogram.threshold(share)
    assert (x < limit - width).mean() <= share + 1e-9
    assert limit >= 2.0 - width or (x < limit + 2 * width).mean() > share - 1e-9


@given(PEOPLE)
def test_strangers_are_the_pairs_of_different_people(drawn: list[int]) -> None:
    people = torch.tensor(drawn)
    a, b = vectors(len(people)), vectors(len(people), 1)
    histogram = impostor_distances(a, b, people, people)
    apart = people[:, None] != people
    assert histogram.total == apart.sum()
    if histogram.total:
        assert histogram.share_below(histogram.top) >= 0.5
        exact = table(a, b)[apart.numpy()]
        middle = np.median(exact)
        assert histogram.share_below(middle) == pytest.approx((exact < middle).mean(), abs=0.02 + 1 / len(exact))


@given(PEOPLE)
def test_pairs_of_one_person_are_each_met_once(drawn: list[int]) -> None:
    people = np.array(drawn)
    first, second = pairs_of_one_person(people)
    wanted = {(i, j) for i in range(len(people)) for j in range(i) if people[i] == people[j]}
    assert {(max(i, j), min(i, j)) for i, j in zip(first, second, strict=True)} == wanted
    assert len(first) == len(wanted)


@given(PEOPLE)
def test_ranks_are_those_of_a_sorted_gallery(drawn: list[int]) -> None:
    people = np.array(drawn)
    originals, new = vectors(len(people)), vectors(len(people), 1)
    found = reidentification(new, OriginalsGallery(originals, people), np.arange(len(people)), {0.01: 5.0})
    between = table(new, originals)
    for k in (1, 5):
        own, others = [], []
        for i, row in enumerate(between):
            strange = row[people != people[i]]
            own.append((strange < row[i]).sum() < k)
            kin = [row[j] for j in range(len(people)) if people[j] == people[i] and j != i]
            if kin:
                others.append((strange < min(kin)).sum() < k)
        assert found.ranked[k].value == pytest.approx(np.mean(own))
        assert found.ranked_others[k].count == len(others)
        if others:
            assert found.ranked_others[k].value == pytest.approx(np.mean(others))
    assert found.verified[0.01].value == pytest.approx((np.diag(between) < 5.0).mean())


@given(PEOPLE, st.data())
def test_a_part_of_the_data_is_searched_in_the_whole_gallery(drawn: list[int], data: st.DataObject) -> None:
    people = np.array(drawn)
    places = np.array(data.draw(st.lists(st.integers(0, len(people) - 1), min_size=1, max_size=6, unique=True)))
    originals, new = vectors(len(people)), vectors(len(people), 1)
    part = reidentification(new[places], OriginalsGallery(originals, people), places, {0.01: 5.0})
    ranks = [(row[people != people[i]] < row[i]).sum()
             for i, row in zip(places, table(new[places], originals), strict=True)]
    assert part.ranked[1].value == pytest.approx(np.mean([rank == 0 for rank in ranks]))
    assert part.distance.count == len(places)


def test_originals_are_always_found_and_random_faces_as_often_as_strangers() -> None:
    people = np.repeat(np.arange(300), 3)
    centers = 4 * vectors(300, 2)
    originals = centers[people] + vectors(900, 3)
    limits, impostors = thresholds(originals, people)
    assert impostors.total == 900 * 897
    for rate, limit in limits.items():
        assert impostors.share_below(limit) == pytest.approx(rate, rel=0.05)
    gallery, places = OriginalsGallery(originals, people), np.arange(900)
    same = reidentification(originals, gallery, places, limits)
    assert same.verified[1e-3].value == 1 and same.ranked[1].value == 1 and same.ranked_others[1].value > 0.95
    random = 4 * vectors(900, 4) + vectors(900, 5)
    strange = reidentification(random, gallery, places, limits)
    for rate in limits:
        assert strange.verified[rate].low <= rate <= strange.verified[rate].high
    assert strange.eer == pytest.approx(0.5, abs=0.05) and same.eer < 0.01


def test_linking_tells_per_person_faces_from_independent_ones() -> None:
    people = np.repeat(np.arange(100), 4)
    limits, _ = thresholds(4 * vectors(100)[people] + vectors(400, 1), people)
    apart = linkability(4 * vectors(400, 2), people, limits[1e-3])
    assert apart.auc.low < 0.5 < apart.auc.high and apart.linked[1e-2].value < 0.05
    linked = linkability(4 * vectors(100, 3)[people] + vectors(400, 4), people, limits[1e-3])
    assert linked.auc.value > 0.99 and linked.linked[1e-3].value > 0.9
    assert linked.collisions == pytest.approx(1e-3, abs=1e-3)
    collapsed = linkability(vectors(1)[np.zeros(400, int)] + 0.1 * vectors(400, 5), people, limits[1e-3])
    assert collapsed.collisions > 0.99  # everybody gets the same new face


def test_likeness_of_a_kind_is_not_held_against_a_person_s_faces() -> None:
    """Faces that say no more than whether somebody is a man: linked, but not among men and not among women."""
    people = np.repeat(np.arange(100), 4)
    kinds = (people % 2)[:, None]
    faces = vectors(400, 1) + 6 * vectors(2, 2)[kinds[:, 0]]
    found = linkability(faces, people, 1.0, kinds)
    assert found.auc.value > 0.7 and found.auc_alike.low < 0.5 < found.auc_alike.high
    assert found.alike_entirely.value == 1 and found.alike_entirely.count == found.auc_alike.count == 600
    assert linkability(faces, people, 1.0).auc_alike.count == 0


def test_faces_of_rare_kinds_are_compared_at_a_coarser_level_or_not_at_all() -> None:
    people = np.repeat(np.arange(102), 4)
    sex = np.where(people < 100, people % 2, 2)  # two people alone are of a third kind
    hair = np.where(people < 60, 0, np.arange(408) % 2)  # that of some people differs between photographs
    faces = vectors(408, 1)
    found = linkability(faces, people, 1.0, np.stack([2 * sex + hair, sex], axis=1))
    assert found.auc_alike.count == 600 and found.auc_alike.people == 100
    # Of four photographs of which two are unlike the others, two of six pairs are alike.
    assert found.alike_entirely.value == pytest.approx((60 * 6 + 40 * 2) / 600)
    assert found.auc_alike.low < 0.5 < found.auc_alike.high


def test_each_kind_is_compared_with_its_own_strangers() -> None:
    """Children are nearer to each other than adults are: this alone links nobody."""
    people = np.repeat(np.arange(100), 4)
    child = people % 2
    faces = vectors(400, 1) * torch.from_numpy(np.where(child, 0.2, 1.0)).float()[:, None]
    found = linkability(faces, people, 1.0, child[:, None])
    assert found.auc_alike.low < 0.5 < found.auc_alike.high


def test_questions_without_pairs_have_no_answer() -> None:
    one = linkability(vectors(3), np.zeros(3, np.int64), 1.0)
    assert one.auc.count == 0 and np.isnan(one.collisions)
    gallery = OriginalsGallery(vectors(2, 1), np.arange(2))
    alone = reidentification(vectors(2), gallery, np.arange(2), {0.01: float("nan")})
    assert alone.ranked_others[1].count == 0 and alone.verified[0.01].count == 0
    assert np.isnan(equal_error(np.zeros(0), *DistanceHistogram(1.0).distances()))


def test_the_equal_error_of_counted_distances_is_that_of_the_distances() -> None:
    own, strangers = vectors(300).norm(dim=1).numpy(), vectors(500, 1).norm(dim=1) * 1.3
    histogram = DistanceHistogram(10.0)
    histogram.add(strangers)
    exact = equal_error(own, strangers.numpy())
    assert 0.1 < exact < 0.4 and equal_error(own, *histogram.distances()) == pytest.approx(exact, abs=0.004)
