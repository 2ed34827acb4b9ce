"""Measures what can be read from a face's vector: identity, origin (real or generated), and attributes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.generators.preview_head import PreviewHead
from mien.models.hub.fetch import ensure
from mien.models.hub.shipped import shipped_file
from mien.util.image_tensors import to_pixels, to_tensor

TRUNCATION = 0.7  # of the pool's faces


@torch.inference_mode()
def generated_pictures(count: int, seed: int) -> Iterator[Tensor]:
    """Yields previews of generated faces, as the pool computes them, in batches of 8."""
    generator = MobileStyleGAN.from_file(ensure(["mobilestylegan"])["mobilestylegan"])
    head = PreviewHead.from_file(shipped_file("image_head_256"), 256)
    z = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    for part in torch.split(z, 8):
        w = generator.color(TRUNCATION * generator.whiten(generator.map(part)))
        picture = head.preview(generator, w[:, None].expand(-1, generator.n_layers, -1))
        yield to_tensor(to_pixels(picture))  # rounded, as photographs are


def area(positive: Tensor, negative: Tensor) -> float:
    """Computes the area under the ROC curve: how often a positive's score is the larger, ties counted half."""
    both = torch.cat([positive, negative]).double()
    _, inverse, counts = torch.unique(both, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0)
    ranks = (ends - (counts - 1) / 2.0)[inverse]
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def pairs_of(people: Tensor, groups: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Lists index pairs [P, 2] of one person's photographs, and up to five times as many of different people's.

    Args:
        groups: group of each photograph [N]; if given, the different people of a pair are of one group.
    """
    rng = torch.Generator().manual_seed(seed)
    same = [(i, j) for person in people.unique() for i, j in _twos((people == person).nonzero().flatten().tolist())]
    a, b = (torch.randint(len(people), (100 * len(same),), generator=rng) for _ in range(2))
    strangers = people[a] != people[b]
    if groups is not None:
        strangers &= groups[a] == groups[b]
    return torch.tensor(same), torch.stack([a[strangers], b[strangers]], 1)[: 5 * len(same)]


def _twos(rows: list[int]) -> list[tuple[int, int]]:
    return [(i, j) for place, i in enumerate(rows) for j in rows[place + 1 :]]


def person_auc(x: Tensor, people: Tensor, groups: Tensor | None = None) -> float:
    """Computes the area under the curve with which distances of vectors [N, D] tell one person from strangers."""
    same, other = pairs_of(people, groups)
    return area(*(-(x[pairs[:, 0]] - x[pairs[:, 1]]).square().sum(1) for pairs in (same, other)))


def probe_auc(a: Tensor, b: Tensor, test_a: Tensor, test_b: Tensor, hidden: int = 0) -> float:
    """Computes the area under the curve, on the test rows, of a probe trained to tell rows of `a` from rows of `b`.

    The rows of `a` together weigh as much as those of `b`.

    Args:
        hidden: hidden units of a small network; 0: logistic regression.
    """
    torch.manual_seed(0)
    x = torch.cat([a, b])
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    truth = torch.cat([torch.zeros(len(a)), torch.ones(len(b))])
    weight = torch.cat([torch.full((len(a),), 1 / len(a)), torch.full((len(b),), 1 / len(b))])
    dim = x.shape[1]
    probe = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1)) if hidden else nn.Linear(dim, 1)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=0.01, weight_decay=0.05)
    x = (x - mean) / deviation
    for _ in range(400):
        optimizer.zero_grad()
        loss = (F.binary_cross_entropy_with_logits(probe(x).flatten(), truth, reduction="none") * weight).sum()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        scores = [probe((rows - mean) / deviation).flatten() for rows in (test_a, test_b)]
    return area(scores[1], scores[0])


def attribute_probe(x: Tensor, labels: Tensor, test: Tensor, ridge: float = 1e-2) -> Tensor:
    """Predicts attributes [M, A], about 0..1, of test rows [M, D] by ridge regression on rows [N, D]."""
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    design = torch.cat([(x - mean) / deviation, torch.ones(len(x), 1)], 1)
    gram = design.T @ design + ridge * len(x) * torch.eye(design.shape[1])
    weights = torch.linalg.solve(gram, design.T @ labels.float())
    return torch.cat([(test - mean) / deviation, torch.ones(len(test), 1)], 1) @ weights
