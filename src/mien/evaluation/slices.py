"""Parts of the data that figures are computed for separately: a mean hides for whom a method fails."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import Reference
from mien.evaluation.utility import pose
from mien.models.features.attribute_network import ATTRIBUTES

SMALL = 30  # faces; a figure of fewer is a hint
TURNED = 15.0  # degrees


def slice_rows(original: Reference) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of every part that has faces, by the labels, or by what the attribute judge tells where there are none."""
    truth = original.truth()

    def having(name: str) -> npt.NDArray[np.bool_]:
        return np.asarray(truth[:, ATTRIBUTES.index(name)])

    turn = np.abs([pose(points)[0] for points in original.measurements.columns["points"]])
    masks = {
        "men": having("Male"), "women": ~having("Male"), "young": having("Young"), "not young": ~having("Young"),
        "pale": having("Pale_Skin"), "not pale": ~having("Pale_Skin"), "with glasses": having("Eyeglasses"),
        "with a hat": having("Wearing_Hat"), f"turned by {TURNED:.0f} degrees or more": turn >= TURNED,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}
