"""All metrics of a set, under names that state their protocol, and what each of them means."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from mien.evaluation.confidence import Better, Estimate, estimate_finite
from mien.evaluation.measurements import Measurements
from mien.evaluation.privacy import (
    FALSE_MATCHES,
    RANKS,
    OriginalsGallery,
    People,
    is_named,
    linkability,
    reidentification,
    thresholds,
)
from mien.evaluation.quality import frechet, kernel_distance
from mien.evaluation.utility import utility
from mien.models.features.attribute_network import ATTRIBUTES

Estimates = dict[str, Estimate]  # name in METRICS -> value
STRICT = FALSE_MATCHES[-1]


@dataclass(frozen=True)
class Metric:
    """What a metric means.

    Attributes:
        better: whether less or more of it is wanted. unit: "%" for shares, else what is written behind the number.
    """

    title: str
    meaning: str
    better: Better
    unit: str = "%"


def rate_name(rate: float) -> str:
    """A false match rate as it is written in names: 1e-3 for 0.001."""
    return f"{rate:.0e}".replace("e-0", "e-")


def _verified(rate: float) -> Metric:
    return Metric(f"verified as the original, FAR {rate_name(rate)}",
                  f"taken for their own original, at the threshold at which {rate:.1%} of the originals' pairs of "
                  "different people pass for one", "less")


def _ranked(k: int, what: str, meaning: str) -> Metric:
    return Metric(f"{what} is the nearest" if k == 1 else f"{what} is among the nearest {k}", meaning, "less")


def _linked(rate: float) -> Metric:
    return Metric(f"linked pairs, FAR {rate_name(rate)}",
                  "pairs of one person's new faces found, at a threshold made of new faces", "less")


METRICS: dict[str, Metric] = {
    "distance_own_original": Metric("distance to the original", "by the judge's vectors", "more", ""),
    **{f"verified_own_original_far{rate_name(rate)}": _verified(rate) for rate in FALSE_MATCHES},
    **{f"rank{k}_own_original_all_originals": _ranked(
        k, "own original", "searched among all originals; the person's other photographs do not compete")
       for k in RANKS},
    **{f"rank{k}_other_photo_all_originals": _ranked(
        k, "another photograph of the person", "searched likewise, the own original left out")
       for k in RANKS},
    "eer_own_original": Metric("equal error rate against the originals",
                               "50 %: a new face is as far from its original as from strangers", "more"),
    "auc_new_to_new": Metric("linkability of two new faces (AUC)",
                             "50 %: two new faces of one person are as far apart as those of two people", "less"),
    "auc_new_to_new_alike": Metric("the same among people alike (AUC)", "against strangers of the same gender and age "
                                   "(young or not): what two new faces share beyond what is kept on purpose", "less"),
    **{f"tar_new_to_new_far{rate_name(rate)}": _linked(rate) for rate in FALSE_MATCHES},
    "collisions_new_to_new": Metric("different people taken for one another",
                                    "pairs of new faces of different people that pass for one person; of the "
                                    f"originals' {STRICT:.1%} do", "less"),
    "attributes_accuracy": Metric("attributes", "of 40, told by the attribute judge as labeled", "more"),
    "attributes_inner_accuracy": Metric("attributes of the face", "those that the face itself shows", "more"),
    "attributes_outer_accuracy": Metric("attributes around it", "all others: hair, what is worn, the whole picture",
                                        "more"),
    "attributes_balanced_accuracy": Metric("attributes, balanced", "faces with and without each count alike", "more"),
    "attributes_inner_balanced_accuracy": Metric("attributes of the face, balanced", "likewise", "more"),
    "attributes_outer_balanced_accuracy": Metric("attributes around it, balanced", "likewise", "more"),
    "age_difference": Metric("age", "difference to the original's, told by an age network", "less", "years"),
    "gender_kept": Metric("gender", "told by a gender network as in the original", "more"),
    "points5_difference": Metric("five points", "mean distance to the original's, of the eye distance", "less"),
    "points68_difference": Metric("68 points", "likewise, dlib's outlines of face, brows, eyes, nose, mouth", "less"),
    "turn_difference": Metric("head turned", "difference to the original's", "less", "°"),
    "nod_difference": Metric("head bowed", "difference to the original's", "less", "°"),
    "found_yunet": Metric("face found", "by YuNet, of those that it finds in the originals", "more"),
    "found_centerface": Metric("face found by a second detector", "by CenterFace, likewise", "more"),
    "sharpness_ratio": Metric("sharpness", "variance of the Laplacian, relative to the original's", "more", ""),
    "fd_effnet_lite0": Metric("Fréchet distance", "to the originals, features of ImageNet's EfficientNet-Lite0 on the "
                              "aligned crop; falls with the number of faces", "less", ""),
    "kd_effnet_lite0": Metric("kernel distance", "the same features, cubic kernel, unbiased", "less", ""),
    "fid_inception": Metric("FID", "Fréchet distance of Inception v3's features of the aligned crop of 256 px, to the "
                            "originals; only where its weights were imported", "less", ""),
    "outside_changed": Metric("pixels changed outside the faces", "from hairline to chin, and a little more; by more "
                              "than 2 gray levels", "less"),
    "seam": Metric("seam", "how much steeper the picture is along the border of what was changed", "less"),
}


@dataclass(frozen=True)
class Reference:
    """The originals' measurements, and what is derived from them alone.

    Attributes:
        people: [N]. labels: [N, 40] or None. known: whether there are pairs of different named people.
        limits: judge -> false match rate -> threshold; empty where people are not known.
        galleries: judge -> all originals of named people that it can judge, also those outside the part of the data
            that `at` has chosen; empty where people are not known.
        places: judge -> [N], where in its gallery each is, or -1.
    """

    measurements: Measurements
    people: People
    labels: npt.NDArray[np.int8] | None
    known: bool
    limits: dict[str, dict[float, float]]
    galleries: dict[str, OriginalsGallery]
    places: dict[str, npt.NDArray[np.int64]]

    def truth(self) -> npt.NDArray[np.bool_]:
        """[N, 40] attributes as labeled, or without labels as the attribute judge tells them of the originals."""
        return np.asarray((self.measurements.columns["attributes"] if self.labels is None else self.labels) > 0)

    def kinds(self) -> npt.NDArray[np.int64]:
        """[N], gender and age (young or not) in one number."""
        truth = self.truth()
        return np.asarray(2 * truth[:, ATTRIBUTES.index("Male")] + truth[:, ATTRIBUTES.index("Young")], np.int64)

    def at(self, rows: npt.NDArray[np.int64]) -> Reference:
        """Some of the rows; thresholds and galleries stay those of all originals."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, measurements=self.measurements.at(rows), people=self.people[rows], labels=labels,
                       places={name: places[rows] for name, places in self.places.items()})


