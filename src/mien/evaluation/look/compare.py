"""Compares what a person sees of a face, in the original and in the new photo: sex, age, origin, eyes, colors, light.

The pipeline uses two of the estimators: YuNet, which tells the five points, finds its faces, and dlib's network of five
points, which cuts out the face for dlib's age and gender network, its gate's. None is free of errors: a figure says
something only beside its noise floor, the same figure of the original shifted by a few pixels and encoded again.

A trait that is told of the original and cannot be told of the new face counts as not kept. Differences are over those
faces where both are told.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from skimage.color import deltaE_ciede2000

from mien.evaluation.confidence import Estimate, estimate_finite, estimate_median, estimate_ratio
from mien.evaluation.look.eyes import CLOSED_EYE
from mien.evaluation.measurements import Columns, Measurements
from mien.evaluation.metric import Metric
from mien.evaluation.people import People, is_named
from mien.models.features.attribute_network import ATTRIBUTES

CHILD, OLD = 13, 60  # years: a child is younger, an old person older
OPEN_MOUTH = 0.10  # gap of the lips over the mouth's width, above which a mouth is called open
MONOCHROME = 1.0  # mean distance from gray in CIELAB, below which a photo is called black and white
FEW = 1e-6

LOOK_METRICS: dict[str, Metric] = {
    "sex_kept": Metric("sex", "told as in the original, by this project's look judge", "more"),
    "age_change": Metric("age", "difference to the original's, told by the look judge", "less", "years"),
    "child_kept": Metric(f"children under {CHILD} still children", "of those told to be under "
                         f"{CHILD} in the original", "more"),
    "old_kept": Metric(f"over {OLD} still over {OLD}", f"of those told to be over {OLD} in the original", "more"),
    "group_kept": Metric("ethnic group", "of white, black, asian, indian, other: told as in the original", "more"),
    "group_kept_not_white": Metric("ethnic group, if not white", "of those not told to be white in the original",
                                   "more"),
    "expression_kept": Metric("expression", "of seven, the likeliest as in the original", "more"),
    "gaze_difference": Metric("gaze", "angle between the looks of both eyes' irises", "less", "°"),
    "eyes_kept": Metric("eyes open or closed", "told as in the original, by the gap of the lids", "more"),
    "closed_eyes_kept": Metric("closed eyes still closed", "of those closed in the original", "more"),
    "mouth_kept": Metric("mouth open or closed", "told as in the original, by the gap of the lips", "more"),
    "pose_difference": Metric("head pose", "angle of the rotation from the original's, by a mesh of 468 points",
                              "less", "°"),
    "points5_difference": Metric("five points", "mean distance to the original's, both on their own middles, in eye "
                                  "distances", "less"),
    "points68_difference": Metric("68 points", "likewise, dlib's outlines of face, brows, eyes, nose, mouth", "less"),
    "skin_color": Metric("skin color", "median CIEDE2000 difference, cheeks and forehead", "less", ""),
    "iris_color": Metric("iris color", "median CIEDE2000 difference, where irises are seen in both", "less", ""),
    "light_difference": Metric("direction of light", "angle to the original's, fitted to the skin's shading", "less",
                               "°"),
    "glasses_kept": Metric("glasses still there", "of those told in the original, sunglasses too", "more"),
    "facial_hair_kept": Metric("facial hair still there", "of those told in the original", "more"),
    "makeup_kept": Metric("make-up", "heavy make-up and lipstick both told as in the original", "more"),
    "hairline_kept": Metric("hair line", "bangs, receding hair line, bald: all told as in the original", "more"),
    "sharpness_ratio": Metric("sharpness", "variance of the Laplacian on the face over the original's, median; 1 is "
                              "best; worst tenth: the factor that they are off, up or down", "one", ""),
    "grain_ratio": Metric("grain", "noise on the face over the original's, median; 1 is best; worst tenth "
                          "likewise", "one", ""),
    "monochrome_chroma": Metric("color in black-and-white photos", "mean distance from gray on the face, in CIELAB; 0 "
                                "is best", "less", ""),
    "age_difference": Metric("age, second estimator", "difference to the original's, told by dlib's age network",
                             "less", "years"),
    "gender_kept": Metric("sex, second estimator", "told as in the original, by dlib's gender network", "more"),
}

Values = npt.NDArray[np.float64]  # [N], NaN where a face is not counted


def compare_looks(original: Measurements, new: Measurements, people: People) -> dict[str, Estimate]:
    """Estimates the metrics of `LOOK_METRICS` that the measurements allow; rows are the same faces, people [N]."""
    a, b = original.columns, new.columns
    shares = _kept(a, b)
    medians = {"skin_color": _color_difference(a["skin"], b["skin"]),
               "iris_color": _color_difference(a["iris"], b["iris"])}
    ratios = {"sharpness_ratio": _ratio(a["sharpness"], b["sharpness"]), "grain_ratio": _ratio(a["grain"], b["grain"])}
    means = {
        "age_change": np.abs(a["look_age"] - b["look_age"]),
        "gaze_difference": gaze_angle(a["gaze"], b["gaze"]),
        "pose_difference": rotation_angle(a["pose"], b["pose"]),
        "points5_difference": _points_apart(a["points"], b["points"]),
        "points68_difference": _points_apart(a["points68"], b["points68"]),
        "light_difference": vector_angle(a["light"], b["light"]),
        "monochrome_chroma": np.where(a["chroma"] < MONOCHROME, b["chroma"], np.nan),
        "age_difference": np.abs(a["age"] - b["age"]),
    }
    found = {name: estimate_finite(values, people, share=True) for name, values in shares.items()}
    found |= {name: estimate_median(values, people) for name, values in medians.items()}
    found |= {name: estimate_ratio(values, people) for name, values in ratios.items()}
    found |= {name: estimate_finite(values, people) for name, values in means.items()}
    return {name: found[name] for name in LOOK_METRICS if name in found}


def other_photo_of(people: People) -> npt.NDArray[np.int64]:
    """[N], the row of the next photograph of the same person, going round; -1 where a person has one, or no name."""
    others = np.full(len(people), -1, np.int64)
    for person in np.unique(people[is_named(people)]):
        rows = np.flatnonzero(people == person)
        if len(rows) > 1:
            others[rows] = np.roll(rows, -1)
    return others


def _kept(a: Columns, b: Columns) -> dict[str, Values]:
    """Whether each trait is told as in the original: 1 or 0, NaN where it is not told of the original.

    0 as well where nothing is told of the new face: every comparison with NaN is false.
    """
    white = np.where(_told(a["look_group"]), a["look_group"].argmax(axis=1) == 0, True)
    return {
        "sex_kept": _same_side(a["look_man"], b["look_man"], 0.5),
        "child_kept": _where(a["look_age"] < CHILD, b["look_age"] < CHILD),
        "old_kept": _where(a["look_age"] > OLD, b["look_age"] > OLD),
        "group_kept": _same_likeliest(a["look_group"], b["look_group"]),
        "group_kept_not_white": np.where(white, np.nan, _same_likeliest(a["look_group"], b["look_group"])),
        "expression_kept": _same_likeliest(a["expression"], b["expression"]),
        "eyes_kept": _same_side(a["eyes_open"], b["eyes_open"], CLOSED_EYE),
        "closed_eyes_kept": _where(a["eyes_open"] < CLOSED_EYE, b["eyes_open"] < CLOSED_EYE),
        "mouth_kept": _same_side(a["mouth_open"], b["mouth_open"], OPEN_MOUTH),
        "glasses_kept": _where(_has(a, "Eyeglasses"), _has(b, "Eyeglasses")),
        "facial_hair_kept": _where(has_facial_hair(a), has_facial_hair(b)),
        "makeup_kept": _all_same(a, b, ("Heavy_Makeup", "Wearing_Lipstick")),
        "hairline_kept": _all_same(a, b, ("Bangs", "Receding_Hairline", "Bald")),
        "gender_kept": _same_side(a["man"], b["man"], 0.5),
    }


def has_facial_hair(columns: Columns) -> npt.NDArray[np.bool_]:
    """[N], whether a beard of any kind or a moustache is told."""
    beard = ~_has(columns, "No_Beard")
    return np.asarray(beard | _has(columns, "Mustache") | _has(columns, "Goatee"))


def gaze_angle(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    """Angle in degrees [N] between gazes [N, 2] (to the image's right, upwards, in degrees)."""
    right, up = np.radians(np.stack([a, b]).astype(np.float64)).transpose(2, 0, 1)
    looks = np.stack([np.sin(right) * np.cos(up), np.sin(up), np.cos(right) * np.cos(up)], axis=-1)
    return vector_angle(looks[0], looks[1])


def rotation_angle(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    """Angle in degrees [N] of the rotation from one head pose to the other, each [N, 3] yaw, pitch, roll in degrees."""
    from scipy.spatial.transform import Rotation

    out = np.full(len(a), np.nan)
    known = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    if known.any():
        first, second = (Rotation.from_euler("YXZ", one[known], degrees=True) for one in (a, b))
        out[known] = np.degrees((first.inv() * second).magnitude())
    return out


def vector_angle(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    """Angle in degrees [N] between vectors [N, 3]; NaN where one is of no length."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1)))
    return np.asarray(np.where(lengths > FEW, angle, np.nan), np.float64)


def _color_difference(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    return np.asarray(deltaE_ciede2000(a.astype(np.float64), b.astype(np.float64)), np.float64)


def _points_apart(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    """Mean distance [N] of points [N, P, 2], both moved onto their own middles."""
    first, second = (one - one.mean(axis=1, keepdims=True) for one in (a, b))
    return np.asarray(np.linalg.norm(first - second, axis=2).mean(axis=1), np.float64)


def _ratio(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    return np.asarray(np.where(a > FEW, b / np.maximum(a, FEW), np.nan), np.float64)


def _same_side(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], limit: float) -> Values:
    return _where(_told(a), _told(b) & ((a > limit) == (b > limit)))


def _same_likeliest(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Values:
    """Whether the same of several answers [N, C] is the likeliest in both."""
    return _where(_told(a), _told(b) & (a.argmax(axis=1) == b.argmax(axis=1)))


def _told(values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """[N], whether what is told of each face is a number."""
    return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))


def _where(counted: npt.NDArray[np.bool_], values: npt.NDArray[np.generic]) -> Values:
    return np.where(counted, values.astype(np.float64), np.nan)


def _has(columns: Columns, attribute: str) -> npt.NDArray[np.bool_]:
    return np.asarray(columns["attributes"][:, ATTRIBUTES.index(attribute)] > 0)


def _all_same(a: Columns, b: Columns, attributes: Sequence[str]) -> Values:
    return np.asarray(np.all([_has(a, name) == _has(b, name) for name in attributes], axis=0), np.float64)
