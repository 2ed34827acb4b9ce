"""Decides which figures may be published: not those by which a guess who an original is could be checked.

The JSON file and the page of an evaluation are made to be shown. A distance between one original and its new face, at
full precision, would confirm the original to anyone who has it, as the private columns of a run's manifest would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mien.evaluation.confidence import LEAST_FACES, LEAST_PEOPLE, Estimate, is_few
from mien.evaluation.evaluation import AttackResult, Figure, Groups, Withheld
from mien.evaluation.metrics import METRICS, Estimates

# Said wherever a figure is missing for this reason.
WHY_WITHHELD = (f"figures of fewer than {LEAST_FACES} faces, or of fewer than {LEAST_PEOPLE} people, would be those of "
                "single faces, by which anyone who has an original could tell what became of it")
KEPT = "_kept"  # in the names of the look's shares
ALL_FACES = "distance_own_original"  # counts all faces that a judge has compared
WORST_PERSON = "worst_person"  # how names begin of figures whose count is that of one person's faces


def publish(found: Mapping[str, Estimates], few: bool = False) -> tuple[Groups, Withheld]:
    """Makes figures of estimates.

    Of fewer than 10 faces or 3 people nothing is published but shares of the look and of utility: no figure of privacy
    or quality, no difference to the originals. Differences of more faces are rounded to the decimals that are shown:
    else the mean over all less that over a part would give a single face's.

    Args:
        found: group -> name in `METRICS` -> value. few: withhold as if all of them were of too few faces.

    Returns:
        The figures, and by group the names of those that are withheld.
    """
    figures: Groups = {}
    withheld: Withheld = {}
    for kind, group in found.items():
        whole = group.get(ALL_FACES)
        none = whole is not None and is_few(whole.count, whole.people)
        names = [name for name, one in group.items() if none or _is_withheld(kind, name, one, few)]
        if names:
            withheld[kind] = names
        figures[kind] = {name: _figure(kind, name, one) for name, one in group.items() if name not in names}
    return figures, withheld


def publish_attack(attack: AttackResult) -> AttackResult:
    """The same result without figures of too few faces or people."""
    none = is_few(attack.faces, attack.people)
    return attack.model_copy(update={"attackers": {
        who: {name: one for name, one in group.items() if not none and not is_few(one.count, one.people)}
        for who, group in attack.attackers.items()}})


def _is_withheld(kind: str, name: str, one: Estimate, few: bool) -> bool:
    if name.startswith(WORST_PERSON):
        return few or one.people < LEAST_PEOPLE
    return (kind.startswith("privacy/") or _is_difference(kind, name)) and (few or is_few(one.count, one.people))


def _is_difference(kind: str, name: str) -> bool:
    """Whether it is measured between originals and new faces, rather than counted."""
    return kind == "quality" or name == ALL_FACES or (kind == "look" and KEPT not in name)


def _figure(kind: str, name: str, one: Estimate) -> Figure:
    if name.startswith(WORST_PERSON) and -(-one.people // 10) < LEAST_PEOPLE:
        one = replace(one, most=float("nan"))  # its tenth is one of people
    figure = Figure.of(one, METRICS[name].better)
    if not _is_difference(kind, name):
        return figure
    digits = 4 if METRICS[name].unit == "%" else 2
    return figure.model_copy(update={field: None if (value := getattr(figure, field)) is None else round(value, digits)
                                     for field in ("value", "low", "high", "worst_tenth")})
