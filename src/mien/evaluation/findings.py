"""An evaluation in plain words: what holds, and plainly what does not."""

from __future__ import annotations

from dataclasses import dataclass

from mien.evaluation.evaluation import Evaluation, Figure
from mien.evaluation.metrics import STRICT, rate_name
from mien.report.run_findings import Level

VERIFIED = f"verified_own_original_far{rate_name(STRICT)}"
RANKED = "rank1_own_original_all_originals"
ENOUGH = 0.01  # share of faces found again that is let pass
BAD = 0.05
LINKED = 0.6  # area under the curve


@dataclass(frozen=True)
class EvaluationFindings:
    """The first thing on the page.

    Attributes:
        level: "good" where no judge finds more than one face in a hundred again, no attacker many, and photographs of
            one person cannot be linked, or were to be (per-person identities); "bad" where more than one in twenty is;
            "mixed" for all between and where too few faces were seen, or nobody can say.
        headline: one sentence. notes: further sentences.
    """

    level: Level
    headline: str
    notes: list[str]


def findings(result: Evaluation) -> EvaluationFindings:
    """Say what the set that was asked about is worth."""
    judge, figures = judged(result), result.sets[result.set].figures
    privacy = figures.get(f"privacy/{judge}", {})
    verified, ranked = privacy.get(VERIFIED), privacy.get(RANKED)
    if verified is None or ranked is None:
        return EvaluationFindings("mixed", "Whether anyone can be found again is not known: nobody is named on the "
                                  "photographs, or no face could be compared", [*_useful(result), *result.notes])
    linked = privacy.get("auc_new_to_new")
    searched = result.faces - result.unnamed
    chance = 1 / max(searched - searched / max(result.people, 1) + 1, 1)  # the person's others do not compete
    # Among few photographs chance alone finds many; what is found beyond it counts, whichever judge finds it.
    others = [group for name, group in figures.items() if name.startswith("privacy/")]
    worst = max(max(group[VERIFIED].value, group[RANKED].value - chance) for group in others
                if VERIFIED in group and RANKED in group)
    attacked = max((one.best().value - 1 / max(one.people, 1) for one in result.attacks.values() if one.best()),  # type: ignore[union-attr]
                   default=0.0)
    unwanted = linked is not None and linked.value > LINKED and not result.linked
    unsure = verified.high is None or verified.high > BAD
    level: Level = ("bad" if worst > BAD else "mixed" if worst > ENOUGH or attacked > BAD or unsure
                    or unwanted else "good")
    notes = [
        f"Searched among the originals of all {result.people} people, {_faces(ranked)} nearest to "
        f"{_their(ranked)}{_most(ranked)}, where chance finds {100 * chance:.1f} %; the person's other "
        "photographs do not compete.",
        *([_linking(linked, result.linked)] if linked else []),
        *([f"The judge {judge} took part in making the faces, so that this is no fair judgment."]
          if result.judges[judge].in_loss else []),
        *_useful(result), *_attacked(result), *result.notes]
    return EvaluationFindings(level, f"{_faces(verified)} taken for {_their(verified)}{_most(verified)}, where one "
                              f"stranger in {round(1 / STRICT):,} is", notes)


def judged(result: Evaluation) -> str:
    """The judge that counts: the first that had no part in the loss."""
    return next((name for name, one in result.judges.items() if not one.in_loss), next(iter(result.judges), ""))


def kept(result: Evaluation, group: str, name: str) -> float | None:
    """How far from random generated faces (0) to the originals (1) a figure has stayed; None without both."""
    ends = [result.sets[one].figures.get(group, {}).get(name) if one in result.sets else None
            for one in ("random", result.set, "originals")]
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


def _useful(result: Evaluation) -> list[str]:
    utility = result.sets[result.set].figures.get("utility", {})
    notes = []
    attributes, share = utility.get("attributes_accuracy"), kept(result, "utility", "attributes_accuracy")
    if attributes:
        way = "" if share is None else (f": {100 * share:.0f} % of the way from random generated faces to the "
                                        "originals")
        notes.append(f"{100 * attributes.value:.1f} % of the attributes are told right on the new faces{way}.")
    found = utility.get("found_centerface")
    if found:
        notes.append(f"A second detector finds {_count(found)} faces that it found in the originals.")
    return notes


def _attacked(result: Evaluation) -> list[str]:
    notes = []
    for name, attack in result.attacks.items():
        best = attack.best()
        if best:
            notes.append(f"Somebody who knows the method ({name}) finds {100 * best.value:.1f} % of the people's new "
                         "faces among their other photographs at first guess.")
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
