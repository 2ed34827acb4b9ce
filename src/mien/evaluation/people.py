"""Who is on which photograph, as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

People = npt.NDArray[np.int64]  # a number from 0 for each person; each unnamed face has a negative number of its own


def is_named(people: People) -> npt.NDArray[np.bool_]:
    """[N], whether each person is known; two faces that are not named may or may not show one person."""
    return np.asarray(people >= 0)
