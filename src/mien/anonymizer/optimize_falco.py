"""Optimizes latent codes as the paper does (FALCO, CVPR 2023, arXiv 2303.11296), with its losses and its schedule.

    L = identity_weight |cos(ArcFace(new), ArcFace(real)) - margin|
        + attribute_weight (sum over tokens of the mean absolute difference)

The codes of the chosen layers start from the pool face's, all others stay the inversion's, Adam takes a fixed number of
steps and the last one counts. In the reference code real pictures enter both networks in 0..1, generated ones
in about -1..1, and the attribute network's input is not normalized: `reference` does so too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mien.anonymizer.losses import Faces
from mien.anonymizer.optimize import Optimized
from mien.models.bundle import Networks
from mien.models.generators.stylegan2 import StyleGAN2
from mien.models.recognition.arcface import face_view
from mien.recipe import OptimizeSettings


@dataclass(frozen=True)
class Targets:
    """Holds what the two networks compute of the real faces, once.

    Attributes:
        identity: the recognizer's unit vectors [B, D]. tokens: the attribute network's features [B, T, C].
    """

    identity: Tensor
    tokens: Tensor


class Codes(Protocol):
    """Holds codes of which some layers are optimized.

    Attributes:
        moving: the tensors that the optimizer changes.
    """

    moving: list[Tensor]

    def picture(self, size: int | None) -> Tensor:
        """Renders the faces [B, 3, size, size] of the current codes; None for full size."""

    def w_plus(self) -> Tensor | None:
        """Returns the current codes [B, L, 512], or None where they are not in W+."""


class WPlus:
    """Optimizes in W+: the codes of the chosen layers move.

    Args:
        real: codes [B, L, 512] of the inverted faces. paired: codes [B, 512] or [B, L, 512] of the pool faces.
    """

    def __init__(self, networks: Networks, real: Tensor, paired: Tensor, layers: tuple[int, ...]) -> None:
        self.networks, self.real, self.layers = networks, real, list(layers)
        paired = paired[:, None].expand_as(real) if paired.ndim == 2 else paired
        self.moving = [paired[:, self.layers].clone().requires_grad_()]

    def w_plus(self) -> Tensor:
        codes = self.real.clone()
        codes[:, self.layers] = self.moving[0]
        return codes

    def picture(self, size: int | None) -> Tensor:
        codes = self.w_plus()
        return self.networks.generator(codes) if size is None else self.networks.preview(codes)


class StyleSpace:
    """Optimizes in S space: the styles of the chosen layers move, each channel by itself, from the pool face's on."""

    def __init__(self, generator: StyleGAN2, real: Tensor, paired: Tensor, layers: tuple[int, ...],
                 precision: torch.dtype = torch.float32) -> None:
        self.generator, self.precision = generator, precision
        paired = paired[:, None].expand_as(real) if paired.ndim == 2 else paired
        with torch.no_grad():
            self.styles, start = generator.styles(real), generator.styles(paired)
        self.indices = [i for i, layer in enumerate(generator.style_layers) if layer in layers]
        self.moving = [start[i].clone().requires_grad_() for i in self.indices]

    def w_plus(self) -> None:
        return None

    def current_styles(self) -> list[Tensor]:
        """Returns all styles as they are now."""
        moved = dict(zip(self.indices, self.moving, strict=True))
        return [moved.get(i, style) for i, style in enumerate(self.styles)]

    def picture(self, size: int | None) -> Tensor:
        return self.generator.synthesize(self.current_styles(), size, self.precision)


def optimize_as_published(networks: Networks, faces: Faces, inverted: Tensor, paired: Tensor,
                          settings: OptimizeSettings) -> Optimized:
    """Optimizes a batch of faces by the paper's method.

    Args:
        inverted: whitened codes [B, L, 512] of the real faces. paired: whitened codes [B, 512] of the pool faces that
            they start from.

    Raises:
        UsageError: the settings ask for S space, and the generator has none.
    """
    from mien.errors import UsageError

    generator = networks.generator
    real, start = generator.color(inverted), generator.color(paired)
    codes: WPlus | StyleSpace
    layers = settings.changed(inverted.shape[1])
    if settings.space == "s":
        if not isinstance(generator, StyleGAN2):
            raise UsageError("this generator has no S space", "give --models falco, or --set optimize.space=w+")
        codes = StyleSpace(generator, real, start, layers, networks.precision)
    else:
        codes = WPlus(networks, real, start, layers)
    image = (faces.image + 1) / 2 if settings.reference else faces.image
    goal = targets_of(networks, image, settings.reference)
    cosine, attribute = descend(networks, goal, codes, settings)
    n = len(inverted)
    wp = codes.w_plus()
    steps = torch.full((n,), settings.steps)
    if wp is None:
        assert isinstance(codes, StyleSpace)
        styles = [style.detach() for style in codes.current_styles()]
        return Optimized(inverted.cpu(), cosine.cpu(), attribute.cpu(), steps, [style.cpu() for style in styles])
    return Optimized(generator.whiten(wp.detach()).cpu(), cosine.cpu(), attribute.cpu(), steps)


@torch.no_grad()
def targets_of(networks: Networks, image: Tensor, raw: bool) -> Targets:
    """Computes the targets of real faces [B, 3, H, W]; `raw`: without the attribute network's mean and deviation."""
    return Targets(networks.recognizer.identify(face_view(image)), networks.features.tokens(image, raw))


def descend(networks: Networks, goal: Targets, codes: Codes, settings: OptimizeSettings) -> tuple[Tensor, Tensor]:
    """Takes all steps; `codes` are left as they are after the last one.

    Returns:
        Cosine to the original and attribute loss [B], both before the last step.
    """
    optimizer = torch.optim.Adam(codes.moving, lr=settings.rate)
    milestones = [int(0.75 * settings.steps), int(0.9 * settings.steps)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.8)
    cosine = attribute = goal.identity.new_zeros(len(goal.identity))
    size = None if settings.full_size else 256
    for _ in range(settings.steps):
        cosine, attribute = measure(networks, goal, codes.picture(size), settings.reference)
        gradients = torch.autograd.grad(loss_of(cosine, attribute, settings).sum(), codes.moving)
        for code, gradient in zip(codes.moving, gradients, strict=True):
            code.grad = gradient
        optimizer.step()
        schedule.step()
    return cosine.detach(), attribute.detach()


def measure(networks: Networks, goal: Targets, image: Tensor, raw: bool) -> tuple[Tensor, Tensor]:
    """Computes the cosine to the original, and the sum over tokens of the mean absolute difference: each [B]."""
    cosine = (networks.recognizer.identify(face_view(image)) * goal.identity).sum(dim=1)
    attribute = (networks.features.tokens(image, raw) - goal.tokens).abs().mean(dim=2).sum(dim=1)
    return cosine, attribute


def loss_of(cosine: Tensor, attribute: Tensor, settings: OptimizeSettings) -> Tensor:
    """Computes the loss of each face [B]."""
    return settings.identity_weight * (cosine - settings.margin).abs() + settings.attribute_weight * attribute
