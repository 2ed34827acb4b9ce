"""The attacker who knows the generator: its codes, told again by the encoder, as a fingerprint.

Where a recipe leaves layers alone (the paper changes the middle ones only), these; else all. How much each number tells
of a person is learned from the people he knows.
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
from mien.evaluation.privacy import pairs_of_one_person
from mien.evaluation.provenance import recipe_of
from mien.models.bundle import Encoder
from mien.models.generators.mobilestylegan import N_LAYERS
from mien.recipe import OptimizeSettings

BATCH = 16
LEADING = 192  # of each layer's whitened numbers, the widest directions


def fingerprints(setting: AttackSplit, encoder: Encoder, changed: Collection[int]) -> tuple[Tensor, Tensor]:
    """(new, originals) [M, D] of the people the attacker is after; `changed`: W+ layers that say nothing."""
    old, new, people = setting.part(known=True)
    before, after = _codes(old, encoder, changed), _codes(new, encoder, changed)
    mean, spread = torch.cat([before, after]).mean(dim=0), torch.cat([before, after]).std(dim=0) + 1e-6
    first, second = (torch.from_numpy(one) for one in _pairs(people))
    a, b = (after[first] - mean) / spread, (before[second] - mean) / spread
    alike = (a * b).mean(dim=0).clamp(0, 0.99)  # correlation of a new face with an original of the same person
    # What both say together counts as in the likelihood ratio of correlated normal numbers; what each says alone (how
    # rare its number is) a distance cannot.
    weight = (alike / (1 - alike.square())).sqrt()
    victims, victims_new, _ = setting.part(known=False)
    return tuple((_codes(one, encoder, changed) - mean) / spread * weight for one in (victims_new, victims))  # type: ignore[return-value]


def layers_changed(published: Path) -> tuple[int, ...]:
    """As the recipe says that a run has put beside its photographs; none where there is none, or where all were."""
    try:
        changed = OptimizeSettings(layers=tuple(recipe_of(published)["optimize"]["layers"])).changed(N_LAYERS)
    except (ValueError, KeyError, TypeError, UsageError):
        return ()
    return changed if len(changed) < N_LAYERS else ()


def _pairs(people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of new faces and of other originals of the same person; of the own originals, where nobody has two."""
    first, second = pairs_of_one_person(people)
    if not len(first):
        return np.arange(len(people)), np.arange(len(people))
    return np.concatenate([first, second]), np.concatenate([second, first])


@torch.inference_mode()
def _codes(crops: Crops, encoder: Encoder, changed: Collection[int]) -> Tensor:
    """[N, D] of the layers that the optimization leaves alone."""
    parts = []
    for first in range(0, len(crops), BATCH):
        codes = encoder(crops.at(np.arange(first, min(first + BATCH, len(crops)))).images())
        left = [layer for layer in range(codes.shape[1]) if layer not in changed]
        parts.append(codes[:, left, :LEADING].flatten(1).float())
    return torch.cat(parts)
