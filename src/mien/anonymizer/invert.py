"""Invert: the whitened W+ codes whose picture is the real face.

Optimization in whitened codes, where the generator's faces are about a unit normal and mistakes stay faces
(Zhu et al. 2020, arXiv 2012.09036): first one code for all layers, then each layer gets a small offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mien.anonymizer.losses import Faces, face_weight, feature_distance, identity_of, pixel_distance, shrunk
from mien.models.bundle import Networks
from mien.recipe import InvertSettings

BETAS = (0.6, 0.9)  # Adam's: of so few steps none may be spent on waiting for its means


@dataclass(frozen=True)
class Inversion:
    """Result of inversion.

    Attributes:
        codes: [B, L, 512] whitened. error: [B] pixel distance to the real face at the size looked at, infinite without
        steps. steps: taken.
    """

    codes: Tensor
    error: Tensor
    steps: int


def invert(networks: Networks, faces: Faces, settings: InvertSettings) -> Inversion:
    """Find the codes of a batch of real faces, starting from the encoder's guess; the best step is kept.

    Args:
        faces: aligned real faces, targets computed, where the networks are. With no steps the guess is the result.

    Returns:
        Codes and errors in this machine's memory.
    """
    with torch.no_grad():
        start = networks.encoder(faces.image)
    if not settings.steps:
        return Inversion(start.cpu(), torch.full((len(faces),), torch.inf), 0)
    faces = shrunk(networks, faces, settings.size)
    shared = start.mean(dim=1, keepdim=True).requires_grad_()
    offsets = (start - shared.detach()).clone().requires_grad_()
    weight = face_weight(faces, settings.outside_weight)
    optimizer = torch.optim.Adam([{"params": [shared], "lr": settings.rate},
                                  {"params": [offsets], "lr": settings.offset_rate}], betas=BETAS)
    best, best_loss = start.clone(), torch.full((len(faces),), torch.inf, device=start.device)
    error = best_loss.clone()
    for step in range(settings.steps):
        late = step / settings.steps
        optimizer.param_groups[0]["lr"] = settings.rate * (
            1.0 if late < 0.6 else 0.5 if late < 0.85 else 0.25)
        optimizer.param_groups[1]["lr"] = 0.0 if step < settings.shared_steps else (
            settings.offset_rate * (1.0 if late < 0.85 else 0.5))
        codes = shared + offsets
        image = networks.preview(networks.generator.color(codes), settings.size)
        pixels = pixel_distance(image, faces.image, weight)
        features = feature_distance(networks.features.weights, networks.features(image), faces.features)
        loss = pixels + settings.feature_weight * features
        # One code for all layers cannot be so exact that identity would matter.
        if settings.identity_weight and step >= settings.shared_steps:
            cosine = (identity_of(networks, image, faces.view) * faces.identity).sum(dim=1)
            loss = loss + settings.identity_weight * (1 - cosine)
        prior = (shared.square().mean(dim=(1, 2)) - 1).clamp(min=0)
        loss = loss + prior + settings.offset_weight * offsets.square().mean(dim=(1, 2))
        if settings.identity_weight and step == settings.shared_steps:
            best_loss.fill_(torch.inf)  # from here on the loss has one more term
        better = loss.detach() < best_loss
        best[better], best_loss[better] = codes.detach()[better], loss.detach()[better]
        error[better] = pixels.detach()[better]
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Inversion(best.cpu(), error.cpu(), settings.steps)
