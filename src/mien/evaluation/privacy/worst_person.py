"""Finds how often the person whose new faces are found again most is found: a mean says nothing about that person."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import Estimate

LEAST_FACES = 3  # of a person: with fewer the largest share is 100 % as soon as one face is found


def worst_person(found: npt.NDArray[np.bool_], people: npt.NDArray[np.int64]) -> Estimate:
    """The largest share of one person's new faces that are found again, among people with at least three faces.

    Args:
        found: [N], whether each new face is found again. people: [N], whose it is.

    Returns:
        The share, without an interval; `most`: the mean share of the worst tenth of these people; `count`: the faces of
        the worst person, of the one with most faces where several are equally bad; `people`: how many have enough
        faces. It says nothing about who that is. Missing where no person has enough faces.
    """
    person = np.unique(people, return_inverse=True)[1]
    faces = np.bincount(person)
    enough = faces >= LEAST_FACES
    if not enough.any():
        return Estimate.missing()
    shares, faces = np.bincount(person, found)[enough] / faces[enough], faces[enough]
    order = np.lexsort((faces, shares))[::-1]  # the worst first
    tenth = order[: -(-len(order) // 10)]
    return Estimate(float(shares[order[0]]), float("nan"), float("nan"), int(faces[order[0]]), len(faces),
                    most=float(shares[tenth].mean()))
