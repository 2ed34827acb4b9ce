"""The attacker who adapts a recognizer to anonymized faces: SFace, trained on the people he knows.

Newton et al. 2005 call it the parrot: what cannot be recognized as it is, is recognized once the gallery, or the
recognizer, has gone through the same change (Newton, Sweeney, Malin 2005, "Preserving privacy by de-identifying face
images").
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.evaluation.attacks.split import AttackSplit
from mien.evaluation.crops import Crops
from mien.models.recognition.sface import SFace

STEPS = 150
PAIRS = 16  # people in a batch: one new face and one original of each
RATE = 1e-4
TEMPERATURE = 0.1


def adapt(network: SFace, setting: AttackSplit, seed: int,
          progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Train in place: a person's new face shall be nearer to the person's originals than to those of others."""
    old, new, people = setting.part(known=True)
    before, after = old.views(), new.views()
    rng = np.random.default_rng(seed)
    everybody = np.unique(people)
    optimizer = torch.optim.Adam(network.requires_grad_(True).parameters(), lr=RATE)
    for step in range(STEPS):
        drawn = rng.permutation(everybody)[:PAIRS]
        a, b = _draw(rng, people, drawn)
        mirror = bool(rng.integers(2))
        batch = torch.cat([after[a], before[b]])
        x, y = network.identify(batch.flip(3) if mirror else batch).chunk(2)
        own = torch.arange(len(drawn))
        alike = x @ y.T / TEMPERATURE
        loss = (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        progress(step + 1, STEPS)
    network.requires_grad_(False)


@torch.inference_mode()
def recognize(network: SFace, crops: Crops) -> Tensor:
    """Unit vectors [N, 128]."""
    views = crops.views()
    return torch.cat([network.identify(part) for part in torch.split(views, 32)])


def _draw(rng: np.random.Generator, people: np.ndarray, drawn: np.ndarray) -> tuple[Tensor, Tensor]:
    """A new face and an original of each: another photograph where there is one."""
    first, second = [], []
    for person in drawn:
        rows = rng.permutation(np.flatnonzero(people == person))
        first.append(rows[0])
        second.append(rows[-1])
    return torch.from_numpy(np.array(first)), torch.from_numpy(np.array(second))