def calibrate(originals: Measurements, people: People, labels: npt.NDArray[np.int8] | None, known: bool,
              judges: list[str]) -> Reference:
    """Calibrates the judges on the originals' own pairs of different people.

    Args:
        people, labels, known: see `Reference`.
    """
    limits, galleries, places = {}, {}, {}
    for name in judges if known else ():
        column = originals.columns[f"vector_{name}"]
        usable = np.isfinite(column).all(axis=1) & is_named(people)
        vectors = torch.from_numpy(column[usable])
        galleries[name] = OriginalsGallery(vectors, people[usable])
        places[name] = np.where(usable, np.cumsum(usable) - 1, -1)
        limits[name] = thresholds(vectors, people[usable])[0]
    return Reference(originals, people, labels, known, limits, galleries, places)


def estimate_metrics(original: Reference, new: Measurements, judges: list[str]) -> dict[str, Estimates]:
    """Estimates all metrics of a set whose rows are the same photographs as the originals'.

    Returns:
        "privacy/JUDGE", "utility", "quality" -> name in `METRICS` -> value. A metric without a value is left out, and
        so are the distances of whole sets where the measurements have no `features`.
    """
    out = {f"privacy/{name}": _privacy(original, new, name) for name in judges if original.known}
    return out | {"utility": _utility(original, new), "quality": _quality(original, new)}


