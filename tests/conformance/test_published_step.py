"""Three steps of the reference's optimization come out the same: losses, gradients and codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from helpers.agreement import assert_image, assert_same
from mien.anonymizer.optimize_falco import WPlus, descend, loss_of, measure, targets_of
from mien.models.bundle import Networks
from mien.models.features.base import TokenFeatures
from mien.models.features.vit import VisionTransformer
from mien.models.generators.stylegan2 import StyleGAN2, prepare_stylegan2
from mien.models.recognition.arcface import ArcFace
from mien.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def networks(filled: Any) -> Networks:
    recognizer = ArcFace()
    recognizer.load_state_dict(filled("arcface_ir_se50"))
    made = SimpleNamespace(
        generator=StyleGAN2(prepare_stylegan2(filled("stylegan2_ffhq1024"))), recognizer=recognizer,
        features=TokenFeatures(VisionTransformer(filled("farl_vitb16_visual", "visual."))))
    return cast(Networks, made)


@dataclass
class Seen:
    """What one step computed: losses, the picture, and the code before it with gradient and learning rate."""

    identity: float
    attribute: float
    total: float
    picture: torch.Tensor
    code: torch.Tensor
    rate: float = 0.0
    gradient: torch.Tensor | None = None


@dataclass
class Course:
    """The optimization of the reference's example: its steps, and the W+ code [18, 512] before and after."""

    steps: list[Seen]
    initial: torch.Tensor
    final: torch.Tensor


@pytest.fixture(scope="module")
def course(networks: Networks, fill: Any) -> Course:
    settings = Recipe.load("falco-reference").optimize.model_copy(update={"steps": 3})
    drawn = fill.formula_image(1024, 1024, 0).transpose(2, 0, 1)[None].astype(np.float32) / 255
    goal = targets_of(networks, torch.from_numpy(drawn), settings.reference)
    real = torch.from_numpy(fill.normal("falco/code_real", (18, 512)))[None]
    codes = WPlus(networks, real, torch.from_numpy(fill.normal("falco/code_fake", (1, 18, 512))), settings.layers)
    initial, seen, picture, step = codes.w_plus().detach()[0].clone(), [], codes.picture, torch.optim.Adam.step

    def watched_picture(size: int | None) -> torch.Tensor:
        image = picture(size)
        with torch.no_grad():
            cosine, attribute = measure(networks, goal, image, settings.reference)
            total = loss_of(cosine, attribute, settings)
        seen.append(Seen(float(cosine.abs()), float(attribute), float(total), image.detach(),
                         codes.moving[0].detach().clone()))
        return image

    def watched_step(optimizer: torch.optim.Adam) -> None:
        group = optimizer.param_groups[0]
        seen[-1].rate, seen[-1].gradient = group["lr"], group["params"][0].grad.clone()
        step(optimizer)

    codes.picture = watched_picture  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", watched_step)
        descend(networks, goal, codes, settings)
    return Course(seen, initial, codes.w_plus().detach()[0])


def test_losses_and_rates(course: Course, vectors: Any) -> None:
    reference, steps = vectors("falco_step"), course.steps
    assert [step.identity for step in steps] == pytest.approx(list(reference["step_id_loss"]), rel=1e-5)
    assert [step.attribute for step in steps] == pytest.approx(list(reference["step_attr_loss"]), rel=1e-5)
    assert [step.total for step in steps] == pytest.approx(list(reference["step_total"]), rel=1e-5)
    assert [step.rate for step in steps] == pytest.approx(list(reference["lr"]), rel=1e-6)


def test_the_first_picture(course: Course, vectors: Any) -> None:
    assert_image(course.steps[0].picture, vectors("falco_step"), "image_step1")


def test_gradients(course: Course, vectors: Any) -> None:
    for step, theirs in zip(course.steps, vectors("falco_step")["step_grad"], strict=True):
        assert step.gradient is not None
        assert_same(step.gradient.reshape(theirs.shape), theirs, relative=1e-3, largest=float("inf"))


@contextmanager
def doubled(networks: Networks) -> Iterator[None]:
    """Holds the networks in double precision; float32 weights survive the way there and back."""
    modules = networks.generator, networks.recognizer, networks.features.network  # type: ignore[attr-defined]
    for module in modules:
        module.double()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.float()  # type: ignore[attr-defined]


def test_the_plain_form_has_the_reference_s_first_gradients(
        networks: Networks, filled: Any, fill: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's plain generator modulates weights, not maps, and so rounds as the reference does."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    plain = import_module("plain_falco").PlainStyleGAN2(filled("stylegan2_ffhq1024"))
    drawn = torch.from_numpy(fill.formula_image(1024, 1024, 0).transpose(2, 0, 1)[None].astype(np.float32) / 255)
    form = cast(Networks, SimpleNamespace(generator=plain))
    codes = WPlus(form, torch.from_numpy(fill.normal("falco/code_real", (18, 512)))[None],
                  torch.from_numpy(fill.normal("falco/code_fake", (1, 18, 512))), (3, 4, 5, 6, 7))
    cosine, attribute = measure(networks, targets_of(networks, drawn, raw=True), codes.picture(None), raw=True)
    for loss, name in ((cosine.abs(), "grad_id_step1"), (attribute, "grad_attr_step1")):
        found = torch.autograd.grad(loss.sum(), codes.moving, retain_graph=True)[0][0]
        assert_same(found, vectors("falco_step")[name], relative=1e-4, largest=float("inf"))


def test_the_first_gradients_are_exact(networks: Networks, fill: Any, vectors: Any) -> None:
    """Compares in double precision: in float32, rounding picks the slope at a few of 10 million kinks.

    The reference's own float32 gradient differs from the exact one by 7e-5, and its identity part by 2e-4. Two
    float32 programs that compute one layer in another order differ as much from each other.
    """
    reference, settings = vectors("falco_step"), Recipe.load("falco-reference").optimize
    drawn = torch.from_numpy(fill.formula_image(1024, 1024, 0).transpose(2, 0, 1)[None].astype(np.float64) / 255)
    codes = WPlus(networks, torch.from_numpy(fill.normal("falco/code_real", (18, 512)))[None].double(),
                  torch.from_numpy(fill.normal("falco/code_fake", (1, 18, 512))).double(), settings.layers)
    with doubled(networks):
        cosine, attribute = measure(networks, targets_of(networks, drawn, raw=True), codes.picture(None), raw=True)
        losses = cosine.abs(), attribute, loss_of(cosine, attribute, settings)
        identity, attributes, total = (torch.autograd.grad(loss.sum(), codes.moving, retain_graph=True)[0][0]
                                       for loss in losses)
    assert_same(total, reference["step_grad"][0], relative=1e-4, largest=float("inf"))
    assert_same(attributes, reference["grad_attr_step1"], relative=1e-4, largest=float("inf"))
    assert_same(identity, reference["grad_id_step1"], relative=3e-4, largest=float("inf"))


def test_codes(course: Course, vectors: Any) -> None:
    reference = vectors("falco_step")
    assert_same(course.initial, reference["initial_code"])
    middle = course.final[list(Recipe.load("falco-reference").optimize.layers)]
    after = [*(step.code for step in course.steps[1:]), middle]
    for ours, theirs, limit in zip(after, reference["step_trainable_code"], (1e-5, 1e-4, 1e-4), strict=True):
        assert np.abs(ours.numpy().reshape(theirs.shape) - theirs).max() <= limit
    assert np.abs(course.final.numpy() - reference["final_code"]).max() <= 1e-4
