"""Trains the attribute judge, or the attribute network, on CelebA-HQ's train split.

    python training/photos.py --data FOLDER --work FOLDER
    python training/attributes.py judge --work FOLDER --out src/mien/weights/attribute_judge.safetensors
    python training/attributes.py network --work FOLDER --epochs 4 --out FOLDER/attribute_network.safetensors

Both are fine-tuned from ImageNet weights, with the first blocks frozen, on aligned faces that are turned, shifted,
scaled, mirrored and recolored at random; the running mean of the weights is saved. A training that was stopped goes on
from its checkpoint.

The network also predicts the five points, so that its features contain the head's pose. `pairing.py` then adds its
pairing vector.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from checkpoints import Averaged, load_checkpoint, save_checkpoint, save_half
from photos import Photos, load_photos
from schedule import warmed
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.attribute_network import (
    AttributeClassifier,
    AttributeJudge,
    AttributeNetwork,
)
from mien.models.features.efficientnet_lite import HEAD_CHANNELS, EfficientNetLite0
from mien.models.hub.fetch import ensure
from mien.util.memory import keep_freed_memory

FROZEN = 5  # first blocks that keep ImageNet's weights, stem included: they detect edges and textures
BATCH = 32
RATE = 6e-4
DECAY = 0.02
SIDE = 192  # of training images, pixels; 224 in the last fifth of the steps
SMOOTH = 0.02  # label smoothing


def augment(image: Tensor, rng: torch.Generator, side: int) -> tuple[Tensor, Tensor]:
    """Turns, scales, shifts, mirrors and recolors each of the images [B, 3, H, W] in -1..1 at random.

    Returns:
        The images [B, 3, side, side], and the affines [B, 2, 3] from points in them to points in the given ones, both
        in -1..1.
    """
    b = len(image)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(b, generator=rng)

    angle, scale = uniform(-0.12, 0.12), uniform(0.9, 1.06)
    mirror = torch.where(torch.rand(b, generator=rng) < 0.5, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([torch.stack([cos * mirror, -sin, uniform(-0.06, 0.06)], 1),
                         torch.stack([sin * mirror, cos, uniform(-0.06, 0.06)], 1)], 1)
    image = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    grid = F.affine_grid(theta, [b, 3, side, side], align_corners=False)
    image = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    contrast, light = uniform(0.8, 1.2)[:, None, None, None], uniform(-0.15, 0.15)[:, None, None, None]
    tint = 0.06 * (2 * torch.rand(b, 3, 1, 1, generator=rng) - 1)
    return (image * contrast + light + tint).clamp(-1, 1), theta


def moved(points: Tensor, theta: Tensor) -> Tensor:
    """Maps five points [B, 5, 2] in -1..1 to the augmented images; those of mirrored images change sides."""
    out = torch.linalg.solve(theta[:, :, :2], (points - theta[:, None, :, 2]).transpose(1, 2)).transpose(1, 2)
    mirrored = torch.linalg.det(theta[:, :, :2]) < 0
    return torch.where(mirrored[:, None, None], out[:, [1, 0, 2, 4, 3]], out)


@torch.inference_mode()
def right_answers(network: AttributeClassifier, photos: Photos, rows: np.ndarray) -> Tensor:
    """Tells which attributes of which photographs are predicted correctly: [N, 40] bool."""
    told = torch.cat([network(photos.images(part)) > 0 for part in np.array_split(rows, max(1, len(rows) // 32))])
    return told == (photos.attributes[rows] > 0)


def start(network: AttributeClassifier, weights: Path) -> None:
    """Loads ImageNet's weights and makes everything behind the frozen blocks trainable."""
    network.trunk.load_state_dict(EfficientNetLite0.from_file(weights, blocks=network.blocks).state_dict())
    network.requires_grad_(True)
    network.trunk.stem.requires_grad_(False)
    network.trunk.blocks[:FROZEN].requires_grad_(False)
    nn.init.zeros_(network.classify.weight)


