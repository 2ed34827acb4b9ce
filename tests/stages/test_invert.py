"""Inversion on toy networks, whose codes are known; the last test is about the real ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from generated import Generated
from mien.losses import Faces, face_weight, pixel_distance
from mien.models.networks import Networks
from mien.recipe import Invert
from mien.setup import Ready
from mien.stages.invert import Inversion, invert
from toys import ToyNetworks, toy_codes, toy_faces, toy_networks


def nothing_known(image: Tensor, features: tuple[Tensor, ...]) -> Tensor:
    return torch.zeros(len(image), 16, 512)


class Setting:
    """Two toy faces of known codes."""

    def __init__(self) -> None:
        self.networks: Networks
        self.toy: ToyNetworks
        self.networks, self.toy = toy_networks()
        self.codes = toy_codes(2)
        self.faces: Faces = toy_faces(self.networks, self.codes)

    def invert(self, encoder: object = nothing_known, **changes: float) -> Inversion:
        settings = Invert().model_copy(update={"steps": 20, "shared_steps": 6, **changes})
        return invert(self.networks, self.faces, encoder, settings)  # type: ignore[arg-type]

    def distance(self, codes: Tensor, outside: float = 0.25) -> Tensor:
        with torch.no_grad():
            image = self.networks.look(self.networks.generator.colour(codes))
        return pixel_distance(image, self.faces.image, face_weight(self.faces, outside))


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_the_picture_comes_nearer_than_the_encoder_s_guess(setting: Setting) -> None:
    found = setting.invert()
    assert (setting.distance(found.codes) < 0.7 * setting.distance(torch.zeros(2, 16, 512))).all()
    assert found.steps == 20


def test_the_error_is_that_of_the_codes(setting: Setting) -> None:
    found = setting.invert()
    assert torch.allclose(found.error, setting.distance(found.codes), atol=1e-5)


def test_one_step_gives_the_encoder_s_guess_back(setting: Setting) -> None:
    guess = toy_codes(2, seed=17)
    found = setting.invert(lambda image, features: guess, steps=1)
    assert torch.allclose(found.codes, guess, atol=1e-6)


def test_a_perfect_guess_is_not_spoiled(setting: Setting) -> None:
    """The best step is kept: with a rate that throws the codes away, what comes out is still the guess."""
    found = setting.invert(lambda image, features: setting.codes, rate=50.0, offset_rate=50.0, shared_steps=0)
    assert (setting.distance(found.codes) < 1e-4).all()


def test_in_the_first_steps_all_layers_move_together(setting: Setting) -> None:
    together = setting.invert(steps=6, shared_steps=6).codes
    assert (together - together.mean(dim=1, keepdim=True)).abs().max() < 1e-6
    apart = setting.invert(steps=12, shared_steps=6).codes
    assert (apart - apart.mean(dim=1, keepdim=True)).abs().max() > 1e-3


def test_faces_do_not_disturb_one_another(setting: Setting) -> None:
    together = setting.invert().codes
    whole = setting.faces
    for i in range(2):
        setting.faces = whole.rows(slice(i, i + 1))
        assert (setting.invert().codes[0] - together[i]).abs().max() < 1e-3


def test_the_same_faces_give_the_same_bytes(setting: Setting) -> None:
    assert torch.equal(setting.invert().codes, setting.invert().codes)


def test_a_heavy_prior_keeps_layers_together(setting: Setting) -> None:
    def spread(weight: float) -> Tensor:
        codes = setting.invert(offset_weight=weight).codes
        return (codes - codes.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))

    assert (spread(20.0) < spread(0.0)).all()


def test_the_result_holds_no_graph(setting: Setting) -> None:
    found = setting.invert(steps=2)
    assert not found.codes.requires_grad and not found.error.requires_grad


def test_real_networks_come_nearer_than_the_regression(ready: Ready, generated: Generated) -> None:
    networks, pool, faces = ready.networks, ready.pool, generated.faces
    one = invert(networks, faces, pool.start, Invert(steps=1))
    found = invert(networks, faces, pool.start, Invert(steps=6, shared_steps=4))
    assert (found.error < one.error).all()
    assert all(value.grad is None for value in networks.generator.state_dict(keep_vars=True).values())
