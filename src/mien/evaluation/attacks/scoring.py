"""Scores an attack: the victims' new faces are searched among all originals of these victims."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mien.evaluation.confidence import Estimate, estimate, with_values
from mien.evaluation.metric import Metric
from mien.evaluation.metrics import BOUNDS, PERMUTED, STRICT, Estimates, rate_name
from mien.evaluation.people import People
from mien.evaluation.privacy.distance_histogram import DistanceHistogram, distances_to_gallery, impostor_distances
from mien.evaluation.privacy.reidentification import (
    FALSE_MATCHES,
    RANKS,
    OriginalsGallery,
    other_photos,
    reidentification,
)


def _lift(what: str) -> Metric:
    return Metric(f"lift over chance: {what}", f"how many times as often as a stranger's new face finds it, {PERMUTED}",
                  "less", "×")


ATTACK_METRICS: dict[str, Metric] = {
    **{f"rank{k}_own_original_victims": Metric(
        "own original is the nearest" if k == 1 else f"own original is among the nearest {k}",
        "searched among the originals of the people the attacker is after; the person's other photographs do not "
        "compete", "less") for k in RANKS},
    "lift_rank1_own_original_victims": _lift("own original is the nearest"),
    **{f"rank{k}_other_photo_victims": Metric(
        "another photograph of the person is the nearest" if k == 1 else
        f"another photograph of the person is among the nearest {k}", "searched likewise, the own original left out",
        "less") for k in RANKS},
    "lift_rank1_other_photo_victims": _lift("another photograph is the nearest"),
    **{f"verified_own_original_cross_far{rate_name(rate)}": Metric(
        f"verified as the original, cross FAR {rate_name(rate)}",
        f"at the threshold at which {rate:.1%} of the pairs of a new face and a stranger's original pass", "less")
       for rate in FALSE_MATCHES},
    f"lift_verified_own_original_cross_far{rate_name(STRICT)}": Metric(
        f"lift over chance: verified, cross FAR {rate_name(STRICT)}",
        f"how many times as often as strangers' new faces pass for the same originals; 1: no better than guessing; "
        f"{BOUNDS}",
        "less", "×"),
    **{f"rank{k}_other_new_victims": Metric(
        "another new face of the person is the nearest new face" if k == 1 else
        f"another new face of the person is among the nearest {k} new faces",
        "searched among the new faces of the people the attacker is after, as one who has some with names", "less")
       for k in RANKS},
    "lift_rank1_other_new_victims": _lift("another new face is the nearest"),
    "auc_own_original_cross": Metric("own original against strangers' (AUC)", "50 %: no better than guessing", "less"),
    "auc_other_photo_cross": Metric("another photograph of the person against strangers' (AUC)",
                                    "50 %: no better than guessing", "less"),
}


def score(new: Tensor, originals: Tensor, people: People) -> Estimates:
    """Estimates `ATTACK_METRICS` from an attacker's vectors, whose distances are small where faces are alike.

    Args:
        new, originals: [N, D], row by row the same photograph. people: [N].
    """
    person = torch.from_numpy(people)
    impostors = impostor_distances(new, originals, person, person)
    found = reidentification(new, OriginalsGallery(originals, people), np.arange(len(people)),
                             {rate: impostors.threshold(rate) for rate in FALSE_MATCHES})
    own = (new - originals).norm(dim=1).numpy()
    out: Estimates = {f"rank{k}_own_original_victims": x for k, x in found.ranked.items()}
    out |= {f"rank{k}_other_photo_victims": x for k, x in found.ranked_others.items()}
    among = reidentification(new, OriginalsGallery(new, people), np.arange(len(people)), {})
    out |= {f"rank{k}_other_new_victims": x for k, x in among.ranked_others.items()}
    out |= {f"verified_own_original_cross_far{rate_name(rate)}": x for rate, x in found.verified.items()}
    out["lift_rank1_own_original_victims"] = found.lift_ranked()
    out["lift_rank1_other_photo_victims"] = found.lift_ranked_others()
    out["lift_rank1_other_new_victims"] = among.lift_ranked_others()
    out[f"lift_verified_own_original_cross_far{rate_name(STRICT)}"] = found.lift_verified(STRICT)
    out["auc_own_original_cross"] = estimate(1 - impostors.share_below(own), people)
    out["auc_other_photo_cross"] = _other_photo_auc(new, originals, people, impostors)
    return with_values(out)


def _other_photo_auc(new: Tensor, originals: Tensor, people: People, impostors: DistanceHistogram) -> Estimate:
    """Area under the curve of the person's other photographs against those of other people."""
    nearer, nearer_people = [], []
    person = torch.from_numpy(people)
    for some, distances in distances_to_gallery(new, originals):
        here = torch.arange(len(new))[some]
        others = other_photos(person[here], person, here)
        nearer.append(1 - impostors.share_below(distances[others].numpy()))
        nearer_people.append(person[here, None].expand_as(others)[others].numpy())
    return estimate(np.concatenate(nearer), np.concatenate(nearer_people))
