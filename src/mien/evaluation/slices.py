"""The same figures for parts of the data: a mean hides whom a method fails."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import Reference
from mien.evaluation.utility import pose
from mien.models.features.attribute_network import ATTRIBUTES

SMALL = 30  # faces; below, a figure is a hint
TURNED = 15.0  # degrees
Rows = npt.NDArray[np.int64]


def groups(original: Reference) -> dict[str, Rows]:
    """Rows of every group, by the labels, or by what the judge sees in the originals where there are none."""
    truth = original.truth()

    def having(name: str) -> npt.NDArray[np.bool_]:
        return np.asarray(truth[:, ATTRIBUTES.index(name)])

    turn = np.abs([pose(points)[0] for points in original.seen.columns["points"]])
    masks = {
        "men": having("Male"), "women": ~having("Male"), "young": having("Young"), "not young": ~having("Young"),
        "pale": having("Pale_Skin"), "not pale": ~having("Pale_Skin"), "with glasses": having("Eyeglasses"),
        "with a hat": having("Wearing_Hat"), f"turned by {TURNED:.0f} degrees or more": turn >= TURNED,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}
