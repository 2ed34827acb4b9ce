"""Who is on which photograph, as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

People = npt.NDArray[np.int64]  # a number from 0 for each person; each unnamed face has a negative number of its own


def is_named(people: People) -> npt.NDArray[np.bool_]:
    """[N], whether each person is known; two faces that are not named may or may not show one person."""
    return np.asarray(people >= 0)


def half_of_people(people: People, seed: int) -> npt.NDArray[np.bool_]:
    """[N], whether each person is in a half of the people that is drawn at random."""
    everybody = np.random.default_rng(seed).permutation(np.unique(people))
    return np.isin(people, everybody[: len(everybody) // 2])
