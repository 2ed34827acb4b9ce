from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.fake_networks import toy_codes, toy_faces, toy_networks, toy_pool
from helpers.generated_people import Generated
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import Faces
from mien.anonymizer.pairing import AvailableFaces, distances, embedding_distances, pair, pair_person
from mien.anonymizer.pool import Pool
from mien.models.features.base import VECTOR_WEIGHT
from mien.recipe import PairSettings
from mien.types import Match
from mien.util.image_tensors import ellipse

SIZE = 100


@pytest.fixture(scope="module")
def pool() -> Pool:
    return toy_pool(toy_networks()[0], SIZE)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return toy_faces(toy_networks()[0], toy_codes(3))


def row(seed: int) -> Tensor:
    """Draws distances of a person to the pool."""
    return torch.rand(SIZE, generator=torch.Generator().manual_seed(seed))


def person(distance: Tensor, settings: PairSettings, key: bytes, used: Iterable[int] = ()) -> Match:
    return pair_person(distance, settings, key, AvailableFaces(SIZE, used))


def chosen(distance: Tensor, key: bytes) -> int:
    return person(distance, PairSettings(), key).index


def paired(pool: Pool, faces: Faces, settings: PairSettings, used: Iterable[int] = (), seed: int = 0,
           table: Tensor | None = None) -> list[Match]:
    return pair(pool, pool.traits(faces), settings, AvailableFaces(len(pool), used), [seed] * len(faces), table)


def table_of(pool: Pool, faces: Faces, settings: PairSettings) -> Tensor:
    return distances(pool, pool.traits(faces), settings)


def test_a_pool_face_is_nearest_to_itself(pool: Pool) -> None:
    same = toy_faces(toy_networks()[0], pool.codes[:5, None].repeat(1, 16, 1))
    table = table_of(pool, same, PairSettings())
    assert table.shape == (5, SIZE)
    assert table.argmin(dim=1).tolist() == [0, 1, 2, 3, 4]
    assert table.diagonal().max() < 0.01 * table.mean()


def test_a_drawn_face_is_near_and_depends_on_the_seed_alone(pool: Pool, faces: Faces) -> None:
    settings = PairSettings(choice="drawn", k=8, unique=False)
    near = table_of(pool, faces, settings).argsort(dim=1)[:, :8]
    drawn = [[match.index for match in paired(pool, faces, settings, used=(), seed=seed)] for seed in range(40)]
    assert all(index in row for one in drawn for index, row in zip(one, near.tolist(), strict=True))
    assert len({one[0] for one in drawn}) >= 6
    assert drawn[3] == [match.index for match in paired(pool, faces, settings, used=(), seed=3)]


def test_colors_count_as_much_as_they_are_weighted(pool: Pool, faces: Faces) -> None:
    none, half, full = (table_of(pool, faces, PairSettings(color_weight=weight)) for weight in (0.0, 0.5, 1.0))
    assert torch.allclose(half - none, (full - none) / 2, atol=1e-5)
    assert (full > none).all()
    darker = replace(faces, image=faces.image - 0.4)
    assert torch.equal(table_of(pool, darker, PairSettings(color_weight=0.0)), none)


def test_colors_outside_the_face_do_not_count(pool: Pool, faces: Faces) -> None:
    outside = ellipse(256, grow=0.2) == 0
    painted = replace(faces, image=torch.where(outside, torch.ones(1), faces.image))
    assert torch.allclose(table_of(pool, painted, PairSettings()), table_of(pool, faces, PairSettings()), atol=1e-4)


def test_the_least_alike_of_the_k_nearest_is_taken(pool: Pool, faces: Faces) -> None:
    table = table_of(pool, faces, PairSettings())
    for k in (1, 4, SIZE):
        for i in range(3):
            one = faces.rows(slice(i, i + 1))
            match = paired(pool, one, PairSettings(k=k, choice="unlike"), used=())[0]
            near = table[i].argsort()[:k]
            likeness = pool.identities[near] @ faces.identity[i]
            assert match.index == near[likeness.argmin()]
            assert match.distance == pytest.approx(float(table[i, match.index]), rel=1e-4)


