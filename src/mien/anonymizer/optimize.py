"""Optimize: the latent code of a face that looks the same and is somebody else (FALCO, arXiv 2303.11296).

The W+ layers start between the paired generated face and the inversion: pose and colors need not be found anew, and
the same is reached in half as many steps. They are moved until the recognizer no longer knows the person and takes the
face for the paired one, and the attributes are as near to the original as they get. Layers left out stay the
inversion's; the paper changes the middle ones only, but the others tell who somebody is as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.anonymizer.losses import VIEW, Faces, color_distance, feature_distance, identity_of, shrunk
from mien.models.bundle import Networks
from mien.recipe import OptimizeSettings
from mien.util.image_tensors import ellipse, jitter

BETAS = (0.8, 0.99)  # Adam's: of so few steps none may be spent on waiting for its means
JITTER = 0.03
MARGIN_SLACK = 0.03  # the cosine is judged on jittered views, so it is only known to about this much


@dataclass(frozen=True)
class Optimized:
    """Result of the optimization.

    Attributes:
        codes: [B, L, 512] whitened. similarity: [B] cosine to the original by the recognizer in the loss.
        attribute_distance: [B] feature distance to the original within the face. steps: [B] int, taken.
        styles: where the result has left W+ for S space, its styles [B, C]; codes are the inversion's then.
    """

    codes: Tensor
    similarity: Tensor
    attribute_distance: Tensor
    steps: Tensor
    styles: list[Tensor] | None = None


def optimize(networks: Networks, faces: Faces, inverted: Tensor, paired: Tensor, settings: OptimizeSettings,
             seed: int, target: Tensor | None = None) -> Optimized:
    """Optimize a batch; every face keeps its best step and leaves the batch when both its goals are met.

    It is done where the networks are; what is given may lie elsewhere, and the result is in this machine's memory.

    Args:
        inverted: [B, L, 512] whitened codes of the real faces. paired: [B, 512] of the pool faces. seed: of the
            jitter. target: [B, D] identities to become, or None for anybody else.

    Raises:
        UsageError: the generator has none of the layers.
    """
    rng = torch.Generator().manual_seed(seed)
    here = networks.device
    faces, inverted, paired = shrunk(networks, faces, settings.size), inverted.to(here), paired.to(here)
    target = None if target is None else target.to(here)
    layers = list(settings.changed(inverted.shape[1]))
    middle = paired[:, None].lerp(inverted[:, layers], settings.share).requires_grad_()
    optimizer = torch.optim.Adam([middle], lr=settings.rate, betas=BETAS)
    best = inverted.clone()
    best[:, layers] = middle.detach()
    n = len(faces)
    best_loss, similarity, distance = (torch.full((n,), torch.inf, device=here) for _ in range(3))
    steps, active = torch.zeros(n, dtype=torch.long, device=here), torch.arange(n, device=here)
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.rate * 0.8 ** ((step >= 0.75 * settings.steps)
                                                                  + (step >= 0.9 * settings.steps))
        codes = inverted[active].clone()
        codes[:, layers] = middle[active]
        part = faces.rows(active)
        loss, cosine, attribute = _losses(networks, part, codes, layers, settings, rng,
                                          None if target is None else target[active])
        # A step that is still too like the person is only kept where no other is at hand.
        rank = loss.detach() + 10 * (cosine.detach() - settings.margin - MARGIN_SLACK).clamp(min=0)
        better = active[rank < best_loss[active]]
        where = rank < best_loss[active]
        best[better], best_loss[better] = codes.detach()[where], rank[where]
        similarity[better], distance[better] = cosine.detach()[where], attribute.detach()[where]
        steps[active] = step + 1
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        active = active[~((cosine <= settings.margin) & (attribute <= settings.attribute_goal))]
        if len(active) == 0:
            break
    return Optimized(best.cpu(), similarity.cpu(), distance.cpu(), steps.cpu())


def _losses(networks: Networks, faces: Faces, codes: Tensor, layers: list[int], settings: OptimizeSettings,
            rng: torch.Generator, target: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, cosine to the original and attribute distance, each [B]."""
    image = networks.preview(networks.generator.color(codes), settings.size)
    side, here = image.shape[-1], image.device
    face = ellipse(side, device=here) * faces.inside
    vectors = identity_of(networks, image, jitter(faces.view, JITTER, VIEW, rng))
    cosine = (vectors * faces.identity).sum(dim=1)
    loss = settings.identity_weight * (cosine - settings.margin).clamp(min=0)
    if target is not None:
        loss = loss + settings.target_weight * (1 - (vectors * target).sum(dim=1))
    attribute = feature_distance(networks.features.weights, networks.features(image), faces.features, face)
    loss = loss + settings.attribute_weight * attribute
    loss = loss + settings.color_weight * color_distance(image, faces.image, face)
    ring = ellipse(side, grow=0.15, device=here) - ellipse(side, grow=-0.08, device=here)
    seam = ring.clamp(min=0) * faces.inside
    loss = loss + settings.seam_weight * color_distance(image, faces.image, seam, size=64)
    middle = codes[:, layers]
    loss = loss + settings.prior_weight * F.relu(middle.square().mean(dim=(1, 2)) - 0.6)
    spread = (middle - middle.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
    return loss + settings.spread_weight * spread, cosine, attribute
