"""Three steps of the reference's optimisation, digit by digit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from agreement import assert_same

from mien.models.arcface import ArcFace
from mien.models.features import TokenFeatures
from mien.models.networks import Networks
from mien.models.stylegan2 import StyleGAN2, prepare_stylegan2
from mien.models.vit import VisionTransformer
from mien.recipe import Recipe
from mien.stages.falco import WPlus, descend, measure, targets_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def networks(filled: Any) -> Networks:
    recogniser = ArcFace()
    recogniser.load_state_dict(filled("arcface_ir_se50"))
    made = SimpleNamespace(
        generator=StyleGAN2(prepare_stylegan2(filled("stylegan2_ffhq1024"))), recogniser=recogniser,
        features=TokenFeatures(VisionTransformer(filled("farl_vitb16_visual", "visual."))))
    return cast(Networks, made)


def test_losses(networks: Networks, vectors: Any, waves: Any) -> None:
    identity, attribute = vectors("arcface_ir_se50"), vectors("farl_vitb16_visual")
    with torch.inference_mode():
        goal = targets_of(networks, waves("idloss/real0", size=(1024, 1024), low=0), raw=True)
        cosine, _ = measure(networks, goal, waves("idloss/fake0", size=(1024, 1024)), raw=True)
        expected = float(identity["idloss_margin0.0_fake0_vs_real0"])
        assert abs(float(cosine)) == pytest.approx(expected, rel=1e-5)
        goal = targets_of(networks, waves("attrloss/real0", size=(1024, 1024), low=0), raw=True)
        for name, size in (("fake0", (1024, 1024)), ("rect", (300, 420))):
            _, distance = measure(networks, goal, waves(f"attrloss/{name}", size=size), raw=True)
            assert float(distance) == pytest.approx(float(attribute[f"attrloss_real0_{name}"]), rel=1e-5)


def test_three_steps(networks: Networks, vectors: Any, fill: Any) -> None:
    reference = vectors("falco_step")
    settings = Recipe.load("falco-reference").optimise.model_copy(update={"steps": 3})
    drawn = fill.formula_image(1024, 1024, 0).transpose(2, 0, 1)[None].astype(np.float32) / 255
    goal = targets_of(networks, torch.from_numpy(drawn), settings.reference)
    real = torch.from_numpy(fill.normal("falco/code_real", (18, 512)))[None]
    codes = WPlus(networks, real, torch.from_numpy(fill.normal("falco/code_fake", (1, 18, 512))), settings.layers)
    assert_same(codes.w_plus().detach()[0], reference["initial_code"])
    seen: list[tuple[float, float, torch.Tensor]] = []
    picture = codes.picture

    def watched(size: int | None) -> torch.Tensor:
        image = picture(size)
        with torch.no_grad():
            cosine, attribute = measure(networks, goal, image, settings.reference)
        seen.append((float(cosine.abs()), float(attribute), codes.moving[0].detach().clone()))
        return image

    codes.picture = watched  # type: ignore[method-assign]
    descend(networks, goal, codes, settings)
    assert [row[0] for row in seen] == pytest.approx(list(reference["step_id_loss"]), rel=1e-4)
    assert [row[1] for row in seen] == pytest.approx(list(reference["step_attr_loss"]), rel=1e-5)
    after = [*(row[2] for row in seen[1:]), codes.moving[0].detach()]
    for ours, theirs, limit in zip(after, reference["step_trainable_code"], (1e-5, 1e-4, 1e-4), strict=True):
        assert np.abs(ours.numpy().reshape(theirs.shape) - theirs).max() <= limit
    assert np.abs(codes.w_plus().detach()[0].numpy() - reference["final_code"]).max() <= 1e-4
