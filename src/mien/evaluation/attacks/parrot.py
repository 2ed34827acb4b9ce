"""Attack `parrot`: the attacker trains a recognizer (SFace) on the anonymized faces of the people whom he knows.

Newton, Sweeney and Malin 2005 ("Preserving privacy by de-identifying face images") call it parrot recognition: faces
that a recognizer cannot recognize are recognized once the gallery, or the recognizer, has gone through the same change.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.evaluation.attacks.split import AttackSplit
from mien.evaluation.crops import Crops
from mien.evaluation.progress_callbacks import CountProgress
from mien.models.recognition.sface import SFace

STEPS = 150
PEOPLE = 16  # in a batch: one new face and one original of each
RATE = 1e-4
TEMPERATURE = 0.1


def adapt(network: SFace, split: AttackSplit, seed: int, progress: CountProgress = lambda done, total: None) -> None:
    """Trains a network in place so that new faces come nearer to their person's originals than to those of others."""
    old, new, people = split.part(known=True)
    before, after = old.views(), new.views()
    rng = np.random.default_rng(seed)
    everybody = np.unique(people)
    optimizer = torch.optim.Adam(network.requires_grad_(True).parameters(), lr=RATE)
    for step in range(STEPS):
        drawn = rng.permutation(everybody)[:PEOPLE]
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
    """Embeds faces as unit vectors [N, 128]."""
    views = crops.views()
    return torch.cat([network.identify(part) for part in torch.split(views, 32)])


def _draw(rng: np.random.Generator, people: np.ndarray, drawn: np.ndarray) -> tuple[Tensor, Tensor]:
    """Draws a row of a new face and one of an original per person: of different photographs where there are two."""
    first, second = [], []
    for person in drawn:
        rows = rng.permutation(np.flatnonzero(people == person))
        first.append(rows[0])
        second.append(rows[-1])
    return torch.from_numpy(np.array(first)), torch.from_numpy(np.array(second))
