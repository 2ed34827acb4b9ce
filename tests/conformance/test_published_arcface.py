from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.agreement import assert_same
from mien.anonymizer.optimize_falco import loss_of
from mien.models.features.resize import fit_square
from mien.models.recognition.arcface import ArcFace, face_view
from mien.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(filled: Any) -> ArcFace:
    network = ArcFace()
    network.load_state_dict(filled("arcface_ir_se50"))
    return network


@pytest.fixture(scope="module")
def pictures(waves: Any) -> dict[str, torch.Tensor]:
    return {"real1024": waves("idloss/real0", "idloss/real1", size=(1024, 1024), low=0),
            "fake1024": waves("idloss/fake0", "idloss/fake1", size=(1024, 1024)),
            "real256": waves("idloss/real256_0", "idloss/real256_1", size=(256, 256), low=0),
            "rect300x420": waves("idloss/rect", size=(300, 420))}


@torch.inference_mode()
def test_embeddings_of_aligned_faces(network: ArcFace, vectors: Any, waves: Any) -> None:
    faces = waves(*(f"arcface/x{i}" for i in range(3)), size=(112, 112))
    assert_same(network(faces), vectors("arcface_ir_se50")["embedding_112"])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["real1024", "fake1024", "real256", "rect300x420"])
def test_the_fixed_cut_and_its_embedding(network: ArcFace, vectors: Any, pictures: Any, name: str) -> None:
    reference, image = vectors("arcface_ir_se50"), pictures[name]
    assert_same(fit_square(image, 256)[..., 96:128, 96:128], reference[f"{name}_resized_patch"])
    view = face_view(image)
    assert_same(view[..., 40:72, 40:72], reference[f"{name}_pooled112_patch"])
    assert_same(network(view), reference[f"{name}_embedding"])


def identity_loss(network: ArcFace, new: torch.Tensor, real: torch.Tensor, margin: float) -> torch.Tensor:
    """Returns the identity part of the optimization's loss, averaged over the batch."""
    alone = Recipe.load("falco-reference").optimize.model_copy(
        update={"margin": margin, "identity_weight": 1.0, "attribute_weight": 0.0})
    cosine = (network(face_view(new)) * network(face_view(real))).sum(dim=1)
    return loss_of(cosine, torch.zeros_like(cosine), alone).mean()


@torch.inference_mode()
@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pair", ["fake_vs_real1024", "real256_vs_real1024", "fake0_vs_real0"])
def test_identity_loss(network: ArcFace, vectors: Any, pictures: Any, pair: str, margin: float) -> None:
    sides = {"fake_vs_real1024": (pictures["fake1024"], pictures["real1024"]),
             "real256_vs_real1024": (pictures["real256"], pictures["real1024"]),
             "fake0_vs_real0": (pictures["fake1024"][:1], pictures["real1024"][:1])}
    expected = float(vectors("arcface_ir_se50")[f"idloss_margin{margin}_{pair}"])
    assert float(identity_loss(network, *sides[pair], margin)) == pytest.approx(expected, rel=1e-5)


def mirrored(module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """Moves the few inputs that are within float32's rounding of the kink to its other side."""
    x, = inputs
    near = x.abs() < 1e-6 * x.std()
    return x - (2 * x * near).detach()


def test_gradient_of_the_identity_loss(network: ArcFace, vectors: Any, pictures: Any) -> None:
    """With one of 50,000 inputs of a PReLU 1e-7 from its kink, rounding decides which of two slopes it has."""
    reference, image = vectors("arcface_ir_se50"), pictures["fake1024"][:1].clone().requires_grad_()
    cells, norm = reference["idloss_margin0_grad_fake0_area64"], float(reference["idloss_margin0_grad_fake0_norm"])
    gradients = []
    for kink in (None, *(module for module in network.modules() if isinstance(module, nn.PReLU))):
        hook = kink.register_forward_pre_hook(mirrored) if kink else None
        loss = identity_loss(network, image, pictures["real1024"][:1], 0.0)
        gradients.append(torch.autograd.grad(loss, image)[0])
        if hook:
            hook.remove()
    found = min(gradients, key=lambda one: np.linalg.norm(F.avg_pool2d(one, 16) * 16**2 - cells))
    assert_same(F.avg_pool2d(found, 16) * 16**2, cells, relative=1e-4, largest=float("inf"))
    assert float(found.norm()) == pytest.approx(norm, rel=1e-4)
    assert_same(F.avg_pool2d(gradients[0], 16) * 16**2, cells, relative=3e-3, largest=float("inf"))
