"""Utility of new faces: attributes, age, gender, points, pose and detection against the originals'."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import Estimate, estimate, estimate_finite
from mien.evaluation.measurements import Measurements
from mien.evaluation.privacy import People
from mien.models.features.attribute_network import ATTRIBUTES

# Attributes that the face itself shows; all others are of hair, of what is worn, or of the whole picture.
INNER = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Bags_Under_Eyes", "Big_Lips", "Big_Nose", "Bushy_Eyebrows", "Eyeglasses",
    "Goatee", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pointy_Nose", "Rosy_Cheeks", "Smiling", "Wearing_Lipstick", "Young",
)  # fmt: skip
# A generic face's five points, head upright, x to the image's right, y down, z away; in millimeters.
MODEL = np.array([(-32, -32, 26), (32, -32, 26), (0, 0, 0), (-25, 31, 24), (25, 31, 24)], np.float64)
Flags = npt.NDArray[np.bool_]  # [N] or [N, 40]


@dataclass(frozen=True)
class Utility:
    """Figures of N faces against the originals'.

    Attributes:
        attributes: share of the 40 attributes that the attribute judge tells right.
        inner, outer: the same of those that the face itself shows, and of all others.
        balanced, balanced_inner, balanced_outer: the mean over attributes of the mean accuracy on faces with it and on
            faces without it.
        age: years apart. gender: share told as in the originals.
        points, points68: mean distance of the five and of the 68 points, as a share of the eye distance.
        turn, nod: degrees apart.
        found, found_second: share of faces that the detectors find, of those that they find in the originals.
    """

    attributes: Estimate
    inner: Estimate
    outer: Estimate
    balanced: float
    balanced_inner: float
    balanced_outer: float
    age: Estimate
    gender: Estimate
    points: Estimate
    points68: Estimate
    turn: Estimate
    nod: Estimate
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
    apart, apart68 = (np.linalg.norm(a[name] - b[name], axis=2).mean(axis=1) for name in ("points", "points68"))
    poses = [np.array([pose(points) for points in one["points"]]) for one in (a, b)]
    return Utility(
        estimate(right.mean(axis=1), people),
        estimate(right[:, inner].mean(axis=1), people),
        estimate(right[:, ~inner].mean(axis=1), people),
        balanced_accuracy(b["attributes"] > 0, truth),
        balanced_accuracy(b["attributes"][:, inner] > 0, truth[:, inner]),
        balanced_accuracy(b["attributes"][:, ~inner] > 0, truth[:, ~inner]),
        estimate_finite(np.abs(a["age"] - b["age"]), people),
        estimate_finite(np.where(np.isnan(a["man"] + b["man"]), np.nan, (a["man"] > 0.5) == (b["man"] > 0.5)), people,
                       share=True),
        estimate_finite(apart, people),
        estimate_finite(apart68, people),
        estimate_finite(np.abs(poses[0][:, 0] - poses[1][:, 0]), people),
        estimate_finite(np.abs(poses[0][:, 1] - poses[1][:, 1]), people),
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


def pose(points: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Estimates (turn, nod) of a head in degrees from five points [5, 2]; to the image's right and down are positive.

    It fits a generic face seen by a distant camera: good for comparing a face with itself. NaN where points are NaN.
    """
    if not np.isfinite(points).all():
        return float("nan"), float("nan")
    scale = 64 / max(float(np.linalg.norm(points[0] - points[1])), 1e-6)
    image = points.astype(np.float64) * scale
    image -= image[2]
    focal = 2000.0
    camera = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]])
    start = np.zeros(3), np.array([0.0, 0.0, focal])
    _, rotation, _ = cv2.solvePnP(MODEL, image, camera, None, start[0].copy(), start[1].copy(), True,
                                  cv2.SOLVEPNP_ITERATIVE)
    matrix = cv2.Rodrigues(rotation)[0]
    forward = matrix @ np.array([0.0, 0.0, -1.0])  # where the nose points, towards the camera for a frontal face
    turn, nod = np.arctan2(forward[0], -forward[2]), np.arcsin(np.clip(forward[1], -1, 1))
    return float(np.degrees(turn)), float(np.degrees(nod))


def _share_of(which: Flags, values: npt.NDArray[np.floating], people: People) -> Estimate:
    return estimate(values[which], people[which], share=True)
