"""Checks that a port computes what the reference network computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional as F


def assert_same(ours: ArrayLike, theirs: np.ndarray[Any, Any], relative: float = 1e-5,
                largest: float = 5e-5) -> None:
    """Limits the relative difference in norm, and the largest one in units of the reference's root mean square."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert a.shape == b.shape
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(b)
    assert np.abs(a - b).max() <= largest * np.sqrt((b**2).mean())


def assert_image(image: torch.Tensor, reference: Mapping[str, np.ndarray[Any, Any]], name: str) -> None:
    """Compares pictures [B, 3, 1024, 1024]: at 64 px, four patches at full size, mean and standard deviation."""
    assert_same(F.interpolate(image, size=(64, 64), mode="area"), reference[f"{name}_area64"])
    patches = [image[:, :, y : y + 32, x : x + 32] for y, x in reference[f"{name}_patch_yx"]]
    assert_same(torch.stack(patches, dim=1), reference[f"{name}_patches"])
    spread = torch.stack([image.mean(dim=(1, 2, 3)), image.std(dim=(1, 2, 3), unbiased=False)], dim=1)
    assert_same(spread, reference[f"{name}_mean_std"])