def test_a_draw_may_be_among_the_least_alike_of_the_near_ones(pool: Pool, faces: Faces) -> None:
    one, settings = faces.rows(slice(0, 1)), PairSettings(choice="drawn", k=40, unique=False)
    near = table_of(pool, one, settings)[0].argsort()[:40]
    least = near[(pool.identities[near] @ one.identity[0]).argsort()[:5]].tolist()
    drawn = {pair(pool, pool.traits(one), settings, AvailableFaces(SIZE), [seed], unlike=5)[0].index
             for seed in range(60)}
    assert drawn == set(least)


def test_infinitely_far_pool_faces_are_not_chosen(pool: Pool, faces: Faces) -> None:
    table = torch.full((1, SIZE), torch.inf)
    table[0, [4, 9]] = torch.tensor([2.0, 1.0])
    face, settings = faces.rows(slice(0, 1)), PairSettings(k=SIZE)
    drawn = {paired(pool, face, settings, (), seed, table)[0].index for seed in range(30)}
    assert drawn == {4, 9}


def test_faces_of_one_batch_get_different_pool_faces(pool: Pool, faces: Faces) -> None:
    """They do even when they are the same face three times."""
    rows = torch.zeros(3, dtype=torch.long)
    thrice = replace(faces, image=faces.image[rows], identity=faces.identity[rows],
                     features=tuple(f[rows] for f in faces.features))
    assert len({match.index for match in paired(pool, thrice, PairSettings(k=1), used=())}) == 3


def test_used_faces_are_avoided_as_long_as_there_is_another(pool: Pool, faces: Faces) -> None:
    """One by one all of the pool is chosen, no face twice, the nearest first."""
    one = faces.rows(slice(1))
    used: list[int] = []
    for _ in range(SIZE):
        used.append(paired(pool, one, PairSettings(k=1), used)[0].index)
    assert used == table_of(pool, one, PairSettings())[0].argsort(stable=True).tolist()


def test_a_pool_that_is_used_up_starts_again(pool: Pool, faces: Faces) -> None:
    everything = range(SIZE)
    assert [match.index for match in paired(pool, faces, PairSettings(), everything)] == \
        [match.index for match in paired(pool, replace(faces), PairSettings(), everything)]
    assert person(row(1), PairSettings(), b"key", everything).index in range(SIZE)


def test_a_pool_face_of_unknown_identity_is_never_chosen(pool: Pool, faces: Faces) -> None:
    """Its zero vector would pass for the least similar of all."""
    identities = pool.identities.clone()
    nearest = table_of(pool, faces, PairSettings()).argmin(dim=1)
    identities[nearest] = 0
    matches = paired(replace(pool, identities=identities), faces, PairSettings(), used=())
    assert not {match.index for match in matches} & set(nearest.tolist())


def test_a_pool_smaller_than_k_is_enough(pool: Pool, faces: Faces) -> None:
    few = replace(pool, codes=pool.codes[:2], vectors=pool.vectors[:2], colors=pool.colors[:2],
                  identities=pool.identities[:2])
    assert all(match.index in (0, 1) for match in paired(few, faces, PairSettings(k=50), used=()))


def test_the_same_key_gives_the_same_face() -> None:
    for seed in range(20):
        assert person(row(seed), PairSettings(), b"key") == person(row(seed), PairSettings(), b"key")


def test_another_key_gives_most_people_another_face() -> None:
    same = sum(chosen(row(seed), b"key") == chosen(row(seed), b"yek") for seed in range(40))
    assert same <= 8


def test_about_the_same_photos_give_the_same_face() -> None:
    """A small change in the distances matters only when it moves a pool face into or out of the nearest ones."""
    noise = torch.randn(SIZE, generator=torch.Generator().manual_seed(1)) * 0.002
    same = sum(chosen(row(seed), b"key") == chosen(row(seed) + noise, b"key") for seed in range(40))
    assert same >= 36


