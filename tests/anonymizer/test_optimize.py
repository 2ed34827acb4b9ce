"""Tests the optimization on toy networks, which take no time; the last test uses the real ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers.fake_networks import ToyNetworks, toy_codes, toy_faces, toy_networks
from helpers.generated_people import Generated
from mien.anonymizer.losses import Faces
from mien.anonymizer.optimize import optimize
from mien.errors import UsageError
from mien.models.bundle import Networks
from mien.recipe import OptimizeSettings


class OptimizationCase:
    """Holds three toy faces, the whitened codes of their inversion, and those of their pool faces."""

    def __init__(self) -> None:
        self.networks: Networks
        self.toy: ToyNetworks
        self.networks, self.toy = toy_networks()
        self.inverted = toy_codes(3)
        self.faces: Faces = toy_faces(self.networks, self.inverted)
        self.paired: Tensor = toy_codes(3, seed=8)[:, 0]
        self.toy.batches.clear()

    def optimize(self, seed: int = 3, target: Tensor | None = None, **changes: float | tuple[int, ...]) -> object:
        settings = OptimizeSettings().model_copy(update={"steps": 12, "rate": 0.1, "share": 0.0, **changes})
        return optimize(self.networks, self.faces, self.inverted, self.paired, settings, seed, target)


@pytest.fixture
def case() -> OptimizationCase:
    return OptimizationCase()


def test_a_smaller_preview_is_enough(case: OptimizationCase) -> None:
    seen: list[int] = []
    preview = case.toy.preview
    case.toy.preview = lambda wp, size=256: (seen.append(size), preview(wp, size))[1]  # type: ignore[method-assign]
    one, more = case.optimize(steps=1, size=128), case.optimize(steps=40, size=128)
    assert set(seen) == {128}
    assert (more.attribute_distance < one.attribute_distance).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize("layers", [(3, 4, 5, 6, 7), (0,), tuple(range(16)), (15,), (2, 5, 9)])
def test_only_the_named_layers_differ_from_the_inversion(case: OptimizationCase, layers: tuple[int, ...]) -> None:
    codes = case.optimize(layers=layers).codes
    same = (codes == case.inverted).flatten(2).all(dim=2)  # [3, 16]
    assert same.tolist() == [[layer not in layers for layer in range(16)]] * 3


def test_layers_that_the_generator_lacks_are_ignored_or_refused(case: OptimizationCase) -> None:
    codes = case.optimize(layers=(2, 16, 17)).codes
    assert (codes == case.inverted).flatten(2).all(dim=2).sum(dim=1).tolist() == [15] * 3
    with pytest.raises(UsageError, match="no layer 16"):
        case.optimize(layers=(16, 17))


def test_one_step_keeps_the_start_between_pool_face_and_inversion(case: OptimizationCase) -> None:
    done = case.optimize(steps=1, share=0.25)
    expected = 0.75 * case.paired[:, None] + 0.25 * case.inverted
    assert torch.allclose(done.codes, expected, atol=1e-6)
    assert done.steps.tolist() == [1, 1, 1]


def test_more_steps_come_nearer_in_attributes(case: OptimizationCase) -> None:
    start = case.optimize(steps=1, margin=1.0)
    end = case.optimize(steps=20, margin=1.0)
    assert (end.attribute_distance < 0.8 * start.attribute_distance).all()


def test_more_steps_get_away_from_the_person_down_to_the_margin(case: OptimizationCase) -> None:
    likeness = {"attribute_weight": 0.0, "color_weight": 0.0, "seam_weight": 0.0}
    case.paired = case.inverted.mean(dim=1)
    far = case.optimize(steps=30, margin=0.1, **likeness).similarity
    near = case.optimize(steps=30, margin=0.4, **likeness).similarity
    assert (far < 0.1 + 0.05).all()
    assert (near < 0.4 + 0.05).all()


def test_the_best_step_is_kept_even_when_the_rate_throws_the_codes_about(case: OptimizationCase) -> None:
    """With an absurd rate every later step is worse, so the result is the first step's."""
    first = case.optimize(steps=1, identity_weight=0.0, margin=1.0, prior_weight=5.0)
    wild = case.optimize(steps=6, rate=1e4, identity_weight=0.0, margin=1.0, prior_weight=5.0)
    assert torch.equal(wild.codes, first.codes)
    assert wild.steps.tolist() == [6, 6, 6]


