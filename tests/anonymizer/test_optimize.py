"""The optimization's promises, on toy networks that cost nothing; the last tests are about the real ones."""

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


class AttackSplit:
    """Three toy faces, whitened codes of their inversion, and of the pool faces that they are paired with."""

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
def setting() -> AttackSplit:
    return AttackSplit()


def test_a_smaller_look_is_enough(setting: AttackSplit) -> None:
    seen: list[int] = []
    preview = setting.toy.preview
    setting.toy.preview = lambda wp, size=256: (seen.append(size), preview(wp, size))[1]  # type: ignore[method-assign]
    one, more = setting.optimize(steps=1, size=128), setting.optimize(steps=40, size=128)
    assert set(seen) == {128}
    assert (more.attribute_distance < one.attribute_distance).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize("layers", [(3, 4, 5, 6, 7), (0,), tuple(range(16)), (15,), (2, 5, 9)])
def test_only_the_named_layers_differ_from_the_inversion(setting: AttackSplit, layers: tuple[int, ...]) -> None:
    codes = setting.optimize(layers=layers).codes
    same = (codes == setting.inverted).flatten(2).all(dim=2)  # [3, 16]
    assert same.tolist() == [[layer not in layers for layer in range(16)]] * 3


def test_layers_that_the_generator_lacks_are_passed_over_or_refused(setting: AttackSplit) -> None:
    codes = setting.optimize(layers=(2, 16, 17)).codes
    assert (codes == setting.inverted).flatten(2).all(dim=2).sum(dim=1).tolist() == [15] * 3
    with pytest.raises(UsageError, match="no layer 16"):
        setting.optimize(layers=(16, 17))


def test_one_step_keeps_the_start_which_lies_between_pair_and_inversion(setting: AttackSplit) -> None:
    done = setting.optimize(steps=1, share=0.25)
    expected = 0.75 * setting.paired[:, None] + 0.25 * setting.inverted
    assert torch.allclose(done.codes, expected, atol=1e-6)
    assert done.steps.tolist() == [1, 1, 1]


def test_more_steps_come_nearer_in_attributes(setting: AttackSplit) -> None:
    start = setting.optimize(steps=1, margin=1.0)
    end = setting.optimize(steps=20, margin=1.0)
    assert (end.attribute_distance < 0.8 * start.attribute_distance).all()


def test_more_steps_get_away_from_the_person_down_to_the_margin(setting: AttackSplit) -> None:
    likeness = {"attribute_weight": 0.0, "color_weight": 0.0, "seam_weight": 0.0}
    setting.paired = setting.inverted.mean(dim=1)
    far = setting.optimize(steps=30, margin=0.1, **likeness).similarity
    near = setting.optimize(steps=30, margin=0.4, **likeness).similarity
    assert (far < 0.1 + 0.05).all()
    assert (near < 0.4 + 0.05).all()


def test_the_best_step_is_kept_even_when_the_rate_throws_the_codes_about(setting: AttackSplit) -> None:
    """With an absurd rate every later step is worse, so the result is the first step's."""
    first = setting.optimize(steps=1, identity_weight=0.0, margin=1.0, prior_weight=5.0)
    wild = setting.optimize(steps=6, rate=1e4, identity_weight=0.0, margin=1.0, prior_weight=5.0)
    assert torch.equal(wild.codes, first.codes)
    assert wild.steps.tolist() == [6, 6, 6]


def test_the_numbers_belong_to_the_codes_that_are_kept(setting: AttackSplit) -> None:
    """Without jitter to blur it, similarity and attribute distance are those of the picture of the codes."""
    from mien.anonymizer.losses import feature_distance, identity_of
    from mien.util.image_tensors import ellipse

    done = setting.optimize(steps=9, size=256)
    image = setting.networks.preview(setting.networks.generator.color(done.codes))
    cosine = (identity_of(setting.networks, image, setting.faces.view) * setting.faces.identity).sum(dim=1)
    assert (cosine - done.similarity).abs().max() < 0.1  # jitter of the view
    face = ellipse(256) * setting.faces.inside
    features = setting.networks.features
    distance = feature_distance(features.weights, features(image), setting.faces.features, face)
    assert torch.allclose(distance, done.attribute_distance, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(setting: AttackSplit) -> None:
    one, two, other = setting.optimize(seed=1), setting.optimize(seed=1), setting.optimize(seed=2)
    for name in ("codes", "similarity", "attribute_distance", "steps"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert not torch.equal(one.codes, other.codes)


def test_torch_s_own_random_numbers_are_left_alone(setting: AttackSplit) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    setting.optimize()
    assert torch.equal(torch.rand(3), expected)


def test_faces_that_are_good_at_once_take_one_step(setting: AttackSplit) -> None:
    done = setting.optimize(attribute_goal=1e9, margin=1.0)
    assert done.steps.tolist() == [1, 1, 1]
    assert setting.toy.batches == [3]


def test_a_face_leaves_the_batch_when_both_its_goals_are_met(setting: AttackSplit) -> None:
    """One of the three starts as nobody in particular and near enough; the others are asked for too much."""
    easy = setting.optimize(steps=1).attribute_distance.argmin()
    goal = float(setting.optimize(steps=1).attribute_distance[easy]) + 1e-6
    setting.toy.batches.clear()
    done = setting.optimize(steps=5, attribute_goal=goal, margin=1.0, attribute_weight=0.0, rate=1e-6)
    assert done.steps[easy] == 1
    assert sorted(done.steps.tolist()) == [1, 5, 5]
    assert setting.toy.batches == [3, 2, 2, 2, 2]


def test_the_margin_alone_does_not_let_a_face_leave(setting: AttackSplit) -> None:
    done = setting.optimize(attribute_goal=0.0, margin=1.0)
    assert done.steps.tolist() == [12, 12, 12]


def test_with_a_target_the_face_becomes_the_target(setting: AttackSplit) -> None:
    from mien.anonymizer.losses import identity_of

    others = toy_faces(setting.networks, toy_codes(3, seed=21))

    def likeness(target: Tensor | None) -> Tensor:
        done = setting.optimize(steps=30, target=target, margin=1.0, target_weight=10.0)
        image = setting.networks.preview(setting.networks.generator.color(done.codes))
        return (identity_of(setting.networks, image, setting.faces.view) * others.identity).sum(dim=1)

    assert (likeness(others.identity) > likeness(None) + 0.2).all()


def test_places_beyond_the_photo_s_edge_do_not_matter(setting: AttackSplit) -> None:
    inside = setting.faces.inside.clone()
    inside[..., :128] = 0
    image = setting.faces.image.clone()
    features = tuple(f.clone() for f in setting.faces.features)
    setting.faces = replace(setting.faces, image=image, inside=inside, features=features)
    before = setting.optimize(steps=4, size=256)
    image[..., :128] = 1.0
    for f in features:
        f[..., : f.shape[-1] // 2] = 0.0
    after = setting.optimize(steps=4, size=256)
    assert torch.allclose(before.codes, after.codes, atol=1e-4)


def test_no_faces_are_no_trouble(setting: AttackSplit) -> None:
    setting.faces = setting.faces.rows(slice(0))
    setting.inverted, setting.paired = setting.inverted[:0], setting.paired[:0]
    assert setting.optimize(steps=2).codes.shape == (0, 16, 512)


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
