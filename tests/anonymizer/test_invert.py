"""Tests the inversion on toy faces, whose codes are known; the tests called `real` use the real networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.fake_networks import ToyNetworks, toy_codes, toy_faces, toy_networks
from helpers.generated_people import Generated
from mien.anonymizer.invert import Inversion, invert
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import Faces, face_weight, pixel_distance, shrunk
from mien.models.bundle import Networks
from mien.recipe import InvertSettings, Recipe


class InversionCase:
    """Holds two toy faces of known codes."""

    def __init__(self) -> None:
        self.networks: Networks
        self.toy: ToyNetworks
        self.networks, self.toy = toy_networks()
        self.codes = toy_codes(2)
        self.faces: Faces = toy_faces(self.networks, self.codes)

    def invert(self, guess: Tensor | None = None, **changes: float) -> Inversion:
        """Inverts from this guess of the encoder's, or from the mean face."""
        self.toy.encoder = lambda image: torch.zeros(len(image), 16, 512) if guess is None else guess
        settings = InvertSettings().model_copy(update={"steps": 20, "shared_steps": 6, "size": 256, **changes})
        return invert(self.networks, self.faces, settings)

    def distance(self, codes: Tensor, outside: float = InvertSettings().outside_weight) -> Tensor:
        with torch.no_grad():
            image = self.networks.preview(self.networks.generator.color(codes))
        return pixel_distance(image, self.faces.image, face_weight(self.faces, outside))


@pytest.fixture
def case() -> InversionCase:
    return InversionCase()


def test_the_picture_comes_nearer_than_the_encoder_s_guess(case: InversionCase) -> None:
    found = case.invert()
    assert (case.distance(found.codes) < 0.7 * case.distance(torch.zeros(2, 16, 512))).all()
    assert found.steps == 20


def test_the_error_is_that_of_the_codes(case: InversionCase) -> None:
    found = case.invert()
    assert torch.allclose(found.error, case.distance(found.codes), atol=1e-5)


def test_a_smaller_preview_is_compared_with_smaller_faces(case: InversionCase) -> None:
    found = case.invert(size=128)
    small = shrunk(case.networks, case.faces, 128)
    with torch.no_grad():
        image = case.networks.preview(case.networks.generator.color(found.codes), 128)
    wanted = pixel_distance(image, small.image, face_weight(small, InvertSettings().outside_weight))
    assert torch.allclose(found.error, wanted, atol=1e-5)
    assert (case.distance(found.codes) < 0.7 * case.distance(torch.zeros(2, 16, 512))).all()


def test_one_step_gives_the_encoder_s_guess_back(case: InversionCase) -> None:
    guess = toy_codes(2, seed=17)
    found = case.invert(guess, steps=1)
    assert torch.allclose(found.codes, guess, atol=1e-6)


def test_a_perfect_guess_is_not_spoiled(case: InversionCase) -> None:
    """The best step is kept: with a rate that throws the codes away, the result is still the guess."""
    found = case.invert(case.codes, rate=50.0, offset_rate=50.0, shared_steps=0)
    assert (case.distance(found.codes) < 1e-4).all()


def test_in_the_first_steps_all_layers_move_together(case: InversionCase) -> None:
    together = case.invert(steps=6, shared_steps=6).codes
    assert (together - together.mean(dim=1, keepdim=True)).abs().max() < 1e-6
    apart = case.invert(steps=12, shared_steps=6).codes
    assert (apart - apart.mean(dim=1, keepdim=True)).abs().max() > 1e-3


def test_faces_do_not_disturb_one_another(case: InversionCase) -> None:
    together = case.invert().codes
    whole = case.faces
    for i in range(2):
        case.faces = whole.rows(slice(i, i + 1))
        # A small part of a step: Adam's short means carry the last bits of a batch's sums along.
        assert (case.invert().codes[0] - together[i]).abs().max() < 0.05 * InvertSettings().rate


def test_the_same_faces_give_the_same_bytes(case: InversionCase) -> None:
    assert torch.equal(case.invert().codes, case.invert().codes)


def test_a_heavy_prior_keeps_layers_together(case: InversionCase) -> None:
    def spread(weight: float) -> Tensor:
        codes = case.invert(offset_weight=weight).codes
        return (codes - codes.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))

    assert (spread(20.0) < spread(0.0)).all()


def test_the_result_holds_no_graph(case: InversionCase) -> None:
    found = case.invert(steps=2)
    assert not found.codes.requires_grad and not found.error.requires_grad


def test_real_networks_come_nearer_than_the_encoder(ready: Loaded, generated: Generated) -> None:
    networks, faces = ready.networks, generated.faces
    one = invert(networks, faces, InvertSettings(steps=1))
    found = invert(networks, faces, Recipe.load("fast").invert)
    assert (found.error < one.error).all()
    assert all(value.grad is None for value in networks.generator.state_dict(keep_vars=True).values())


def test_without_steps_the_guess_is_the_result(case: InversionCase) -> None:
    guess = toy_codes(2, seed=17)
    case.toy.batches.clear()
    found = case.invert(guess, steps=0)
    assert torch.equal(found.codes, guess) and found.error.isinf().all() and not case.toy.batches


def test_the_real_encoder_knows_faces(ready: Loaded, generated: Generated) -> None:
    """Its guess is nearer than the mean face, in the picture and in the wide directions of the codes."""
    networks, faces = ready.networks, generated.faces
    guess = networks.encoder(faces.image)
    assert guess.shape == (2, 16, 512)
    weight = face_weight(faces, InvertSettings().outside_weight)
    near, far = (pixel_distance(networks.preview(networks.generator.color(codes)), faces.image, weight)
                 for codes in (guess, torch.zeros_like(guess)))
    assert (near < 0.6 * far).all()
    spread = networks.generator.whiten_spread
    closer, further = (((codes.mean(dim=1) - generated.codes) * spread).norm(dim=1)
                       for codes in (guess, torch.zeros_like(guess)))
    assert (closer < further).all()
