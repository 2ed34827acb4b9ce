"""Tests the paper's optimization on toy networks against a plain loop."""

from __future__ import annotations

import pytest
import torch

from helpers.fake_networks import toy_codes, toy_faces, toy_networks
from mien.anonymizer.losses import Faces
from mien.anonymizer.optimize_falco import StyleSpace, optimize_as_published
from mien.errors import UsageError
from mien.models.bundle import Networks
from mien.models.generators.stylegan2 import StyleGAN2, expected_shapes, prepare_stylegan2
from mien.models.recognition.arcface import face_view
from mien.recipe import OptimizeSettings, Recipe


@pytest.fixture
def networks() -> Networks:
    return toy_networks()[0]


@pytest.fixture
def faces(networks: Networks) -> Faces:
    return toy_faces(networks, toy_codes(3))


def settings(**changes: object) -> OptimizeSettings:
    return Recipe.load("falco").optimize.model_copy(update={"steps": 7, **changes})


def plain_loop(networks: Networks, faces: Faces, i: int, real: torch.Tensor, pair: torch.Tensor, margin: float,
               reference: bool) -> torch.Tensor:
    """Optimizes one face at a time and computes everything anew at each step, as the reference code does."""
    moving = pair.repeat(1, 5, 1).requires_grad_()
    optimizer = torch.optim.Adam([moving], lr=0.01)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(0.75 * 7), int(0.9 * 7)], gamma=0.8)
    for _ in range(7):
        codes = torch.cat([real[:, :3], moving, real[:, 8:]], dim=1)
        image = networks.preview(codes)
        target = faces.image[i : i + 1]
        target = (target + 1) / 2 if reference else target
        cosine = (networks.recognizer.identify(face_view(image))
                  * networks.recognizer.identify(face_view(target))).sum()
        difference = (networks.features.tokens(image, reference) - networks.features.tokens(target, reference)).abs()
        loss = 10 * (cosine - margin).abs() + 0.1 * difference.mean(dim=(0, 2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return torch.cat([real[:, :3], moving.detach(), real[:, 8:]], dim=1)


@pytest.mark.parametrize("reference", [False, True])
def test_a_batch_ends_where_the_plain_loop_does(networks: Networks, faces: Faces, reference: bool) -> None:
    inverted, paired = toy_codes(3), toy_codes(3, seed=8)[:, 0]
    done = optimize_as_published(networks, faces, inverted, paired, settings(margin=0.2, reference=reference))
    color = networks.generator.color
    for i in range(3):
        wanted = plain_loop(networks, faces, i, color(inverted[i : i + 1]), color(paired[i : i + 1, None]), 0.2,
                            reference)
        assert (color(done.codes[i : i + 1]) - wanted).abs().max() < 1e-4
    assert done.steps.tolist() == [7, 7, 7] and done.styles is None


def test_only_the_chosen_layers_move(networks: Networks, faces: Faces) -> None:
    inverted = toy_codes(3)
    codes = optimize_as_published(networks, faces, inverted, toy_codes(3, seed=8)[:, 0],
                                  settings(layers=(1, 9))).codes
    still = ((codes - inverted).abs() < 1e-5).flatten(2).all(dim=2)
    assert still.tolist() == [[layer not in (1, 9) for layer in range(16)]] * 3


def test_s_space_needs_a_generator_that_has_one(networks: Networks, faces: Faces) -> None:
    with pytest.raises(UsageError, match="no S space"):
        optimize_as_published(networks, faces, toy_codes(3), toy_codes(3)[:, 0], settings(space="s"))


def test_s_space_moves_the_styles_of_the_chosen_layers() -> None:
    state = {key: torch.randn(shape, generator=torch.Generator().manual_seed(i))
             for i, (key, shape) in enumerate(expected_shapes(16).items())}
    generator = StyleGAN2(prepare_stylegan2(state))
    real, pair = torch.randn(2, 6, 512), torch.randn(2, 512)
    space = StyleSpace(generator, real, pair, (2, 3))
    with torch.no_grad():
        mixed = real.clone()
        mixed[:, 2:4] = pair[:, None]
        # before the first step it is the picture of the mixed W+ code
        assert (space.picture(None) - generator(mixed)).abs().max() < 1e-4
    space.picture(8).square().mean().backward()
    reached = [code.grad is not None and bool(code.grad.any()) for code in space.moving]
    assert len(reached) == 3 and reached[0]  # layer 2, layer 3, output 1; layer 3 is above 8 px
