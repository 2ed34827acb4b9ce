from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pairing import PERSON, discrepancy, learn, scatter, without_identity, without_origin
from probes import area, attribute_probe, pairs_of, person_auc, probe_auc

NUMBERS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(NUMBERS, NUMBERS)
def test_area_is_the_share_of_pairs_in_the_right_order(a: list[float], b: list[float]) -> None:
    wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b]
    assert area(torch.tensor(a), torch.tensor(b)) == pytest.approx(sum(wins) / len(wins))


def people(count: int = 60, photos: int = 4, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors that tell in two of the directions who it is, and the people."""
    rng = torch.Generator().manual_seed(0)
    who = torch.arange(count).repeat_interleave(photos)
    own = torch.randn(count, dim, generator=rng) * torch.tensor([3.0, 2.0] + [0.0] * (dim - 2))
    return own[who] + torch.randn(count * photos, dim, generator=rng), who


def test_pairs_are_of_one_person_or_of_two() -> None:
    _, who = people()
    groups = who % 2
    same, other = pairs_of(who, groups)
    assert len(same) == 60 * 6 and (who[same[:, 0]] == who[same[:, 1]]).all() and (same[:, 0] < same[:, 1]).all()
    assert (who[other[:, 0]] != who[other[:, 1]]).all() and (groups[other[:, 0]] == groups[other[:, 1]]).all()


def test_within_and_between_add_up_to_what_was_put_in() -> None:
    x, who = people(count=2000)
    within, between = scatter(x, who)
    assert torch.allclose(within, torch.eye(6), atol=0.1)
    assert torch.allclose(between, torch.diag(torch.tensor([9.0, 4.0, 0, 0, 0, 0])), atol=0.6)


def test_identity_is_narrowed_and_nothing_is_lost() -> None:
    x, who = people()
    change = without_identity(x, who)
    assert person_auc(x, who) > 0.8
    assert person_auc(x @ change, who) <= PERSON
    assert torch.linalg.matrix_rank(change) == 6


def test_what_tells_nobody_apart_is_left_as_it_is() -> None:
    rng = torch.Generator().manual_seed(3)
    x, who = torch.randn(240, 5, generator=rng) * torch.tensor([1.0, 9, 1, 3, 1]), torch.arange(60).repeat_interleave(4)
    assert torch.allclose(without_identity(x, who), torch.eye(5), atol=1e-4)


def test_discrepancy_is_none_between_samples_of_one_kind_and_sees_more_than_the_mean() -> None:
    rng = torch.Generator().manual_seed(4)
    a, b, c = (torch.randn(500, 6, generator=rng) for _ in range(3))
    assert abs(discrepancy(a, b)) < 0.005
    assert discrepancy(a, c + 0.5) > 0.02
    assert discrepancy(a, 2 * c) > 0.05  # of one mean


def test_the_vector_tells_labels_and_points_and_little_of_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairing.STEPS", 200)
    monkeypatch.setattr("pairing.RATE", 1e-2)
    rng = torch.Generator().manual_seed(5)
    x, fake = torch.randn(1000, 80, generator=rng), torch.randn(1000, 80, generator=rng)
    labels, points = (x[:, :40] > 0).float(), 0.1 * x[:, 40:50]
    for one in (x, fake):
        one[:, 70] = one[:, 3] + 0.3 * one[:, 70]  # one attribute shows in two features,
    fake[:, 3] += 1.5  # and in one of them the origin does
    torch.manual_seed(0)
    change = learn(x, fake, labels, points)
    assert ((attribute_probe(x @ change, labels, x @ change) > 0.5) == (labels > 0)).float().mean() > 0.9
    halves = (x[:500], fake[:500], x[500:], fake[500:])
    assert probe_auc(*(half @ change for half in halves)) < probe_auc(*halves) - 0.1


def test_origin_is_projected_out_and_the_rest_stays() -> None:
    rng = torch.Generator().manual_seed(1)
    real, generated = torch.randn(600, 5, generator=rng), torch.randn(600, 5, generator=rng)
    generated[:, 1] += 2
    halves = (real[:300], generated[:300], real[300:], generated[300:])
    assert probe_auc(*halves) > 0.85
    projection = without_origin(real, generated)
    assert probe_auc(*(half @ projection for half in halves)) < 0.58
    assert (real @ projection)[:, [0, 2, 3, 4]].std() > 0.8


def test_attributes_are_read_where_they_are() -> None:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(800, 4, generator=rng)
    labels = torch.stack([x[:, 0] > 0, torch.rand(800, generator=rng) > 0.5], 1)
    told = (attribute_probe(x[:400], labels[:400], x[400:]) > 0.5) == labels[400:]
    assert told[:, 0].float().mean() > 0.9 and 0.35 < told[:, 1].float().mean() < 0.65
