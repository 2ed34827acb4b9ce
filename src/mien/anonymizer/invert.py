"""Inverts faces: finds the whitened W+ codes whose picture is the real face.

The codes are optimized in whitened space, where the generator's faces are about a unit normal and wrong codes still
give faces (Zhu et al. 2020, arXiv 2012.09036): first one code for all layers, then each layer gets a small offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mien.anonymizer.losses import Faces, face_weight, feature_distance, identity_of, pixel_distance, shrunk
from mien.models.bundle import Networks
from mien.recipe import InvertSettings

BETAS = (0.6, 0.9)  # of Adam, lower than usual: its running means have to catch up within few steps


@dataclass(frozen=True)
class Inversion:
    """Holds the result of an inversion.

    Attributes:
        codes: whitened codes [B, L, 512]. error: pixel distance [B] to the real face at the size that is compared,
            infinite without steps. steps: number of steps taken.
    """

    codes: Tensor
    error: Tensor
    steps: int


def invert(networks: Networks, faces: Faces, settings: InvertSettings) -> Inversion:
    """Finds the codes of a batch of real faces, starting from the encoder's guess, and keeps each face's best step.

    Args:
        faces: aligned real faces and their targets, on the networks' device.
        settings: with 0 steps the encoder's guess is the result.

    Returns:
        Codes and errors in main memory.
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
        # A code that all layers share is too coarse for the identity to matter.
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
