"""All figures of one set under names that state their protocol, and what each of them means."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from mien.evaluation.confidence import Better, Estimate, estimate_known
from mien.evaluation.measurements import Measurements
from mien.evaluation.privacy import FALSE_MATCHES, RANKS, OriginalsGallery, People, finding, linking, named, thresholds
from mien.evaluation.quality import frechet, kernel_distance
from mien.evaluation.utility import utility
from mien.models.features.attribute_network import ATTRIBUTES

Figures = dict[str, Estimate]
STRICT = FALSE_MATCHES[-1]


@dataclass(frozen=True)
class Metric:
    """What a figure means.

    Attributes:
        better: whether less or more of it is wanted. unit: "%" for shares, else as it is.
    """

    title: str
    meaning: str
    better: Better
    unit: str = "%"


def rate_name(rate: float) -> str:
    """1e-3 for 0.001."""
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
    "attributes_inner_accuracy": Metric("attributes of the face", "those that the face itself tells", "more"),
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
    """The originals, and what is derived of them alone.

    Attributes:
        people: [N]. labels: [N, 40] or None. known: whether it is known who is on the photographs.
        limits: judge -> false match rate -> threshold; empty without known people.
        galleries: judge -> all originals of named people that it can judge, those of other parts of the data too;
            empty likewise.
        places: judge -> [N] where in its gallery each is, or -1.
    """

    seen: Measurements
    people: People
    labels: npt.NDArray[np.int8] | None
    known: bool
    limits: dict[str, dict[float, float]]
    galleries: dict[str, OriginalsGallery]
    places: dict[str, npt.NDArray[np.int64]]

    def truth(self) -> npt.NDArray[np.bool_]:
        """[N, 40] attributes: as labeled, or without labels as the judge sees them in the originals."""
        return np.asarray((self.seen.columns["attributes"] if self.labels is None else self.labels) > 0)

    def kinds(self) -> npt.NDArray[np.int64]:
        """[N] gender and age in one number."""
        truth = self.truth()
        return np.asarray(2 * truth[:, ATTRIBUTES.index("Male")] + truth[:, ATTRIBUTES.index("Young")], np.int64)

    def at(self, rows: npt.NDArray[np.int64]) -> Reference:
        """Some of them; thresholds stay, and so does the gallery that is searched."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, seen=self.seen.at(rows), people=self.people[rows], labels=labels,
                       places={name: places[rows] for name, places in self.places.items()})


def reference(seen: Measurements, people: People, labels: npt.NDArray[np.int8] | None, known: bool,
              judges: list[str]) -> Reference:
    """Calibrate the judges on the originals' own pairs of different people."""
    limits, galleries, places = {}, {}, {}
    for name in judges if known else ():
        column = seen.columns[f"vector_{name}"]
        there = np.isfinite(column).all(axis=1) & named(people)
        vectors = torch.from_numpy(column[there])
        galleries[name] = OriginalsGallery(vectors, people[there])
        places[name] = np.where(there, np.cumsum(there) - 1, -1)
        limits[name] = thresholds(vectors, people[there])[0]
    return Reference(seen, people, labels, known, limits, galleries, places)


def figures(original: Reference, new: Measurements, judges: list[str]) -> dict[str, Figures]:
    """Figures of a set, row by row the same photographs as the originals.

    Returns:
        "privacy/JUDGE", "utility", "quality" -> name in `METRICS` -> figure. What cannot be asked is left out, and so
        are the distances of whole sets where `features` have been taken out.
    """
    out = {f"privacy/{name}": _privacy(original, new, name) for name in judges if original.known}
    return out | {"utility": _utility(original, new), "quality": _quality(original, new)}


def _privacy(original: Reference, new: Measurements, judge: str) -> Figures:
    after, places = new.columns[f"vector_{judge}"], original.places[judge]
    there = np.isfinite(after).all(axis=1) & (places >= 0)
    vectors, people, limits = torch.from_numpy(after[there]), original.people[there], original.limits[judge]
    found = finding(vectors, original.galleries[judge], places[there], limits)
    linked = linking(vectors, people, limits[STRICT], original.kinds()[there])
    out = {"distance_own_original": found.distance}
    out |= {f"verified_own_original_far{rate_name(rate)}": x for rate, x in found.verified.items()}
    out |= {f"rank{k}_own_original_all_originals": x for k, x in found.ranked.items()}
    out |= {f"rank{k}_other_photo_all_originals": x for k, x in found.ranked_others.items()}
    out["eer_own_original"] = _plain(found.eer, people)
    out["auc_new_to_new"] = linked.auc
    out["auc_new_to_new_alike"] = linked.auc_alike
    out |= {f"tar_new_to_new_far{rate_name(rate)}": x for rate, x in linked.linked.items()}
    out["collisions_new_to_new"] = _plain(linked.collisions, people)
    return _asked(out)


def _utility(original: Reference, new: Measurements) -> Figures:
    found = utility(original.seen, new, original.people, original.truth())
    return _asked({
        "attributes_accuracy": found.attributes,
        "attributes_inner_accuracy": found.inner,
        "attributes_outer_accuracy": found.outer,
        "attributes_balanced_accuracy": _plain(found.balanced, original.people),
        "attributes_inner_balanced_accuracy": _plain(found.balanced_inner, original.people),
        "attributes_outer_balanced_accuracy": _plain(found.balanced_outer, original.people),
        "age_difference": found.age,
        "gender_kept": found.gender,
        "points5_difference": found.points,
        "points68_difference": found.points68,
        "turn_difference": found.turn,
        "nod_difference": found.nod,
        "found_yunet": found.found,
        "found_centerface": found.found_second,
    })


def _quality(original: Reference, new: Measurements) -> Figures:
    before, after = original.seen.columns, new.columns
    ratio = after["sharpness"] / np.maximum(before["sharpness"], 1e-6)
    found = {} if "features" not in before else _between_sets(before["features"], after["features"], original.people)
    if "inception" in before and "inception" in after:
        a, b = torch.from_numpy(before["inception"]), torch.from_numpy(after["inception"])
        found["fid_inception"] = _plain(frechet(a, b), original.people)
    return _asked(found | {
        "outside_changed": estimate_known(after["outside"], original.people),
        "seam": estimate_known(after["seam"], original.people),
        "sharpness_ratio": estimate_known(ratio, original.people),
    })


def _between_sets(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], people: People) -> Figures:
    a, b = torch.from_numpy(before), torch.from_numpy(after)
    # The scatter between random subsets is no interval over people.
    return {"fd_effnet_lite0": _plain(frechet(a, b), people),
            "kd_effnet_lite0": _plain(kernel_distance(a, b)[0], people)}


def _plain(value: float, people: People) -> Estimate:
    """A figure of the whole set, without an interval."""
    return Estimate(value, float("nan"), float("nan"), len(people), len(np.unique(people)))


def _asked(found: Figures) -> Figures:
    return {name: one for name, one in found.items() if one.count and np.isfinite(one.value)}
