"""Tables of an evaluation for the terminal: one row per metric, one column per set, the evaluated one first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mien.datasets.dataset import plural
from mien.evaluation.attacks.scoring import ATTACK_METRICS
from mien.evaluation.evaluation import SET_TITLES, AttackResult, Evaluation, Figure, Groups
from mien.evaluation.metrics import METRICS
from mien.evaluation.retraining import Retraining
from mien.evaluation.withholding import WHY_WITHHELD

SCALE_ENDS = ("random", "floor")  # the baselines that parts of the data are compared with
ROLES = {"independent": "independent judge", "gate": "gate: let these faces through",
         "loss": "in the loss: no fair judge"}
FIRST = ("floor", "random", "other", "inversion")  # the most useful sets, for narrow terminals
LABEL, COLUMN = 34, 14  # characters
UNFAIR_MARK, WITHHELD = "†", "withheld"  # in cells


def tables(evaluation: Evaluation, width: int | None = None) -> list[Table]:
    """One table for each judge's privacy, for the look, for utility, for quality and for each attack.

    Args:
        width: of the terminal, in characters; sets that do not fit are left to the page, those of least use first.
    """
    columns = ordered_sets(evaluation)
    if width is not None:
        useful = [name for name in dict.fromkeys((evaluation.set, *FIRST, *columns)) if name in columns]
        kept = useful[: max((width - LABEL) // COLUMN, 2)]
        columns = [name for name in columns if name in kept]
    kinds = dict.fromkeys(kind for name in columns for kind in evaluation.sets[name].figures)
    return [*(_table(evaluation, kind, columns) for kind in kinds), *map(attack_table, evaluation.attacks.values())]


def ordered_sets(evaluation: Evaluation) -> list[str]:
    """Names of the sets: the evaluated one, other recipes, then the other baselines as in `SET_TITLES`."""
    own, sets = evaluation.set, evaluation.sets
    recipes = [name for name in sets if name != own and name not in SET_TITLES]
    return [own, *recipes, *(name for name in SET_TITLES if name in sets and name != own)]


def _table(evaluation: Evaluation, kind: str, columns: list[str]) -> Table:
    table = Table(title=group_title(evaluation, kind), title_justify="left", caption_justify="left",
                  caption="\n".join(remarks(evaluation, kind, columns)) or None)
    table.add_column("")
    for name in columns:
        table.add_column(set_heading(evaluation, name), justify="right")
    own = evaluation.sets[evaluation.set].figures.get(kind, {})
    tenths = {name: tenth for name, one in own.items() if (tenth := worst_tenth(one))}
    if tenths:
        table.add_column("worst tenth", justify="right")
    for name in metrics_of(evaluation, kind, columns):
        cells = [format_cell(evaluation, one, kind, name, interval=one == evaluation.set) for one in columns]
        worst = [format_figure(tenths.get(name), METRICS[name].unit)] if tenths else []
        table.add_row(METRICS[name].title, *cells, *worst)
    return table


def metrics_of(evaluation: Evaluation, kind: str, columns: Sequence[str]) -> list[str]:
    """The metrics of a group that some of these sets have, or would have if they were not withheld."""
    sets = [evaluation.sets[name] for name in columns]
    return [name for name in METRICS
            if any(name in one.figures.get(kind, {}) or name in one.withheld.get(kind, []) for one in sets)]


def set_heading(evaluation: Evaluation, name: str) -> str:
    """The title of a set, with the number of its faces where it lacks some of the evaluated ones."""
    one = evaluation.sets[name]
    return f"{one.title}, {evaluation.faces - one.lacks:,} faces" if one.lacks else one.title


def format_cell(evaluation: Evaluation, name: str, kind: str, metric: str, interval: bool = False) -> str:
    """Writes a set's figure, marked where its judge is no fair one of this set, or says that it is withheld."""
    one = evaluation.sets[name]
    if metric in one.withheld.get(kind, []):
        return WITHHELD
    figure = one.figures.get(kind, {}).get(metric)
    mark = UNFAIR_MARK if figure and _is_unfair(evaluation, name, kind) else ""
    return format_figure(figure, METRICS[metric].unit, interval) + mark


