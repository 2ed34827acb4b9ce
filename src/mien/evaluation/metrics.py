"""All metrics of a set, under names that state their protocol, and what each of them means."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from mien.evaluation.confidence import Estimate, estimate_finite, with_values
from mien.evaluation.look.compare import LOOK_METRICS, compare_looks
from mien.evaluation.measurements import Measurements
from mien.evaluation.metric import Metric
from mien.evaluation.people import People, is_named
from mien.evaluation.privacy.alike import kinds_of_people
from mien.evaluation.privacy.chance import LEAST_SEARCHED
from mien.evaluation.privacy.identity_collapse import MOST, share_of_identities
from mien.evaluation.privacy.reidentification import (
    FALSE_MATCHES,
    LEAST_STRANGERS,
    RANKS,
    OriginalsGallery,
    linkability,
    reidentification,
    thresholds,
)
from mien.evaluation.quality.set_distances import frechet, kernel_distance
from mien.evaluation.quality.spot_the_fake import spot_the_fake
from mien.evaluation.utility import utility

Estimates = dict[str, Estimate]  # name in METRICS -> value
STRICT = FALSE_MATCHES[-1]


def rate_name(rate: float) -> str:
    """A false match rate as it is written in names: 1e-3 for 0.001."""
    return f"{rate:.0e}".replace("e-0", "e-")


def _verified(rate: float) -> Metric:
    return Metric(f"verified as the original, FAR {rate_name(rate)}",
                  f"taken for their own original, at the threshold at which {rate:.1%} of the originals' pairs of "
                  "different people pass for one", "less")


def _lift(what: str, meaning: str) -> Metric:
    return Metric(f"lift over chance: {what}", meaning, "less", "×")


def _ranked(k: int, what: str, meaning: str) -> Metric:
    return Metric(f"{what} is the nearest" if k == 1 else f"{what} is among the nearest {k}", meaning, "less")


def _linked(rate: float) -> Metric:
    return Metric(f"linked pairs, FAR {rate_name(rate)}",
                  "pairs of one person's new faces found, at a threshold made of new faces", "less")


BOUNDS = f"none for fewer than {LEAST_SEARCHED} people; at least so many times where no stranger's new face ever does"
PERMUTED = ("measured by giving every new face the identity of every stranger in turn, the photographs of its own "
            "person left out; so that the galleries are equally large, one other person is left out for the own "
            f"identity too; 1: no more often than by chance; {BOUNDS}")
WORST = "the largest share of one person's new faces, among people with at least 3,"
METRICS: dict[str, Metric] = {
    "distance_own_original": Metric("distance to the original", "by the judge's vectors", "more", ""),
    **{f"verified_own_original_far{rate_name(rate)}": _verified(rate) for rate in FALSE_MATCHES},
    f"lift_verified_own_original_far{rate_name(STRICT)}": _lift(
        f"verified as the original, FAR {rate_name(STRICT)}",
        "how many times as often as strangers' new faces pass for the same originals at the same threshold; 1: no more "
        f"often than a stranger's; {BOUNDS}"),
    **{f"rank{k}_own_original_all_originals": _ranked(
        k, "own original", "searched among all originals; the person's other photographs do not compete")
       for k in RANKS},
    "lift_rank1_own_original_all_originals": _lift(
        "own original is the nearest",
        f"how many times as often as strangers' new faces have that original as their nearest, {PERMUTED}"),
    **{f"rank{k}_other_photo_all_originals": _ranked(
        k, "another photograph of the person", "searched likewise, the own original left out")
       for k in RANKS},
    "lift_rank1_other_photo_all_originals": _lift(
        "another photograph is the nearest",
        f"how many times as often as strangers' new faces find a photograph of the person, {PERMUTED}"),
    "worst_person_verified": Metric(
        f"worst person, verified, FAR {rate_name(STRICT)}",
        f"{WORST} taken for their own originals; worst tenth: the mean over the worst tenth of the people", "less"),
    "worst_person_rank1": Metric(
        "worst person, own original is the nearest",
        f"{WORST} nearest to their own originals; worst tenth: the mean over the worst tenth of the people", "less"),
    "eer_own_original": Metric("equal error rate against the originals",
                               "50 %: a new face is as far from its original as from strangers", "more"),
    "auc_new_to_new": Metric("linkability of two new faces (AUC)",
                             "50 %: two new faces of one person are as far apart as those of two people", "less"),
    "auc_new_to_new_alike": Metric(
        "the same among people alike (AUC)",
        "against strangers of the same sex, age (under 13, to 29, to 59, 60 and over), ethnic group and hair color, as "
        "far as these were measured: what two new faces share beyond what is kept on purpose; where fewer than "
        f"{LEAST_STRANGERS} pairs of strangers are alike, or where the pair's own two originals were told differently, "
        "hair, then group, then age are let go; pairs whose originals were told of different sex are left out", "less"),
    "alike_entirely": Metric("compared with strangers alike in everything", "pairs of the line above for which nothing "
                             "had to be let go: for the others too few strangers were alike, or their own two "
                             "originals were told differently", "more"),
    **{f"tar_new_to_new_far{rate_name(rate)}": _linked(rate) for rate in FALSE_MATCHES},
    "collisions_new_to_new": Metric("different people taken for one another",
                                    "pairs of new faces of different people that pass for one person; of the "
                                    f"originals' {STRICT:.1%} do", "less"),
    "identities_new": Metric(
        "different people among the new faces",
        f"clusters (average linkage at FAR {rate_name(STRICT)}) among one new face of each of at most {MOST} people, "
        "as a share of these faces; real people come out below 100 % too, see the originals", "more"),
    **LOOK_METRICS,
    "attributes_accuracy": Metric("attributes", "of 40, told by the attribute judge as labeled", "more"),
    "attributes_inner_accuracy": Metric("attributes of the face", "those that the face itself shows", "more"),
    "attributes_outer_accuracy": Metric("attributes around it", "all others: hair, what is worn, the whole picture",
                                        "more"),
    "attributes_balanced_accuracy": Metric("attributes, balanced", "faces with and without each count alike", "more"),
    "attributes_inner_balanced_accuracy": Metric("attributes of the face, balanced", "likewise", "more"),
    "attributes_outer_balanced_accuracy": Metric("attributes around it, balanced", "likewise", "more"),
    "found_yunet": Metric("face found", "by YuNet, of those that it finds in the originals", "more"),
    "found_centerface": Metric("face found by a second detector", "by CenterFace, likewise", "more"),
    "spot_the_fake": Metric(
        "changed faces told from untouched ones (AUC)", "50 % is best: a fixed linear classifier on frozen features of "
        "textures, which learned from half of the people, tries on the others; grows with the number of faces", "less"),
    "fd_effnet_lite0": Metric("Fréchet distance", "to the originals, features of ImageNet's EfficientNet-Lite0 on the "
                              "aligned crop; falls with the number of faces", "less", ""),
    "kd_effnet_lite0": Metric("kernel distance, times 1,000", "the same features, cubic kernel; unbiased: no face is "
                              "compared with its own original", "less", ""),
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
        """[N, L], numbers of the kinds of people that are hard to tell apart, see `kinds_of_people`."""
        return kinds_of_people(self.measurements.columns, self.truth())

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
        "privacy/JUDGE", "look", "utility", "quality" -> name in `METRICS` -> value. A metric without a value is left
        out, and so are the distances of whole sets where the measurements have no `features`.
    """
    out = {f"privacy/{name}": _privacy(original, new, name) for name in judges if original.known}
    look = with_values(compare_looks(original.measurements, new, original.people))
    return out | {"look": look, "utility": _utility(original, new), "quality": _quality(original, new)}


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
    out[f"lift_verified_own_original_far{rate_name(STRICT)}"] = found.lift_verified(STRICT)
    out["lift_rank1_own_original_all_originals"] = found.lift_ranked()
    out["lift_rank1_other_photo_all_originals"] = found.lift_ranked_others()
    out["worst_person_verified"] = found.worst_verified.get(STRICT, Estimate.missing())
    out["worst_person_rank1"] = found.worst_ranked
    out["eer_own_original"] = _of_whole_set(found.eer, people)
    out["auc_new_to_new"] = linked.auc
    out["auc_new_to_new_alike"] = linked.auc_alike
    out["alike_entirely"] = linked.alike_entirely
    out |= {f"tar_new_to_new_far{rate_name(rate)}": x for rate, x in linked.linked.items()}
    out["collisions_new_to_new"] = _of_whole_set(linked.collisions, people)
    share, faces = share_of_identities(vectors, people, limits[STRICT])
    out["identities_new"] = Estimate(share, float("nan"), float("nan"), faces, faces)
    return with_values(out)


