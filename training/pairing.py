"""Finish the attribute network's pairing vector: take origin and identity out of it by projection.

    python training/pairing.py --work FOLDER --raw FOLDER/attribute_network.safetensors \\
        --out src/mien/weights/attribute_network.safetensors

What the adversaries left is taken out in closed form, on the train split and generated faces. Origin: directions by
which a linear probe tells real from generated are projected out one after another (Ravfogel et al. 2020, arXiv
2004.07667). Identity: a direction whose spread between people is larger than that within a person (pose, expression,
light) is narrowed until it tells no more than those; that is linear discriminant analysis the other way round. Nothing
of this costs anything at run time: it is folded into the vector's own layer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from checkpoints import save_half
from photos import load_photos
from probes import fit_probe, generated_pictures, person_auc, vectors_of
from torch import Tensor

from mien.memory import keep_freed_memory
from mien.models.attribute_network import VECTOR, AttributeNetwork

DIRECTIONS = 12  # of origin, at most
GENERATED = 800
PERSON = 0.73  # area under the curve on the train split, to stay below 0.75 on others


def without_origin(real: Tensor, generated: Tensor) -> Tensor:
    """Projection [D, D] that leaves out what tells the two samples [N, D] apart."""
    dim = real.shape[1]
    projection = torch.eye(dim)
    for i in range(DIRECTIONS):
        a, b = real @ projection, generated @ projection
        half_a, half_b = len(a) // 2, len(b) // 2
        direction, _ = fit_probe(a[:half_a], b[:half_b])
        _, auc = fit_probe(a[:half_a], b[:half_b], a[half_a:], b[half_b:])
        print(f"origin, {i} directions taken out: a probe's area under the curve is {auc:.3f}", flush=True)
        if auc < 0.55:
            break
        direction = projection @ direction
        direction = direction / direction.norm()
        projection = projection - torch.outer(direction, direction @ projection)
    return projection


def scatter(x: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """Covariance [D, D] within people and between them."""
    numbers, counts = torch.unique(people, return_counts=True)
    index = torch.searchsorted(numbers, people)
    means = torch.zeros(len(numbers), x.shape[1]).index_add_(0, index, x) / counts[:, None]
    inner = x - means[index]
    within = inner.T @ inner / max(1, len(x) - len(numbers))
    outer = means - x.mean(0)
    between = (outer * counts[:, None]).T @ outer / len(x) - within * len(numbers) / len(x)
    return within, between


def without_identity(x: Tensor, people: Tensor) -> Tensor:
    """Map [D, D] after which people differ no more than one person's photographs do, as far as needed."""
    within, between = scatter(x, people)
    dim = len(within)
    values, basis = torch.linalg.eigh(within.double() + 1e-4 * within.diagonal().mean() * torch.eye(dim))
    whiten = basis / values.sqrt()
    ratio, turn = torch.linalg.eigh(whiten.T @ between.double() @ whiten)
    axes, ratio = (whiten @ turn).float(), ratio.clamp(min=0).float()
    for power in torch.arange(0.0, 6.01, 0.25).tolist():
        change = axes * (1 + ratio) ** (-power / 2)
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
    photos = load_photos(arguments.work)
    network = AttributeNetwork.from_file(arguments.raw)
    rows = np.arange(photos.train)
    real = vectors_of(network, (photos.images(part) for part in np.array_split(rows, len(rows) // 32)))
    generated = vectors_of(network, generated_pictures(GENERATED, seed=1))
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    mean, deviation = real.mean(0), real.std(0).clamp(min=1e-4)
    x, g = (real - mean) / deviation, (generated - mean) / deviation
    projection = without_origin(x[order], g)
    # The projected space has fewer dimensions: its own axes.
    values, axes = torch.linalg.eigh((x @ projection).T @ (x @ projection) / len(x))
    axes = projection @ axes[:, values > 1e-4 * values[-1]]
    change = axes @ without_identity(x @ axes, photos.people[rows])
    scale = (x @ change).square().sum(1).mean().sqrt()  # so that two strangers are about one apart
    matrix = torch.zeros(VECTOR, VECTOR)
    matrix[:, : change.shape[1]] = change / (1.41 * scale)
    old = network.describe
    weight, bias = old.weight / deviation[:, None], (old.bias - mean) / deviation
    old.weight.data, old.bias.data = matrix.T @ weight, matrix.T @ bias
    save_half(network, arguments.out)


if __name__ == "__main__":
    main()