def remarks(evaluation: Evaluation, kind: str, columns: Sequence[str]) -> list[str]:
    """Sentences that explain the marks in the cells of a group."""
    sets, lines = evaluation.sets, []
    if any(sets[name].figures.get(kind) and _is_unfair(evaluation, name, kind) for name in columns):
        lines.append(f"{UNFAIR_MARK} {kind.removeprefix('privacy/')} was in the loss of this set, or decided which of "
                     "its faces pass: no fair judge of it")
    if any(sets[name].withheld.get(kind) for name in columns):
        lines.append(f"{WITHHELD}: {WHY_WITHHELD}")
    return lines


def _is_unfair(evaluation: Evaluation, name: str, kind: str) -> bool:
    """Whether the judge of a group of privacy had a part in making the set."""
    if not kind.startswith("privacy/"):
        return False
    judge = kind.removeprefix("privacy/")
    role = evaluation.judges[judge].role if name == evaluation.set else evaluation.sets[name].roles.get(judge)
    return role not in (None, "independent")


def attack_table(attack: AttackResult) -> Table:
    """The table of one attack: one column per attacker."""
    table = Table(title=f"{attack.title}: {attack.faces} faces of {attack.people} people, {attack.known} others known; "
                  f"{attack.budget}; {attack.seconds:.0f} s", title_justify="left")
    table.add_column("")
    for attacker in attack.attackers:
        table.add_column(attacker, justify="right")
    for name, metric in ATTACK_METRICS.items():
        if any(name in group for group in attack.attackers.values()):
            table.add_row(metric.title, *(format_figure(group.get(name), metric.unit, interval=i == 0)
                                          for i, group in enumerate(attack.attackers.values())))
    return table


def training_table(retraining: Retraining) -> Table:
    """The accuracy of classifiers trained on originals and on anonymized photographs."""
    table = Table(title=f"40 attributes, trained on {retraining.trained:,} faces, tested on {retraining.tested:,} "
                  "real ones", title_justify="left")
    for heading in ("trained on", "right", "balanced"):
        table.add_column(heading, justify="left" if heading == "trained on" else "right")
    shares = [f"{100 * one:.2f} %" for one in retraining.balanced]
    for name, figure, share in (("originals", retraining.originals, shares[0]),
                                ("anonymized", retraining.anonymized, shares[1]),
                                ("nothing: the commoner answer", retraining.constant, shares[2]),
                                ("anonymized, less originals", retraining.difference, "")):
        table.add_row(name, format_figure(figure, "%", interval=True), share)
    return table


def group_title(evaluation: Evaluation, kind: str) -> str:
    """The heading of a group of figures; it says what a judge's part in making the faces was."""
    if not kind.startswith("privacy/"):
        return kind
    name = kind.removeprefix("privacy/")
    return f"privacy, judged by {name} ({ROLES[evaluation.judges[name].role]})"


def worst_tenth(figure: Figure | None) -> Figure | None:
    """A figure's mean over the worst tenth of the faces, as a figure; None where it has none."""
    if figure is None or figure.worst_tenth is None:
        return None
    return figure.model_copy(update={"value": figure.worst_tenth})


def format_beside_baselines(sets: Sequence[Groups], kind: str, metric: str) -> str:
    """Writes the first set's figure with those of the others in brackets, as in "85.0 % (71.0 %)"."""
    own, *ends = (format_figure(groups.get(kind, {}).get(metric), METRICS[metric].unit) for groups in sets)
    return f"{own} ({', '.join(ends)})" if ends else own


def format_figure(figure: Figure | None, unit: str, interval: bool = False) -> str:
    """Writes a figure with its unit and, if asked for, its interval, as in "12.3 % (10.1 to 14.9)", or "≥ 12.3 %"."""
    if figure is None:
        return "-"
    factor = 100 if unit == "%" else 1
    text = "≥ " * figure.at_least + _number(figure.value * factor)
    text += unit if unit == "°" else f" {unit}" if unit else ""
    if interval and figure.low is not None and figure.high is not None:
        text += f" ({_number(figure.low * factor)} to {_number(figure.high * factor)})"
    return text


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return "0.00" if text == "-0.00" else text


def left_out(evaluation: Evaluation) -> list[str]:
    """Says of how many photographs the figures say nothing, and why; the page has places of its own for it."""
    missing = [f"{plural(evaluation.missing, 'photograph')} of SRC missing in DST."] if evaluation.missing else []
    return missing + [f"{plural(count, 'photograph')} that could not be compared: {reason}."
                      for reason, count in evaluation.skipped.items()]