def test_other_people_only_matter_by_the_faces_they_have() -> None:
    alone = person(row(3), PairSettings(), b"key")
    others = [i for i in range(SIZE) if i != alone.index]
    far = row(3).argsort()[40:].tolist()
    assert person(row(3), PairSettings(), b"key", set(far)) == alone
    assert person(row(3), PairSettings(), b"key", others) == alone
    assert person(row(3), PairSettings(), b"key", {alone.index}) != alone


def test_the_face_by_key_is_one_of_the_nearest() -> None:
    for seed in range(20):
        match = person(row(seed), PairSettings(k=2), b"key")
        assert match.index in row(seed).argsort()[:8].tolist()
        assert match.distance == pytest.approx(float(row(seed)[match.index]))


def test_keys_spread_people_over_the_nearest_faces() -> None:
    """The secret decides, not the distance: over many keys every one of the eight nearest comes up."""
    faces = {person(row(0), PairSettings(k=4), bytes([i])).index for i in range(120)}
    assert faces == set(row(0).argsort()[:8].tolist())


def test_the_real_pairing_space_agrees_with_its_features(ready: Loaded, generated: Generated) -> None:
    """Principal components nearly keep the order of the distances within the face."""
    pool, networks = ready.pool, ready.networks
    with torch.inference_mode():
        picture = networks.preview(networks.generator.color(pool.codes[:8, None].expand(-1, 16, -1)))
        maps, vectors = networks.features.observe(picture)
        level, mine = maps[2], generated.faces.features[2]
        mask = F.interpolate(ellipse(256), size=level.shape[-2:], mode="area")
        exact = torch.stack([((level - one).square().sum(dim=1, keepdim=True) * mask).sum(dim=(1, 2, 3))
                             for one in mine]) / mask.sum()  # [2, 8]
        exact = exact + VECTOR_WEIGHT * torch.cdist(generated.faces.embedding, vectors).square()
    table = table_of(pool, generated.faces, PairSettings(color_weight=0.0))[:, :8]
    correlation = torch.corrcoef(torch.stack([exact.flatten(), table.flatten()]))[0, 1]
    assert correlation > 0.9


def test_the_published_pairing_is_the_nearest_embedding(pool: Pool, faces: Faces) -> None:
    for kind in ("euclidean", "cosine"):
        settings = PairSettings(k=1, distance=kind, unique=False)
        for i, match in enumerate(paired(pool, faces, settings, used=())):
            a, b = faces.embedding[i].double(), pool.embeddings.double()
            plain = (b - a).norm(dim=1) if kind == "euclidean" else 1 - b @ a / (b.norm(dim=1) * a.norm())
            assert match.index == int(plain.argmin())
            assert match.distance == pytest.approx(float(plain.min()), rel=1e-4, abs=1e-6)


def test_the_length_of_an_embedding_counts_for_euclid_alone() -> None:
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0], [3.5, 4.0]])
    assert embedding_distances(a, b, "euclidean").argmin() == 1
    assert embedding_distances(a, b, "cosine").argmin() == 0


def test_the_first_of_equally_near_pool_faces_is_taken(pool: Pool, faces: Faces) -> None:
    one = faces.rows(slice(0, 1))
    doubled = replace(pool, embeddings=one.embedding.repeat(SIZE, 1))
    for kind in ("euclidean", "cosine"):
        assert paired(doubled, one, PairSettings(k=1, distance=kind), used=())[0].index == 0
        assert paired(doubled, one, PairSettings(k=1, distance=kind), used={0, 1})[0].index == 2


def test_two_people_may_share_a_pool_face_where_the_recipe_lets_them(pool: Pool, faces: Faces) -> None:
    twins = faces.rows(torch.tensor([0, 0]))
    settings = PairSettings(k=1, distance="euclidean", unique=False)
    shared = [match.index for match in paired(pool, twins, settings, used=())]
    own = [match.index for match in paired(pool, twins, PairSettings(k=1, distance="euclidean"), used=())]
    assert shared[0] == shared[1] == own[0] != own[1]
