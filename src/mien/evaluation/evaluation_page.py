"""Writes the HTML page of an evaluation: one file that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.evaluation.attacks.scoring import ATTACK_METRICS
from mien.evaluation.evaluation import AttackResult, Evaluation, Figure, SetResult, Slice
from mien.evaluation.findings import evaluation_findings, main_judge
from mien.evaluation.look.accuracy import Accuracy, read_accuracies
from mien.evaluation.metric import Metric
from mien.evaluation.metrics import METRICS, STRICT, rate_name
from mien.evaluation.terminal_table import (
    ROLES,
    SCALE_ENDS,
    WITHHELD,
    format_beside_baselines,
    format_cell,
    format_figure,
    group_title,
    metrics_of,
    ordered_sets,
    remarks,
    set_heading,
    worst_tenth,
)
from mien.evaluation.withholding import WHY_WITHHELD
from mien.evaluation.worst_cases import WorstCase
from mien.images.formats import printable
from mien.jobs.published import refuse_published
from mien.report.charts import Comparison, comparison
from mien.report.templating import template
from mien.util.files import replace_file, write_errors

# The metrics of each part of the data, by topic.
SLICE_METRICS = {"privacy": (f"verified_own_original_far{rate_name(STRICT)}", "rank1_own_original_all_originals",
                         "auc_new_to_new"),
                 "look": ("sex_kept", "age_change", "group_kept", "expression_kept"),
                 "utility": ("attributes_accuracy", "found_centerface")}
CHART_METRICS = {
    "privacy": (f"verified_own_original_far{rate_name(STRICT)}", "rank1_own_original_all_originals",
                "rank1_other_photo_all_originals", "auc_new_to_new", "auc_new_to_new_alike", "identities_new"),
    "look": ("sex_kept", "age_change", "child_kept", "group_kept", "expression_kept", "eyes_kept", "pose_difference",
             "skin_color", "iris_color", "light_difference", "sharpness_ratio"),
    "utility": ("attributes_accuracy", "attributes_inner_accuracy", "found_centerface"),
    "quality": ("spot_the_fake", "fd_effnet_lite0", "fid_inception", "outside_changed", "seam"),
}
WANTED = {"less": "less is better", "more": "more is better", "one": "1 is best"}
QUESTIONS = {"privacy": "Can anyone be found again?", "look": "Does the look stay?",
             "utility": "Are the data still good?", "quality": "Do the pictures look right?"}


@dataclass(frozen=True)
class Chart:
    """The chart of one metric: a row for each set."""

    title: str
    meaning: str
    wanted: str
    drawing: Comparison


@dataclass(frozen=True)
class Section:
    """The charts and the table of a group of metrics.

    Attributes:
        rows: (title, numbers of the sets in their order, worst tenth, faces or pairs). Each number comes with a text
            that tells its faces where they are fewer than the set's, or "".
        remarks: sentences that explain the marks in the numbers.
    """

    question: str
    title: str
    charts: list[Chart]
    rows: list[tuple[str, list[tuple[str, str]], str, str]]
    remarks: list[str]


def write_page(path: Path, evaluation: Evaluation, dst: Path, cases: Sequence[WorstCase] | None = None) -> None:
    """Writes the page, whole or not at all.

    Args:
        cases: worst cases, before and after; the page then holds originals and is readable by its owner alone.

    Raises:
        UsageError: a page with originals would be inside a DST, which is published.
        OutputError: the file cannot be written.
    """
    if cases is not None:
        refuse_published(path, dst)
    html = template("evaluation").render(_content(evaluation), private=cases is not None, cases=cases or [])

    def write(file: Path) -> None:
        file.touch(mode=0o644 if cases is None else 0o600)
        file.write_text(html, "utf-8", errors="backslashreplace")

    with write_errors(path):
        replace_file(path, write)


def _content(evaluation: Evaluation) -> dict[str, Any]:
    """What the template `evaluation` shows."""
    columns, sets = ordered_sets(evaluation), evaluation.sets
    kinds = dict.fromkeys(kind for name in columns for kind in sets[name].figures)
    return {
        "evaluation": evaluation, "findings": evaluation_findings(evaluation),
        "columns": [set_heading(evaluation, name) for name in columns],
        "sections": [_section(evaluation, kind, columns) for kind in kinds],
        "slices": _slices(evaluation),
        "slice_ends": [sets[name].title for name in SCALE_ENDS if name in sets and name != evaluation.set],
        "slice_heads": [METRICS[name].title for names in SLICE_METRICS.values() for name in names],
        "attacks": [_attack(one) for one in evaluation.attacks.values()],
        "meanings": [(metric.title, name, metric.meaning) for name, metric in _used_metrics(evaluation)],
        "thresholds": [(name, ROLES[one.role], sorted(one.thresholds.items()))
                       for name, one in evaluation.judges.items()],
        "accuracies": [_accuracy(one) for one in read_accuracies()],
        "why_withheld": WHY_WITHHELD, "withheld": WITHHELD,
        "skipped": [(printable(reason), number) for reason, number in evaluation.skipped.items()],
    }


def _section(evaluation: Evaluation, kind: str, columns: list[str]) -> Section:
    topic, names = kind.split("/")[0], metrics_of(evaluation, kind, columns)
    charts = [_chart(evaluation, kind, name, columns) for name in names if name in CHART_METRICS[topic]]
    return Section(QUESTIONS[topic], group_title(evaluation, kind), [chart for chart in charts if chart],
                   [_row(evaluation, kind, name, columns) for name in names], remarks(evaluation, kind, columns))


def _chart(evaluation: Evaluation, kind: str, name: str, columns: list[str]) -> Chart | None:
    metric, rows = METRICS[name], []
    factor = 100.0 if metric.unit == "%" else 1.0
    for column in columns:
        figure = _figure(evaluation, column, kind, name)
        if figure is not None:
            low, high = (float("nan") if x is None else factor * x for x in (figure.low, figure.high))
            rows.append((evaluation.sets[column].title, factor * figure.value, low, high,
                         format_cell(evaluation, column, kind, name)))
    drawing = comparison(rows, evaluation.sets[columns[0]].title)
    return Chart(metric.title, metric.meaning, WANTED[metric.better], drawing) if drawing else None


def _row(evaluation: Evaluation, kind: str, name: str,
         columns: list[str]) -> tuple[str, list[tuple[str, str]], str, str]:
    first, cells = _figure(evaluation, columns[0], kind, name), []
    for i, column in enumerate(columns):
        figure, faces = _figure(evaluation, column, kind, name), evaluation.faces - evaluation.sets[column].lacks
        fewer = figure is not None and figure.count < faces and not kind.startswith("privacy/")  # whose may be pairs
        cells.append((format_cell(evaluation, column, kind, name, interval=i == 0),
                      f"of {figure.count:,} of {faces:,} faces" if figure and fewer else ""))
    worst = worst_tenth(first)
    return (METRICS[name].title, cells, format_figure(worst, METRICS[name].unit) if worst else "",
            f"{first.count:,}" if first else "")


def _figure(evaluation: Evaluation, column: str, kind: str, name: str) -> Figure | None:
    return evaluation.sets[column].figures.get(kind, {}).get(name)


def _slices(evaluation: Evaluation) -> list[tuple[str, int, bool, list[str]]]:
    """(part, faces, whether these are few, numbers as text) of all the data and of each part."""
    judge, sets = main_judge(evaluation), evaluation.sets
    columns = [sets[name] for name in dict.fromkeys((evaluation.set, *SCALE_ENDS)) if name in sets]
    rows = [("all", evaluation.faces, False, _slice_numbers(columns, judge))]
    for name, part in columns[0].slices.items():
        parts = [one.slices[name] for one in columns if name in one.slices]
        rows.append((name, part.faces, part.small, _slice_numbers(parts, judge)))
    return rows


def _slice_numbers(sets: Sequence[SetResult | Slice], judge: str) -> list[str]:
    """The numbers of a part, of the evaluated set and in brackets of the baselines."""
    kinds = [(f"privacy/{judge}" if topic == "privacy" else topic, name)
             for topic, names in SLICE_METRICS.items() for name in names]
    return [WITHHELD if name in sets[0].withheld.get(kind, [])
            else format_beside_baselines([one.figures for one in sets], kind, name) for kind, name in kinds]


def _accuracy(one: Accuracy) -> tuple[str, str, str]:
    """(what, faces, how often it is right or by how much it is wrong)."""
    faces = f"{one.faces:,}; {one.untold:,} not told" if one.untold else f"{one.faces:,}"
    return one.what, faces, f"{100 * one.value:.1f} %" if one.unit == "%" else f"{one.value:.1f} {one.unit}"


def _attack(attack: AttackResult) -> dict[str, Any]:
    names = [name for name in ATTACK_METRICS if any(name in group for group in attack.attackers.values())]
    rows = [(ATTACK_METRICS[name].title, [format_figure(group.get(name), ATTACK_METRICS[name].unit, i == 0)
                                          for i, group in enumerate(attack.attackers.values())]) for name in names]
    return {"result": attack, "heads": list(attack.attackers), "rows": rows}


def _used_metrics(evaluation: Evaluation) -> list[tuple[str, Metric]]:
    groups = list(evaluation.sets[evaluation.set].figures.values())
    groups += [group for attack in evaluation.attacks.values() for group in attack.attackers.values()]
    return [(name, metric) for name, metric in (METRICS | ATTACK_METRICS).items()
            if any(name in group for group in groups)]
