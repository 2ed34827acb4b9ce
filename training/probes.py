"""What can be read from a vector: who it is, whether the face is generated, which attributes it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.geometry import to_pixels
from mien.models.attribute_network import AttributeNetwork
from mien.models.fetch import ensure
from mien.models.generator import DIM
from mien.models.image_head import ImageHead
from mien.models.mobilestylegan import MobileStyleGAN
from mien.models.shipped import shipped_file

TRUNCATION = 0.7  # of the pool's faces


@torch.inference_mode()
def vectors_of(network: AttributeNetwork, batches: Iterable[Tensor]) -> Tensor:
    """Pairing vectors [N, D] of images that come in batches."""
    return torch.cat([network.describe(network.pooled(batch)) for batch in batches])


@torch.inference_mode()
def generated_pictures(count: int, seed: int) -> Iterator[Tensor]:
    """Pictures of generated faces as the pool sees them, through the image head, 8 a batch."""
    generator = MobileStyleGAN.from_file(ensure(["mobilestylegan"])["mobilestylegan"])
    head = ImageHead.from_file(shipped_file("image_head_256"), 256)
    z = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    for part in torch.split(z, 8):
        w = generator.colour(TRUNCATION * generator.whiten(generator.map(part)))
        picture = head.look(generator, w[:, None].expand(-1, generator.n_layers, -1))
        yield to_pixels(picture).permute(0, 3, 1, 2) / 127.5 - 1  # rounded, as photographs are


def area(positive: Tensor, negative: Tensor) -> float:
    """Area under the curve: how often a positive's score is the larger, ties counted half."""
    both = torch.cat([positive, negative]).double()
    _, inverse, counts = torch.unique(both, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0)
    ranks = (ends - (counts - 1) / 2.0)[inverse]
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def pairs_of(people: Tensor, groups: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Index pairs [P, 2] of one person's photographs, and as many again (five times) of different people's.

    Args:
        groups: [N]; if given, the different people are of one group: strangers who have something in common.
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
    """How well the distance of vectors [N, D] tells one person's photographs from strangers': area under the curve."""
    same, other = pairs_of(people, groups)
    return area(*(-(x[pairs[:, 0]] - x[pairs[:, 1]]).square().sum(1) for pairs in (same, other)))


def fit_probe(a: Tensor, b: Tensor, test_a: Tensor | None = None, test_b: Tensor | None = None,
              hidden: int = 0) -> tuple[Tensor, float]:
    """Logistic regression (or a small network) that tells rows of a from rows of b, both counting the same.

    Returns:
        its direction [D] (of logistic regression), and its area under the curve on the test rows or its own.
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
        scores = [probe((rows - mean) / deviation).flatten() for rows in (a if test_a is None else test_a,
                                                                        b if test_b is None else test_b)]
    direction = torch.zeros(dim) if hidden else probe.weight.detach()[0] / deviation
    return direction, area(scores[1], scores[0])


def attribute_probe(x: Tensor, labels: Tensor, test: Tensor, ridge: float = 1e-2) -> Tensor:
    """Attributes [M, A] in 0..1 that ridge regression reads from test rows [M, D], learnt from rows [N, D]."""
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    design = torch.cat([(x - mean) / deviation, torch.ones(len(x), 1)], 1)
    gram = design.T @ design + ridge * len(x) * torch.eye(design.shape[1])
    weights = torch.linalg.solve(gram, design.T @ labels.float())
    return torch.cat([(test - mean) / deviation, torch.ones(len(test), 1)], 1) @ weights
