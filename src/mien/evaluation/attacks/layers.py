"""Attack `layers`: the attacker knows the generator and compares the codes that the encoder reads from faces.

Where a recipe leaves layers alone (the paper changes the middle ones only) the codes of these are used; else all. How
much each number tells about a person is learned from the people whom the attacker knows.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.errors import UsageError
from mien.evaluation.attacks.split import AttackSplit
from mien.evaluation.crops import Crops
from mien.evaluation.privacy.reidentification import pairs_of_one_person
from mien.evaluation.provenance import recipe_of
from mien.models.bundle import Encoder
from mien.models.generators.mobilestylegan import N_LAYERS
from mien.recipe import OptimizeSettings

BATCH = 16
LEADING = 192  # of each layer's whitened numbers, the widest directions


def code_fingerprints(split: AttackSplit, encoder: Encoder, changed: Collection[int]) -> tuple[Tensor, Tensor]:
    """Computes vectors that identify the victims: (new faces, originals), both [M, D].

    Args:
        changed: the W+ layers that were optimized and are left out.
    """
    old, new, people = split.part(known=True)
    before, after = _codes(old, encoder, changed), _codes(new, encoder, changed)
    mean, std = torch.cat([before, after]).mean(dim=0), torch.cat([before, after]).std(dim=0) + 1e-6
    first, second = (torch.from_numpy(one) for one in _pairs(people))
    a, b = (after[first] - mean) / std, (before[second] - mean) / std
    alike = (a * b).mean(dim=0).clamp(0, 0.99)  # correlation of a new face with an original of the same person
    # What both say together counts as in the likelihood ratio of correlated normal numbers; what each says alone (how
    # rare its number is) a distance cannot.
    weight = (alike / (1 - alike.square())).sqrt()
    victims, victims_new, _ = split.part(known=False)
    return tuple((_codes(one, encoder, changed) - mean) / std * weight for one in (victims_new, victims))  # type: ignore[return-value]


def layers_changed(published: Path) -> tuple[int, ...]:
    """The W+ layers that the recorded recipe optimizes; empty where none is recorded, or where it optimizes all.

    Raises:
        UsageError: another version of mien made the photographs.
    """
    recipe = recipe_of(published)
    try:
        changed = OptimizeSettings(layers=tuple(recipe["optimize"]["layers"])).changed(N_LAYERS)
    except (ValueError, KeyError, TypeError, UsageError):
        return ()
    return changed if len(changed) < N_LAYERS else ()


def _pairs(people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of new faces and of other originals of the same person; where each has one, of the own originals."""
    first, second = pairs_of_one_person(people)
    if not len(first):
        return np.arange(len(people)), np.arange(len(people))
    return np.concatenate([first, second]), np.concatenate([second, first])


@torch.inference_mode()
def _codes(crops: Crops, encoder: Encoder, changed: Collection[int]) -> Tensor:
    """Codes [N, D] of the layers that the optimization leaves alone."""
    parts = []
    for first in range(0, len(crops), BATCH):
        codes = encoder(crops.at(np.arange(first, min(first + BATCH, len(crops)))).images())
        left = [layer for layer in range(codes.shape[1]) if layer not in changed]
        parts.append(codes[:, left, :LEADING].flatten(1).float())
    return torch.cat(parts)
