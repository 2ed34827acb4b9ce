"""Counts how many different people a set's faces show: a method may give everyone the same few new faces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.hierarchy import linkage
from torch import Tensor

MOST = 300  # people compared at once: among more, pairs below any threshold are too many to tell people apart
DRAWS = 5


def share_of_identities(vectors: Tensor, people: npt.NDArray[np.int64], limit: float,
                        seed: int = 0) -> tuple[float, int]:
    """The number of different people among faces that should all show different ones, as a share of these faces.

    One face of each of at most 300 people is drawn, five times. So the answer does not depend on whether a person has
    one new face in all photographs, and originals, random faces and sets of any size can be compared. Real people come
    out somewhat below 100 %, since some pass for one another at any threshold: compare with the originals' share.

    Args:
        vectors: [N, D] of a judge. people: [N], who is on the originals. limit: distance below which two faces pass for
            one person.

    Returns:
        The mean share, and the number of faces in a draw; NaN for fewer than two people or without a limit.
    """
    everybody, person = np.unique(people, return_inverse=True)
    count = min(len(everybody), MOST)
    if count < 2 or np.isnan(limit):
        return float("nan"), count
    rng, shares = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        rows = rng.permutation(len(people))
        _, first = np.unique(person[rows], return_index=True)  # of each person's faces in random order
        some = vectors[torch.from_numpy(rows[rng.permutation(first)[:count]])]
        distances = torch.cdist(some, some, compute_mode="donot_use_mm_for_euclid_dist").numpy()
        shares.append(count_identities(distances, limit) / count)
    return float(np.mean(shares)), count


def count_identities(distances: npt.NDArray[np.floating], limit: float) -> int:
    """Clusters faces by average linkage, and counts the clusters.

    Faces are one person while the mean distance between the two parts of their cluster is below the limit. Connected
    components would join people through chains of look-alikes, and complete linkage would part one person at a single
    bad picture.

    Args:
        distances: [N, N], symmetric, 2 faces at least. limit: below it two faces pass for one person.
    """
    merged_at = linkage(distances[np.triu_indices(len(distances), 1)], "average")[:, 2]  # rising
    return len(distances) - int((merged_at < limit).sum())
