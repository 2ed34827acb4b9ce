"""Sums up an evaluation in sentences: whether people can be found again, and what else a reader has to know."""

from __future__ import annotations

from dataclasses import dataclass

from mien.evaluation.evaluation import Evaluation, Figure
from mien.evaluation.metrics import STRICT, rate_name
from mien.report.run_findings import Level

VERIFIED = f"verified_own_original_far{rate_name(STRICT)}"
RANKED, RANKED_LIFT = "rank1_own_original_all_originals", "lift_rank1_own_original_all_originals"
FOUND_LIFT = "lift_rank1_other_photo_victims"  # of what an attack finds
GOOD = 0.01  # the largest share of faces found again that is called good
BAD = 0.05  # above this share it is called bad
# What makes a judge's figures better than they are, by its role.
UNFAIR = {"gate": "let these faces through, and those that it recognized did not pass",
          "loss": "took part in making the faces"}
LINKED = 0.6  # area under the curve above which photographs of one person can be linked


@dataclass(frozen=True)
class EvaluationFindings:
    """The sentences that the page begins with.

    Attributes:
        level: "good" where no judge finds more than one face in a hundred again, attackers find few, and photographs
            of one person cannot be linked, or were to be (per-person identities); "bad" where a judge finds more than
            one in twenty again; "mixed" for all between, and where too few faces were compared or no person is named.
        headline: one sentence, without its full stop. notes: further sentences.
    """

    level: Level
    headline: str
    notes: list[str]


def evaluation_findings(evaluation: Evaluation) -> EvaluationFindings:
    """Sums up what the evaluation found about its set."""
    judge, figures = main_judge(evaluation), evaluation.sets[evaluation.set].figures
    role = evaluation.judges[judge].role if judge in evaluation.judges else None
    privacy = figures.get(f"privacy/{judge}", {})
    verified, ranked = privacy.get(VERIFIED), privacy.get(RANKED)
    if verified is None or ranked is None:
        return EvaluationFindings("mixed", "Whether anyone can be found again is not known: nobody is named on the "
                                  "photographs, or too few faces could be compared",
                                  [*_utility_notes(evaluation), *evaluation.notes])
    linked, times = privacy.get("auc_new_to_new"), _times_chance(privacy.get(RANKED_LIFT))
    notes = [
        f"Searched among the originals of all {evaluation.people} people, {_faces(ranked)} nearest to "
        f"{_their(ranked)}{_most(ranked)}{times}; the person's other photographs do not compete.",
        *([_linking(linked, evaluation.linked)] if linked else []),
        *([f"The judge {judge} {UNFAIR[role]}, so that this is no fair judgment."] if role in UNFAIR else []),
        *_utility_notes(evaluation), *_attack_notes(evaluation), *evaluation.notes]
    return EvaluationFindings(_level(evaluation, verified, linked),
                              f"{_faces(verified)} taken for {_their(verified)}{_most(verified)}, where at most one "
                              f"stranger in {round(1 / STRICT):,} is", notes)


def _level(evaluation: Evaluation, verified: Figure, linked: Figure | None) -> Level:
    groups = [group for name, group in evaluation.sets[evaluation.set].figures.items() if name.startswith("privacy/")]
    # Among few photographs chance alone finds many; what is found beyond it counts, whichever judge finds it.
    found_again = max(max(group[VERIFIED].value, _beyond_chance(group[RANKED], group.get(RANKED_LIFT), 0.0))
                      for group in groups if VERIFIED in group and RANKED in group)
    if found_again > BAD:
        return "bad"
    attacked = max((_beyond_chance(best, one.best(FOUND_LIFT), best.value) for one in evaluation.attacks.values()
                    if (best := one.best())), default=0.0)
    unwanted = linked is not None and linked.value > LINKED and not evaluation.linked
    unsure = verified.high is None or verified.high > BAD
    return "mixed" if found_again > GOOD or attacked > BAD or unsure or unwanted else "good"


def _beyond_chance(rate: Figure, lift: Figure | None, unknown: float) -> float:
    """The share that is found beyond what chance finds; `unknown` where too few people were searched to know chance."""
    if lift is None:
        return unknown
    return rate.value * (1 - 1 / lift.value) if lift.value > 1 else 0.0


def _times_chance(lift: Figure | None) -> str:
    if lift is None:
        return ""
    return f", {'at least ' * lift.at_least}{lift.value:.1f} times as often as by chance"


def main_judge(evaluation: Evaluation) -> str:
    """The judge that the findings go by: of those that have figures the first independent one, else the gate; or ""."""
    fairness, figures = ("independent", "gate", "loss"), evaluation.sets[evaluation.set].figures
    return min(evaluation.judges, key=lambda name: (not figures.get(f"privacy/{name}"),
                                                    fairness.index(evaluation.judges[name].role)), default="")


def share_kept(evaluation: Evaluation, group: str, name: str) -> float | None:
    """Where a figure is between random generated faces (0) and the originals (1); None unless there are both."""
    sets = evaluation.sets
    ends = [sets[one].figures.get(group, {}).get(name) if one in sets else None
            for one in ("random", evaluation.set, "originals")]
    if any(end is None for end in ends):
        return None
    low, value, high = (end.value for end in ends if end)
    return None if abs(high - low) < 1e-9 else (value - low) / (high - low)


def _linking(linked: Figure, wanted: bool) -> str:
    cannot = linked.value <= LINKED
    if wanted:
        return ("A person was to be the same new person in all photographs: of comparisons of two new photographs of "
                f"one person with those of two people {100 * linked.value:.0f} % are right{_interval(linked)}; all "
                "were to be.")
    return (f"Two new photographs of one person {'can hardly' if cannot else 'can'} be told from those of two people: "
            f"{100 * linked.value:.0f} % of comparisons are right{_interval(linked)}, where guessing gives 50 %.")


def _utility_notes(evaluation: Evaluation) -> list[str]:
    utility = evaluation.sets[evaluation.set].figures.get("utility", {})
    notes = []
    attributes, share = utility.get("attributes_accuracy"), share_kept(evaluation, "utility", "attributes_accuracy")
    if attributes:
        way = "" if share is None else (f": {100 * share:.0f} % of the way from random generated faces to the "
                                        "originals")
        notes.append(f"{100 * attributes.value:.1f} % of the attributes are told right on the new faces{way}.")
    found = utility.get("found_centerface")
    if found:
        notes.append(f"A second detector finds {_count(found)} faces that it found in the originals.")
    return notes


def _attack_notes(evaluation: Evaluation) -> list[str]:
    notes = []
    for name, attack in evaluation.attacks.items():
        best, lift = attack.best(), attack.best(FOUND_LIFT)
        if best:
            notes.append(f"An attacker who knows the method ({name}) finds another photograph of the same person for "
                         f"{100 * best.value:.1f} % of the new faces at first guess{_times_chance(lift)}.")
    return notes


def _faces(figure: Figure) -> str:
    return f"{_count(figure)} new faces {'is' if round(figure.value * figure.count) == 1 else 'are'}"


def _their(figure: Figure) -> str:
    return "its own original" if round(figure.value * figure.count) == 1 else "their own originals"


def _count(figure: Figure) -> str:
    return f"{round(figure.value * figure.count):,} of {figure.count:,}"


def _most(figure: Figure) -> str:
    return "" if figure.high is None else f" ({100 * figure.value:.1f} %; at most {100 * figure.high:.1f} %)"


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" ({100 * figure.low:.0f} to {100 * figure.high:.0f})"
