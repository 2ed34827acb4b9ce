"""Adds the pairing vector to the attribute network: it tells attributes and pose, but neither identity nor origin.

    python training/pairing.py --work FOLDER --raw FOLDER/attribute_network.safetensors \\
        --out src/mien/weights/attribute_network.safetensors

The vector is one linear layer on the network's pooled features, trained on the train split and on generated faces as
the pool computes them. It must predict the attributes and the five points, while the maximum mean discrepancy (Gretton
et al. 2012, JMLR 13) holds the distributions of real and generated vectors together. Two closed forms follow. Origin
(real or generated): the remaining difference of the means is erased (LEACE, Belrose et al. 2023, arXiv 2306.03819).
Identity: directions in which people differ more than the photographs of one person (pose, expression, light) are
narrowed until they tell no more than these; that is linear discriminant analysis the other way round.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from checkpoints import save_half
from photos import Photos, load_photos
from probes import generated_pictures, person_auc
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.attribute_network import VECTOR, AttributeNetwork
from mien.util.memory import keep_freed_memory

GENERATED = 3000
TOGETHER = 5.0  # weight of the discrepancy
STEPS = 1500
BATCH = 400
RATE = 1e-3
WIDTHS = (0.1, 0.3, 1.0, 3.0)  # of the kernels, in mean squared distances
PERSON = 0.745  # goal for `person_auc` on the train split, to stay below 0.75 on others


@torch.inference_mode()
def features_of(network: AttributeNetwork, photos: Photos, kept: Path) -> tuple[Tensor, Tensor]:
    """Computes pooled features [N, 1280] of the train split and of generated faces, or reads them from a file.

    Computing takes 15 minutes.
    """
    if not kept.exists():
        rows = np.arange(photos.train)
        real = _pooled(network, (photos.images(part) for part in np.array_split(rows, len(rows) // 32)))
        save_file({"real": real, "generated": _pooled(network, generated_pictures(GENERATED, seed=1))}, kept)
    found = load_file(kept)
    return found["real"], found["generated"]


def _pooled(network: AttributeNetwork, batches: Iterable[Tensor]) -> Tensor:
    return torch.cat([network.pooled(batch) for batch in batches])


def discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Computes the unbiased squared maximum mean discrepancy of [N, D] and [M, D], summed over Gaussian kernels."""
    distance = torch.cdist(*2 * (torch.cat([a, b]),)).square()
    kernel = sum((torch.exp(-distance / (width * distance.detach().mean())) for width in WIDTHS),
                 start=torch.zeros_like(distance))
    n = len(a)
    within = [(part.sum() - part.diagonal().sum()) / (len(part) * (len(part) - 1))  # without a row and itself
              for part in (kernel[:n, :n], kernel[n:, n:])]
    return within[0] + within[1] - 2 * kernel[:n, n:].mean()


def learn(real: Tensor, generated: Tensor, labels: Tensor, points: Tensor) -> Tensor:
    """Learns the map [F, VECTOR] of standardized features [N, F] that predicts labels [N, 40] and points [N, 10]."""
    wanted = torch.cat([labels, points], 1)
    width = wanted.shape[1]
    gram = real.T @ real + 0.1 * len(real) * torch.eye(real.shape[1])
    start = torch.linalg.solve(gram, real.T @ (wanted - wanted.mean(0)))  # ridge regression
    start = torch.cat([start / (real @ start).std(0), 0.02 * torch.randn(real.shape[1], VECTOR - width)], 1)
    change = nn.Parameter(start)
    told = nn.Linear(VECTOR, width)
    nn.init.zeros_(told.weight)
    optimizer = torch.optim.AdamW([{"params": [change], "lr": RATE}, {"params": told.parameters(), "lr": 5 * RATE}])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.05 ** (1 / STEPS))
    for step in range(STEPS):
        rows, others = torch.randint(len(real), (BATCH,)), torch.randint(len(generated), (BATCH,))
        mine, foreign = real[rows] @ change, generated[others] @ change
        out = told(mine)
        attributes = F.binary_cross_entropy_with_logits(out[:, : labels.shape[1]], labels[rows])
        pose = F.smooth_l1_loss(out[:, labels.shape[1] :], points[rows], beta=0.1)
        apart = discrepancy(mine, foreign)
        scale = (torch.cat([mine, foreign]).square().mean() - 1).square()  # the vector's own would run away
        loss = attributes + 0.2 * pose + TOGETHER * apart + 0.01 * scale
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}/{STEPS}: attributes {attributes.item():.3f}, points {pose.item():.4f}, real and "
                  f"generated apart by {apart.item():.4f}", flush=True)
    return change.detach()


