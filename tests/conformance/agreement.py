"""How near two results of one network must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def assert_same(ours: ArrayLike, theirs: np.ndarray[Any, Any], relative: float = 1e-5,
                largest: float = 5e-5) -> None:
    """Relative difference of the norms, and the largest difference in units of the reference's root mean square."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert a.shape == b.shape
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(b)
    assert np.abs(a - b).max() <= largest * np.sqrt((b**2).mean())
