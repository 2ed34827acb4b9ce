"""Writes the HTML page of an evaluation: one file that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mien.evaluation.attacks.scoring import ATTACK_METRICS
from mien.evaluation.evaluation import AttackResult, Evaluation, Figure, Groups
from mien.evaluation.findings import evaluation_findings, main_judge
from mien.evaluation.look.accuracy import read_accuracies
from mien.evaluation.metric import Metric
from mien.evaluation.metrics import METRICS, STRICT, rate_name
from mien.evaluation.terminal_table import (
    ROLES,
    SCALE_ENDS,
    format_beside_baselines,
    format_figure,
    group_title,
    ordered_sets,
    worst_tenth,
)
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
        rows: (title, numbers of the sets in their order, worst tenth, faces or pairs).
    """

    question: str
    title: str
    charts: list[Chart]
    rows: list[tuple[str, list[str], str, str]]


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
        "columns": [sets[name].title for name in columns],
        "sections": [_section(evaluation, kind, columns) for kind in kinds],
        "slices": _slices(evaluation),
        "slice_ends": [sets[name].title for name in SCALE_ENDS if name in sets and name != evaluation.set],
        "slice_heads": [METRICS[name].title for names in SLICE_METRICS.values() for name in names],
        "attacks": [_attack(one) for one in evaluation.attacks.values()],
        "meanings": [(metric.title, name, metric.meaning) for name, metric in _used_metrics(evaluation)],
        "thresholds": [(name, ROLES[one.role], sorted(one.thresholds.items()))
                       for name, one in evaluation.judges.items()],
        "accuracies": [(one.what, f"{one.faces:,}", f"{100 * one.value:.1f} %" if one.unit == "%"
                        else f"{one.value:.1f} {one.unit}") for one in read_accuracies()],
        "skipped": [(printable(reason), number) for reason, number in evaluation.skipped.items()],
    }


def _section(evaluation: Evaluation, kind: str, columns: list[str]) -> Section:
    groups = [evaluation.sets[name].figures.get(kind, {}) for name in columns]
    topic = kind.split("/")[0]
    names = [name for name in METRICS if any(name in group for group in groups)]
    titles = [evaluation.sets[name].title for name in columns]
    charts = [_chart(METRICS[name], [group.get(name) for group in groups], titles)
              for name in names if name in CHART_METRICS[topic]]
    rows = [_row(METRICS[name], [group.get(name) for group in groups]) for name in names]
    return Section(QUESTIONS[topic], group_title(evaluation, kind), [chart for chart in charts if chart], rows)


def _chart(metric: Metric, figures: list[Figure | None], titles: list[str]) -> Chart | None:
    factor = 100.0 if metric.unit == "%" else 1.0
    rows = []
    for title, figure in zip(titles, figures, strict=True):
        if figure is not None:
            low, high = (float("nan") if x is None else factor * x for x in (figure.low, figure.high))
            rows.append((title, factor * figure.value, low, high, format_figure(figure, metric.unit)))
    drawing = comparison(rows, titles[0])
    wanted = "less is better" if metric.better == "less" else "more is better"
    return Chart(metric.title, metric.meaning, wanted, drawing) if drawing else None


def _row(metric: Metric, figures: list[Figure | None]) -> tuple[str, list[str], str, str]:
    number = partial(format_figure, unit=metric.unit)
    first = figures[0]
    worst = worst_tenth(first)
    return (metric.title, [number(figure, interval=i == 0) for i, figure in enumerate(figures)],
            number(worst) if worst else "", f"{first.count:,}" if first else "")


def _slices(evaluation: Evaluation) -> list[tuple[str, int, bool, list[str]]]:
    """(part, faces, whether these are few, numbers as text) of all the data and of each part."""
    judge, sets = main_judge(evaluation), evaluation.sets
    columns = [sets[name] for name in dict.fromkeys((evaluation.set, *SCALE_ENDS)) if name in sets]
    rows = [("all", evaluation.faces, False, _slice_numbers([one.figures for one in columns], judge))]
    for name, part in columns[0].slices.items():
        figures = [one.slices[name].figures for one in columns if name in one.slices]
        rows.append((name, part.faces, part.small, _slice_numbers(figures, judge)))
    return rows


def _slice_numbers(sets: list[Groups], judge: str) -> list[str]:
    return [format_beside_baselines(sets, f"privacy/{judge}" if topic == "privacy" else topic, name)
            for topic, names in SLICE_METRICS.items() for name in names]


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
