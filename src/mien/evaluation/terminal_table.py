"""An evaluation on the terminal: one row a figure, one column a set, the one that was asked about first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mien.evaluation.attacks.scoring import ATTACK_METRICS
from mien.evaluation.evaluation import AttackResult, Evaluation, Figure, Groups
from mien.evaluation.metrics import METRICS
from mien.evaluation.retraining import Retraining

ENDS = ("random", "originals")  # what parts of the data are held against
ORDER = ("originals", "inversion", "nearest", "random", "blur", "pixelation", "blackout")
HEADINGS = {"utility": "utility", "quality": "quality"}


def tables(result: Evaluation) -> list[Table]:
    """One table for each judge's privacy, for utility, for quality and for each attack."""
    columns = in_order(result)
    kinds = dict.fromkeys(kind for name in columns for kind in result.sets[name].figures)
    return [*(_table(result, kind, columns) for kind in kinds), *map(attack_table, result.attacks.values())]


def in_order(result: Evaluation) -> list[str]:
    """Its sets: what was asked about, other recipes, then the bounds, the best kept first."""
    others = [name for name in result.sets if name != result.set and name not in ORDER]
    return [result.set, *others, *(name for name in ORDER if name in result.sets and name != result.set)]


def _table(result: Evaluation, kind: str, columns: list[str]) -> Table:
    table = Table(title=title_of(result, kind), title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(result.sets[name].title, justify="right")
    wanted = [name for name in METRICS if any(name in result.sets[one].figures.get(kind, {}) for one in columns)]
    own = result.sets[result.set].figures.get(kind, {})
    tenths = {name: tenth for name, one in own.items() if (tenth := worst_tenth(one))}
    if tenths:
        table.add_column("worst tenth", justify="right")
    for name in wanted:
        cells = [shown(result.sets[one].figures.get(kind, {}).get(name), METRICS[name].unit, interval=one == result.set)
                 for one in columns]
        worst = [shown(tenths.get(name), METRICS[name].unit)] if tenths else []
        table.add_row(METRICS[name].title, *cells, *worst)
    return table


def attack_table(found: AttackResult) -> Table:
    """One attack: one column an attacker."""
    table = Table(title=f"{found.title}: {found.faces} faces of {found.people} people, {found.known} others known; "
                  f"{found.budget}; {found.seconds:.0f} s", title_justify="left")
    table.add_column("")
    for who in found.attackers:
        table.add_column(who, justify="right")
    for name, metric in ATTACK_METRICS.items():
        if any(name in group for group in found.attackers.values()):
            table.add_row(metric.title, *(shown(group.get(name), metric.unit, interval=i == 0)
                                          for i, group in enumerate(found.attackers.values())))
    return table


def training_table(found: Retraining) -> Table:
    """What classifiers learned from originals and from anonymized photographs."""
    table = Table(title=f"40 attributes, trained on {found.trained:,} faces, tested on {found.tested:,} real ones",
                  title_justify="left")
    for heading in ("trained on", "right", "balanced"):
        table.add_column(heading, justify="left" if heading == "trained on" else "right")
    shares = [f"{100 * one:.2f} %" for one in found.balanced]
    for name, figure, share in (("originals", found.originals, shares[0]), ("anonymized", found.anonymized, shares[1]),
                                ("nothing: the commoner answer", found.constant, shares[2]),
                                ("anonymized, less originals", found.difference, "")):
        table.add_row(name, shown(figure, "%", interval=True), share)
    return table


def title_of(result: Evaluation, kind: str) -> str:
    """Heading of a group of figures; a judge that was in the loss is called so."""
    if not kind.startswith("privacy/"):
        return HEADINGS[kind]
    name = kind.removeprefix("privacy/")
    judge = result.judges[name]
    return f"privacy, judged by {name}" + (" (in the loss: no fair judge)" if judge.in_loss else "")


def worst_tenth(figure: Figure | None) -> Figure | None:
    """Its mean over the tenth of the faces that fares worst, where it has one."""
    if figure is None or figure.worst_tenth is None:
        return None
    return figure.model_copy(update={"value": figure.worst_tenth})


def beside_bounds(sets: Sequence[Groups], kind: str, metric: str) -> str:
    """A figure of the first set, in brackets those of the others."""
    own, *ends = (shown(groups.get(kind, {}).get(metric), METRICS[metric].unit) for groups in sets)
    return f"{own} ({', '.join(ends)})" if ends else own


def shown(figure: Figure | None, unit: str, interval: bool = False) -> str:
    """12.3 % (10.1 to 14.9)."""
    if figure is None:
        return "-"
    factor = 100 if unit == "%" else 1
    text = _number(figure.value * factor) + (unit if unit == "°" else f" {unit}" if unit else "")
    if interval and figure.low is not None and figure.high is not None:
        text += f" ({_number(figure.low * factor)} to {_number(figure.high * factor)})"
    return text


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return "0.00" if text == "-0.00" else text
