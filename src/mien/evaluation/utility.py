"""Utility of new faces for training: attributes, and whether detectors find them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import Estimate, estimate
from mien.evaluation.measurements import Measurements
from mien.evaluation.people import People
from mien.models.features.attribute_network import ATTRIBUTES

# Attributes that the face itself shows; all others are of hair, of what is worn, or of the whole picture.
INNER = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Bags_Under_Eyes", "Big_Lips", "Big_Nose", "Bushy_Eyebrows", "Eyeglasses",
    "Goatee", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pointy_Nose", "Rosy_Cheeks", "Smiling", "Wearing_Lipstick", "Young",
)  # fmt: skip
Flags = npt.NDArray[np.bool_]  # [N] or [N, 40]


@dataclass(frozen=True)
class Utility:
    """Figures of N faces against the originals'.

    Attributes:
        attributes: share of the 40 attributes that the attribute judge tells right.
        inner, outer: the same of those that the face itself shows, and of all others.
        balanced, balanced_inner, balanced_outer: the mean over attributes of the mean accuracy on faces with it and on
            faces without it.
        found, found_second: share of faces that the detectors find, of those that they find in the originals.
    """

    attributes: Estimate
    inner: Estimate
    outer: Estimate
    balanced: float
    balanced_inner: float
    balanced_outer: float
    found: Estimate
    found_second: Estimate


def utility(original: Measurements, new: Measurements, people: People, truth: Flags) -> Utility:
    """Compares two sets row by row.

    Args:
        truth: [N, 40] attributes that the faces should show.
    """
    a, b = original.columns, new.columns
    right = (b["attributes"] > 0) == truth
    inner = np.isin(ATTRIBUTES, INNER)
    return Utility(
        estimate(right.mean(axis=1), people),
        estimate(right[:, inner].mean(axis=1), people),
        estimate(right[:, ~inner].mean(axis=1), people),
        balanced_accuracy(b["attributes"] > 0, truth),
        balanced_accuracy(b["attributes"][:, inner] > 0, truth[:, inner]),
        balanced_accuracy(b["attributes"][:, ~inner] > 0, truth[:, ~inner]),
        _share_of(a["found"] > 0, b["found"], people),
        _share_of(a["found_second"] > 0, b["found_second"], people),
    )


def balanced_accuracy(told: Flags, truth: Flags) -> float:
    """Mean over attributes of the mean accuracy on faces with it and on faces without it; both [N, A].

    Attributes that all faces have or lack are left out; NaN if no other is left.

    Args:
        told: what the judge says. truth: what is right.
    """
    has, lacks = truth.sum(axis=0), (~truth).sum(axis=0)
    mixed = (has > 0) & (lacks > 0)
    if not mixed.any():
        return float("nan")
    found = (told & truth).sum(axis=0)[mixed] / has[mixed]
    spared = (~told & ~truth).sum(axis=0)[mixed] / lacks[mixed]
    return float(((found + spared) / 2).mean())


def _share_of(which: Flags, values: npt.NDArray[np.floating], people: People) -> Estimate:
    return estimate(values[which], people[which], share=True)
