"""Distances between the features of two sets of pictures: Fréchet and kernel distance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SUBSETS = 50  # of the kernel distance
SUBSET = 500  # pictures in one
FEATURES_AT_ONCE = 2048  # converted to double precision


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of normal distributions fitted to features [N, D] and [M, D] (Heusel et al. 2017, 1706.08500).

    It falls as the number of pictures grows: compare sets of one size only. NaN for fewer than two pictures.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    (x, mean_x), (y, mean_y) = (_root(one) for one in (a, b))
    # Cx = x'x and Cy = y'y: the roots of the eigenvalues of Cx Cy are the singular values of x y'.
    shared = torch.linalg.svdvals(x @ y.T).sum()
    return float((mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * shared)


def kernel_distance(a: Tensor, b: Tensor, seed: int = 0, paired: bool = False) -> tuple[float, float]:
    """Squared maximum mean discrepancy, cubic kernel, unbiased (Bińkowski et al. 2018, arXiv 1801.01401).

    Args:
        a, b: features [N, D] and [M, D].
        paired: row by row they show the same photograph, N = M. A picture is then not compared with its own pair, which
            is nearer than any of a set of other photographs (Gretton et al. 2012, JMLR 13:723, Lemma 6).

    Returns:
        mean and standard deviation over random subsets of at most 500 pictures, the latter NaN where that is all of
        them; both NaN for fewer than two.

    Raises:
        ValueError: paired sets differ in length.
    """
    size = min(SUBSET, len(a), len(b))
    if size < 2:
        return float("nan"), float("nan")
    if paired and len(a) != len(b):
        raise ValueError(f"{len(a)} pictures have no pairs among {len(b)}")
    whole = size == len(a) == len(b)
    rng, found = np.random.default_rng(seed), []
    for _ in range(1 if whole else SUBSETS):
        rows = rng.choice(len(a), size, replace=False)
        others = rows if paired else rng.choice(len(b), size, replace=False)
        x, y = (one[torch.from_numpy(some)].double() for one, some in ((a, rows), (b, others)))
        own, own_too, between = ((p @ q.T / x.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        across = _mean_of_others(between) if paired else float(between.mean())
        found.append(_mean_of_others(own) + _mean_of_others(own_too) - 2 * across)
    return float(np.mean(found)), float("nan") if whole else float(np.std(found))


def _mean_of_others(kernel: Tensor) -> float:
    """The mean of a matrix [N, N] without its diagonal."""
    return float(kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1))


def _root(x: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix whose transpose times itself is the covariance of x [N, D], and the mean [D].

    A few rows are converted at a time, so that a large x may be a mapped file.
    """
    mean = torch.stack([part.double().sum(dim=0) for part in torch.split(x, FEATURES_AT_ONCE)]).sum(dim=0) / len(x)
    root = x.new_zeros(0, x.shape[1], dtype=torch.float64)
    for part in torch.split(x, FEATURES_AT_ONCE):
        root = torch.cat([root, (part.double() - mean) / (len(x) - 1) ** 0.5])
        if len(root) > root.shape[1]:
            root = torch.linalg.qr(root, mode="r").R
    return root, mean