def without_origin(real: Tensor, generated: Tensor) -> Tensor:
    """Computes the smallest change [D, D] after which samples [N, D] have one mean: no linear probe can part them."""
    share = torch.cat([torch.full((len(part),), 0.5 / len(part)) for part in (real, generated)]).double()
    x = torch.cat([real, generated]).double()
    x = x - share @ x
    values, axes = torch.linalg.eigh((x * share[:, None]).T @ x)
    values = values.clamp(min=1e-6 * values[-1])
    whiten, back = (axes * values.pow(power) @ axes.T for power in (-0.5, 0.5))
    direction = whiten @ (generated.double().mean(0) - real.double().mean(0))
    direction = direction / direction.norm()
    return (torch.eye(len(direction)) - torch.outer(whiten @ direction, back @ direction)).float()


def scatter(x: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the covariances [D, D] within people and between them."""
    numbers, counts = torch.unique(people, return_counts=True)
    index = torch.searchsorted(numbers, people)
    means = torch.zeros(len(numbers), x.shape[1]).index_add_(0, index, x) / counts[:, None]
    inner = x - means[index]
    within = inner.T @ inner / max(1, len(x) - len(numbers))
    outer = means - x.mean(0)
    between = (outer * counts[:, None]).T @ outer / len(x) - within * len(numbers) / len(x)
    return within, between


def without_identity(x: Tensor, people: Tensor) -> Tensor:
    """Computes the map [D, D] after which people differ hardly more than one person's photographs, as far as needed."""
    within, between = scatter(x, people)
    dim = len(within)
    values, basis = torch.linalg.eigh(within.double() + 1e-4 * within.diagonal().mean() * torch.eye(dim))
    whiten = basis / values.sqrt()
    ratio, turn = torch.linalg.eigh(whiten.T @ between.double() @ whiten)
    axes, ratio = whiten @ turn, ratio.clamp(min=0)
    for power in torch.arange(0.0, 6.01, 0.25).tolist():
        change = (axes * (1 + ratio) ** (-power / 2) @ torch.linalg.inv(axes)).float()
        auc = person_auc(x @ change, people)
        if auc <= PERSON:
            break
    print(f"identity: narrowed with power {power}: area under the curve {auc:.3f}, before {person_auc(x, people):.3f}",
          flush=True)
    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    photos = load_photos(arguments.work)
    network = AttributeNetwork.from_file(arguments.raw)
    real, generated = features_of(network, photos, arguments.work / "pairing_features.safetensors")
    mean, deviation = real.mean(0), real.std(0).clamp(min=1e-4)
    x, g = (real - mean) / deviation, (generated - mean) / deviation
    rows = slice(0, photos.train)
    change = learn(x, g, photos.attributes[rows].float(), (photos.points[rows] / 64 - 2).flatten(1))
    change = change @ without_origin(x @ change, g @ change)
    change = change @ without_identity(x @ change, photos.people[rows])
    scale = (x @ change).square().sum(1).mean().sqrt()  # so that two strangers are about one apart
    change = change / (1.41 * scale) / deviation[:, None]
    network.describe.weight.data, network.describe.bias.data = change.T.contiguous(), -mean @ change
    save_half(network, arguments.out)


if __name__ == "__main__":
    main()