def _utility(original: Reference, new: Measurements) -> Estimates:
    found = utility(original.measurements, new, original.people, original.truth())
    return with_values({
        "attributes_accuracy": found.attributes,
        "attributes_inner_accuracy": found.inner,
        "attributes_outer_accuracy": found.outer,
        "attributes_balanced_accuracy": _of_whole_set(found.balanced, original.people),
        "attributes_inner_balanced_accuracy": _of_whole_set(found.balanced_inner, original.people),
        "attributes_outer_balanced_accuracy": _of_whole_set(found.balanced_outer, original.people),
        "found_yunet": found.found,
        "found_centerface": found.found_second,
    })


def _quality(original: Reference, new: Measurements) -> Estimates:
    before, after = original.measurements.columns, new.columns
    found = {} if "features" not in before else _between_sets(before["features"], after["features"], original.people)
    if "inception" in before and "inception" in after:
        a, b = torch.from_numpy(before["inception"]), torch.from_numpy(after["inception"])
        found["fid_inception"] = _of_whole_set(frechet(a, b), original.people)
    if "texture" in before:
        found["spot_the_fake"] = spot_the_fake(before["texture"], after["texture"], original.people)
    return with_values(found | {
        "outside_changed": estimate_finite(after["outside"], original.people),
        "seam": estimate_finite(after["seam"], original.people),
    })


def _between_sets(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], people: People) -> Estimates:
    a, b = torch.from_numpy(before), torch.from_numpy(after)
    # The scatter between random subsets is no interval over people.
    return {"fd_effnet_lite0": _of_whole_set(frechet(a, b), people),
            "kd_effnet_lite0": _of_whole_set(1000 * kernel_distance(a, b, paired=True)[0], people)}


def _of_whole_set(value: float, people: People) -> Estimate:
    """A metric of the whole set, without an interval."""
    return Estimate(value, float("nan"), float("nan"), len(people), len(np.unique(people)))