def _privacy(original: Reference, new: Measurements, judge: str) -> Estimates:
    after, places = new.columns[f"vector_{judge}"], original.places[judge]
    usable = np.isfinite(after).all(axis=1) & (places >= 0)
    vectors, people, limits = torch.from_numpy(after[usable]), original.people[usable], original.limits[judge]
    found = reidentification(vectors, original.galleries[judge], places[usable], limits)
    linked = linkability(vectors, people, limits[STRICT], original.kinds()[usable])
    out = {"distance_own_original": found.distance}
    out |= {f"verified_own_original_far{rate_name(rate)}": x for rate, x in found.verified.items()}
    out |= {f"rank{k}_own_original_all_originals": x for k, x in found.ranked.items()}
    out |= {f"rank{k}_other_photo_all_originals": x for k, x in found.ranked_others.items()}
    out["eer_own_original"] = _of_whole_set(found.eer, people)
    out["auc_new_to_new"] = linked.auc
    out["auc_new_to_new_alike"] = linked.auc_alike
    out |= {f"tar_new_to_new_far{rate_name(rate)}": x for rate, x in linked.linked.items()}
    out["collisions_new_to_new"] = _of_whole_set(linked.collisions, people)
    return _with_values(out)


def _utility(original: Reference, new: Measurements) -> Estimates:
    found = utility(original.measurements, new, original.people, original.truth())
    return _with_values({
        "attributes_accuracy": found.attributes,
        "attributes_inner_accuracy": found.inner,
        "attributes_outer_accuracy": found.outer,
        "attributes_balanced_accuracy": _of_whole_set(found.balanced, original.people),
        "attributes_inner_balanced_accuracy": _of_whole_set(found.balanced_inner, original.people),
        "attributes_outer_balanced_accuracy": _of_whole_set(found.balanced_outer, original.people),
        "age_difference": found.age,
        "gender_kept": found.gender,
        "points5_difference": found.points,
        "points68_difference": found.points68,
        "turn_difference": found.turn,
        "nod_difference": found.nod,
        "found_yunet": found.found,
        "found_centerface": found.found_second,
    })


def _quality(original: Reference, new: Measurements) -> Estimates:
    before, after = original.measurements.columns, new.columns
    ratio = after["sharpness"] / np.maximum(before["sharpness"], 1e-6)
    found = {} if "features" not in before else _between_sets(before["features"], after["features"], original.people)
    if "inception" in before and "inception" in after:
        a, b = torch.from_numpy(before["inception"]), torch.from_numpy(after["inception"])
        found["fid_inception"] = _of_whole_set(frechet(a, b), original.people)
    return _with_values(found | {
        "outside_changed": estimate_finite(after["outside"], original.people),
        "seam": estimate_finite(after["seam"], original.people),
        "sharpness_ratio": estimate_finite(ratio, original.people),
    })


def _between_sets(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], people: People) -> Estimates:
    a, b = torch.from_numpy(before), torch.from_numpy(after)
    # The scatter between random subsets is no interval over people.
    return {"fd_effnet_lite0": _of_whole_set(frechet(a, b), people),
            "kd_effnet_lite0": _of_whole_set(kernel_distance(a, b)[0], people)}


def _of_whole_set(value: float, people: People) -> Estimate:
    """A metric of the whole set, without an interval."""
    return Estimate(value, float("nan"), float("nan"), len(people), len(np.unique(people)))


def _with_values(found: Estimates) -> Estimates:
    """Leaves out what there was nothing to estimate from."""
    return {name: one for name, one in found.items() if one.count and np.isfinite(one.value)}
