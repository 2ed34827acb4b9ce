"""Attack `reversal`: the attacker trains a network to undo the change, on the people whom he knows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.anonymizer.losses import VIEW, view_matrix
from mien.evaluation.attacks.split import AttackSplit
from mien.evaluation.crops import Crops
from mien.evaluation.progress_callbacks import CountProgress
from mien.models.recognition.sface import SFace
from mien.util.image_tensors import to_pixels, view

SIZE = 96  # px
WIDTHS = (24, 48, 96, 128)
STEPS = 250
BATCH = 8
RATE = 1e-3
IDENTITY_WEIGHT = 0.5


class UndoNetwork(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597): new face [B, 3, 96, 96] -> original face."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.last = nn.Conv2d(WIDTHS[0], 3, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        left: list[Tensor] = []
        for block in self.down:
            x = block(F.avg_pool2d(x, 2) if left else x)
            left.append(x)
        for block, held in zip(self.up, left[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), held], dim=1))
        change: Tensor = self.last(x)
        return image + change  # it begins by changing nothing


def _block(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU(),
                         nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU())


def learn(split: AttackSplit, recognizer: SFace, seed: int,
          progress: CountProgress = lambda done, total: None) -> UndoNetwork:
    """Trains a network on the known people's pairs; the loss compares pixels and the recognizer's vectors."""
    old, new, _ = split.part(known=True)
    before, after = _small(old), _small(new)
    scale = SIZE / old.pixels.shape[1]
    matrices = torch.cat([view_matrix((points + 0.5) * scale - 0.5) for points in old.points])
    wanted = torch.cat([recognizer.identify(view(image[None], matrix[None], VIEW))
                        for image, matrix in zip(before, matrices, strict=True)])
    torch.manual_seed(seed)
    network = UndoNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    rng = np.random.default_rng(seed)
    for step in range(STEPS):
        rows = torch.from_numpy(rng.integers(len(before), size=BATCH))
        undone = network(after[rows])
        likeness = (recognizer.identify(view(undone, matrices[rows], VIEW)) * wanted[rows]).sum(dim=1)
        loss = (undone - before[rows]).abs().mean() + IDENTITY_WEIGHT * (1 - likeness).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - (step + 1) / STEPS)
        progress(step + 1, STEPS)
    network.eval().requires_grad_(False)
    return network


@torch.inference_mode()
def undo(network: UndoNetwork, crops: Crops) -> Crops:
    """Guesses the original faces of new ones."""
    parts = [to_pixels(F.interpolate(network(part).clamp(-1, 1), size=crops.pixels.shape[1:3], mode="bilinear",
                                     align_corners=False)).numpy() for part in torch.split(_small(crops), BATCH)]
    return Crops(np.concatenate(parts), crops.points)


def _small(crops: Crops) -> Tensor:
    parts = [F.interpolate(crops.at(np.array([i])).images(), size=(SIZE, SIZE), mode="area") for i in range(len(crops))]
    return torch.cat(parts)
