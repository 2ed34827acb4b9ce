"""Optimizes latent codes until a face shows another person with the same attributes (FALCO, arXiv 2303.11296).

The W+ layers start between the pool face and the inversion: pose and colors need not be found anew, so that half as
many steps are enough. They move until the recognizer no longer recognizes the person and takes the face for the pool
face, and the attributes are as near to the original as they get. Layers that are left out stay the inversion's; the
paper moves the middle layers only, but the others carry identity as well.
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

BETAS = (0.8, 0.99)  # of Adam, lower than usual: its running means have to catch up within few steps
JITTER = 0.03  # of the recognizer's view, see `mien.util.image_tensors.jitter`
MARGIN_SLACK = 0.03  # about how exactly the cosine is known, since it is measured on jittered views


@dataclass(frozen=True)
class Optimized:
    """Holds the result of an optimization.

    Attributes:
        codes: whitened codes [B, L, 512]. similarity: cosine [B] to the original by the recognizer in the loss.
        attribute_distance: feature distance [B] to the original within the face. steps: number of steps taken, [B] int.
        styles: styles, each [B, C], of a result in S space, or None in W+; in S space `codes` are the inversion's.
    """

    codes: Tensor
    similarity: Tensor
    attribute_distance: Tensor
    steps: Tensor
    styles: list[Tensor] | None = None


def optimize(networks: Networks, faces: Faces, inverted: Tensor, paired: Tensor, settings: OptimizeSettings,
             seed: int, target: Tensor | None = None) -> Optimized:
    """Optimizes a batch; every face keeps its best step and leaves the batch when both its goals are met.

    The arguments may be on any device; the networks' device computes, and the result is in main memory.

    Args:
        inverted: whitened codes [B, L, 512] of the real faces. paired: whitened codes [B, 512] of the pool faces.
        seed: seed of the jitter.
        target: identities [B, D] to become like, or None to become unlike the original only.

    Raises:
        UsageError: the generator has none of the layers.
    """
    rng = torch.Generator().manual_seed(seed)
    device = networks.device
    faces, inverted, paired = shrunk(networks, faces, settings.size), inverted.to(device), paired.to(device)
    target = None if target is None else target.to(device)
    layers = list(settings.changed(inverted.shape[1]))
    middle = paired[:, None].lerp(inverted[:, layers], settings.share).requires_grad_()
    optimizer = torch.optim.Adam([middle], lr=settings.rate, betas=BETAS)
    best = inverted.clone()
    best[:, layers] = middle.detach()
    n = len(faces)
    best_loss, similarity, distance = (torch.full((n,), torch.inf, device=device) for _ in range(3))
    steps, active = torch.zeros(n, dtype=torch.long, device=device), torch.arange(n, device=device)
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.rate * 0.8 ** ((step >= 0.75 * settings.steps)
                                                                  + (step >= 0.9 * settings.steps))
        codes = inverted[active].clone()
        codes[:, layers] = middle[active]
        part = faces.rows(active)
        loss, cosine, attribute = _losses(networks, part, codes, layers, settings, rng,
                                          None if target is None else target[active])
        # A step that is still too much like the person is kept only as long as there is no other.
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
    """Computes the loss, the cosine to the original and the attribute distance, each [B]."""
    image = networks.preview(networks.generator.color(codes), settings.size)
    side, device = image.shape[-1], image.device
    face = ellipse(side, device=device) * faces.inside
    vectors = identity_of(networks, image, jitter(faces.view, JITTER, VIEW, rng))
    cosine = (vectors * faces.identity).sum(dim=1)
    loss = settings.identity_weight * (cosine - settings.margin).clamp(min=0)
    if target is not None:
        loss = loss + settings.target_weight * (1 - (vectors * target).sum(dim=1))
    attribute = feature_distance(networks.features.weights, networks.features(image), faces.features, face)
    loss = loss + settings.attribute_weight * attribute
    loss = loss + settings.color_weight * color_distance(image, faces.image, face)
    ring = ellipse(side, grow=0.15, device=device) - ellipse(side, grow=-0.08, device=device)
    seam = ring.clamp(min=0) * faces.inside
    loss = loss + settings.seam_weight * color_distance(image, faces.image, seam, size=64)
    middle = codes[:, layers]
    loss = loss + settings.prior_weight * F.relu(middle.square().mean(dim=(1, 2)) - 0.6)
    spread = (middle - middle.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
    return loss + settings.spread_weight * spread, cosine, attribute