def test_the_numbers_belong_to_the_codes_that_are_kept(case: OptimizationCase) -> None:
    """Without jitter to blur it, similarity and attribute distance are those of the picture of the codes."""
    from mien.anonymizer.losses import feature_distance, identity_of
    from mien.util.image_tensors import ellipse

    done = case.optimize(steps=9, size=256)
    image = case.networks.preview(case.networks.generator.color(done.codes))
    cosine = (identity_of(case.networks, image, case.faces.view) * case.faces.identity).sum(dim=1)
    assert (cosine - done.similarity).abs().max() < 0.1  # jitter of the view
    face = ellipse(256) * case.faces.inside
    features = case.networks.features
    distance = feature_distance(features.weights, features(image), case.faces.features, face)
    assert torch.allclose(distance, done.attribute_distance, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(case: OptimizationCase) -> None:
    one, two, other = case.optimize(seed=1), case.optimize(seed=1), case.optimize(seed=2)
    for name in ("codes", "similarity", "attribute_distance", "steps"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert not torch.equal(one.codes, other.codes)


def test_torch_s_own_random_numbers_are_left_alone(case: OptimizationCase) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    case.optimize()
    assert torch.equal(torch.rand(3), expected)


def test_faces_that_are_good_at_once_take_one_step(case: OptimizationCase) -> None:
    done = case.optimize(attribute_goal=1e9, margin=1.0)
    assert done.steps.tolist() == [1, 1, 1]
    assert case.toy.batches == [3]


def test_a_face_leaves_the_batch_when_both_its_goals_are_met(case: OptimizationCase) -> None:
    """One of the three reaches its goals with the first step; those of the others are out of reach."""
    easy = case.optimize(steps=1).attribute_distance.argmin()
    goal = float(case.optimize(steps=1).attribute_distance[easy]) + 1e-6
    case.toy.batches.clear()
    done = case.optimize(steps=5, attribute_goal=goal, margin=1.0, attribute_weight=0.0, rate=1e-6)
    assert done.steps[easy] == 1
    assert sorted(done.steps.tolist()) == [1, 5, 5]
    assert case.toy.batches == [3, 2, 2, 2, 2]


def test_the_margin_alone_does_not_let_a_face_leave(case: OptimizationCase) -> None:
    done = case.optimize(attribute_goal=0.0, margin=1.0)
    assert done.steps.tolist() == [12, 12, 12]


def test_with_a_target_the_face_becomes_the_target(case: OptimizationCase) -> None:
    from mien.anonymizer.losses import identity_of

    others = toy_faces(case.networks, toy_codes(3, seed=21))

    def likeness(target: Tensor | None) -> Tensor:
        done = case.optimize(steps=30, target=target, margin=1.0, target_weight=10.0)
        image = case.networks.preview(case.networks.generator.color(done.codes))
        return (identity_of(case.networks, image, case.faces.view) * others.identity).sum(dim=1)

    assert (likeness(others.identity) > likeness(None) + 0.2).all()


def test_pixels_beyond_the_photo_s_edge_do_not_matter(case: OptimizationCase) -> None:
    inside = case.faces.inside.clone()
    inside[..., :128] = 0
    image = case.faces.image.clone()
    features = tuple(f.clone() for f in case.faces.features)
    case.faces = replace(case.faces, image=image, inside=inside, features=features)
    before = case.optimize(steps=4, size=256)
    image[..., :128] = 1.0
    for f in features:
        f[..., : f.shape[-1] // 2] = 0.0
    after = case.optimize(steps=4, size=256)
    assert torch.allclose(before.codes, after.codes, atol=1e-4)


def test_no_faces_are_no_trouble(case: OptimizationCase) -> None:
    case.faces = case.faces.rows(slice(0))
    case.inverted, case.paired = case.inverted[:0], case.paired[:0]
    assert case.optimize(steps=2).codes.shape == (0, 16, 512)


def test_real_networks_lower_the_likeness_and_stay_as_they_were(networks: Networks,
                                                                generated: Generated) -> None:
    modules = (networks.generator, networks.features.attributes, networks.recognizer)
    before = [value.clone() for module in modules for value in module.state_dict().values()]
    faces, codes = generated.faces, generated.codes[:, None].repeat(1, 16, 1)
    # Each starts as itself, so that there is a likeness to lose.
    settings = OptimizeSettings().model_copy(update={"steps": 5, "rate": 0.1, "share": 0.0, "layers": (3, 4, 5, 6, 7)})
    once = settings.model_copy(update={"steps": 1})
    start = optimize(networks, faces, codes, generated.codes, once, seed=0)
    done = optimize(networks, faces, codes, generated.codes, settings, seed=0)
    assert (done.similarity < start.similarity - 0.1).all()
    assert torch.equal(done.codes[:, :3], codes[:, :3])
    assert torch.equal(done.codes[:, 8:], codes[:, 8:])
    after = [value for module in modules for value in module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for module in modules for p in [*module.parameters(), *module.buffers()])