class Training(nn.Module):
    """Holds a network, what it learns, and the photographs.

    Args:
        points: weight of the loss on the five points. It is small, since their much steeper gradient would keep the
            network from learning the rest.
    """

    def __init__(self, photos: Photos, network: AttributeClassifier, points: float) -> None:
        super().__init__()
        self.network, self.photos, self.share = network, photos, points
        self.labels = photos.attributes.float() * (1 - 2 * SMOOTH) + SMOOTH
        if points:
            self.points = nn.Linear(HEAD_CHANNELS, 10)
            nn.init.normal_(self.points.weight, std=0.01)
            self.points.bias.data = (photos.points.mean(0) / 128 - 1).flatten()

    def loss(self, rows: np.ndarray, rng: torch.Generator, side: int) -> tuple[Tensor, str]:
        """Computes the loss on these photographs, and writes its parts in words."""
        image, theta = augment(self.photos.images(rows), rng, side)
        features = self.network.trunk.head(image).mean(dim=(2, 3))
        loss = F.binary_cross_entropy_with_logits(self.network.classify(F.dropout(features, 0.3)), self.labels[rows])
        told = f"{loss.item():.4f}"
        if self.share:
            wanted = moved(self.photos.points[rows] / 128 - 1, theta).flatten(1)
            points = F.smooth_l1_loss(self.points(features), wanted, beta=0.05)
            loss, told = loss + self.share * points, f"{told}, points {points.item():.4f}"
        return loss, told


def train(task: Training, photos: Photos, weights: str, checkpoint: Path, epochs: float, out: Path) -> None:
    """Trains by AdamW with a warm-up and a cosine schedule; goes on from the checkpoint."""
    network = task.network
    start(network, ensure([weights])[weights])
    network.classify.bias.data.copy_(torch.logit(photos.attributes[: photos.train].float().mean(0)))
    steps = int(epochs * photos.train / BATCH)
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=RATE, weight_decay=DECAY)
    averaged = Averaged(network)
    first = load_checkpoint(checkpoint, task, optimizer, averaged.mean)
    began = time.monotonic()
    for step in range(first, steps):
        torch.manual_seed(step)  # for dropout
        for group in optimizer.param_groups:
            group["lr"] = RATE * warmed(step, steps, 200)
        side = SIDE if step < 0.8 * steps else 224
        loss, told = task.loss(_rows(photos.train, step), torch.Generator().manual_seed(step), side)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        averaged.update(step)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{steps} {(time.monotonic() - began) / 60:.1f} min, loss {told}", flush=True)
        if (step + 1) % 250 == 0 or step + 1 == steps:
            save_checkpoint(checkpoint, task, optimizer, step + 1, averaged.mean)
            part = list(photos.val)[:: 1 if step + 1 == steps else 5]
            values = right_answers(averaged.copy(), photos, np.array(part)).float()
            print(f"{len(part)} photographs of val: mean accuracy {values.mean():.4f}", flush=True)
    network.load_state_dict(averaged.mean)
    save_half(network, out)


def _rows(count: int, step: int) -> np.ndarray:
    """Chooses the step's photographs; every epoch has another order."""
    epoch, first = divmod(step * BATCH, count)
    order = np.random.default_rng(epoch).permutation(count)
    rows = order[first : first + BATCH]
    return rows if len(rows) == BATCH else np.concatenate([rows, order[: BATCH - len(rows)]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("judge", "network"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=7)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()
    photos = load_photos(arguments.work)
    torch.manual_seed(1 if arguments.what == "judge" else 2)
    if arguments.what == "judge":
        task, weights = Training(photos, AttributeJudge(), points=0), "efficientnet_lite1"
    else:
        task, weights = Training(photos, AttributeNetwork(), points=0.1), "efficientnet_lite0"
    train(task, photos, weights, arguments.work / f"attribute_{arguments.what}.pt", arguments.epochs, arguments.out)


if __name__ == "__main__":
    main()
