"""The HTML page of an evaluation: one file that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mien.errors import UsageError
from mien.evaluation.attacks.scoring import ATTACK_METRICS
from mien.evaluation.evaluation import Evaluation, Figure, Groups
from mien.evaluation.findings import findings, judged
from mien.evaluation.metrics import METRICS, STRICT, Metric, rate_name
from mien.evaluation.terminal_table import ENDS, beside_bounds, in_order, shown, title_of, worst_tenth
from mien.evaluation.worst_cases import Case
from mien.images.formats import printable
from mien.report.charts import Comparison, comparison
from mien.report.templating import template
from mien.util.files import replace_file, write_errors

# What a part of the data is looked at by; the judge's come first.
OF_SLICES = {"privacy": (f"verified_own_original_far{rate_name(STRICT)}", "rank1_own_original_all_originals",
                         "auc_new_to_new"),
             "utility": ("attributes_accuracy", "age_difference", "found_centerface")}
DRAWN = {"privacy": (f"verified_own_original_far{rate_name(STRICT)}", "rank1_own_original_all_originals",
                     "rank1_other_photo_all_originals", "auc_new_to_new", "auc_new_to_new_alike"),
         "utility": ("attributes_accuracy", "attributes_inner_accuracy", "age_difference", "points5_difference",
                     "turn_difference", "found_centerface"),
         "quality": ("fd_effnet_lite0", "kd_effnet_lite0", "fid_inception", "outside_changed", "seam")}
QUESTIONS = {"privacy": "Can anyone be found again?", "utility": "Are the data still good?",
             "quality": "Do the pictures look right?"}


@dataclass(frozen=True)
class Chart:
    """One figure of all sets."""

    title: str
    meaning: str
    wanted: str
    drawing: Comparison


@dataclass(frozen=True)
class Section:
    """One table of figures. Rows: (title, numbers of the sets in their order, worst tenth, faces or pairs)."""

    question: str
    title: str
    charts: list[Chart]
    rows: list[tuple[str, list[str], str, str]]


def write_page(path: Path, result: Evaluation, dst: Path, cases: Sequence[Case] | None = None) -> None:
    """Write the page, whole or not at all.

    Args:
        cases: worst cases, before and after; the page then holds originals and is readable by its owner alone.

    Raises:
        UsageError: a page with originals would lie inside DST, which is published.
        OutputError: the file cannot be written.
    """
    if cases is not None and dst.resolve() in path.resolve().parents:
        raise UsageError(f"{path} lies inside {dst}, which is published: originals may not be there",
                         "choose a file in another folder")
    html = template("evaluation").render(_content(result), private=cases is not None, cases=cases or [])

    def write(file: Path) -> None:
        file.touch(mode=0o644 if cases is None else 0o600)
        file.write_text(html, "utf-8", errors="backslashreplace")

    with write_errors(path):
        replace_file(path, write)


def _content(result: Evaluation) -> dict[str, Any]:
    columns = in_order(result)
    return {
        "result": result, "verdict": findings(result), "columns": [result.sets[name].title for name in columns],
        "sections": [_section(result, kind, columns) for kind in _kinds(result, columns)],
        "slices": _slices(result),
        "slice_ends": [result.sets[name].title for name in ENDS if name in result.sets and name != result.set],
        "slice_heads": [METRICS[name].title for names in OF_SLICES.values() for name in names],
        "attacks": [_attack(one) for one in result.attacks.values()],
        "meanings": [(metric.title, name, metric.meaning) for name, metric in _used(result)],
        "thresholds": [(name, one.in_loss, sorted(one.thresholds.items())) for name, one in result.judges.items()],
        "skipped": [(printable(reason), number) for reason, number in result.skipped.items()],
    }


def _kinds(result: Evaluation, columns: list[str]) -> list[str]:
    return list(dict.fromkeys(kind for name in columns for kind in result.sets[name].figures))


def _section(result: Evaluation, kind: str, columns: list[str]) -> Section:
    groups = [result.sets[name].figures.get(kind, {}) for name in columns]
    topic = kind.split("/")[0]
    names = [name for name in METRICS if any(name in group for group in groups)]
    titles = [result.sets[name].title for name in columns]
    charts = [_chart(METRICS[name], [group.get(name) for group in groups], titles)
              for name in names if name in DRAWN[topic]]
    rows = [_row(METRICS[name], [group.get(name) for group in groups]) for name in names]
    return Section(QUESTIONS[topic], title_of(result, kind), [chart for chart in charts if chart], rows)


def _chart(metric: Metric, figures: list[Figure | None], titles: list[str]) -> Chart | None:
    factor = 100.0 if metric.unit == "%" else 1.0
    rows = []
    for title, figure in zip(titles, figures, strict=True):
        if figure is not None:
            low, high = (float("nan") if x is None else factor * x for x in (figure.low, figure.high))
            rows.append((title, factor * figure.value, low, high, shown(figure, metric.unit)))
    drawing = comparison(rows, titles[0])
    wanted = "less is better" if metric.better == "less" else "more is better"
    return Chart(metric.title, metric.meaning, wanted, drawing) if drawing else None


def _row(metric: Metric, figures: list[Figure | None]) -> tuple[str, list[str], str, str]:
    number = partial(shown, unit=metric.unit)
    first = figures[0]
    worst = worst_tenth(first)
    return (metric.title, [number(figure, interval=i == 0) for i, figure in enumerate(figures)],
            number(worst) if worst else "", f"{first.count:,}" if first else "")


def _slices(result: Evaluation) -> list[tuple[str, int, bool, list[str]]]:
    judge = judged(result)
    parts: list[tuple[str, int, bool, list[str]]] = []
    columns = [result.set, *(name for name in ENDS if name in result.sets and name != result.set)]
    own = result.sets[result.set]
    parts.append(("all", result.faces, False, _of_slice([result.sets[one].figures for one in columns], judge)))
    for name, part in own.slices.items():
        found = [result.sets[one].slices[name].figures for one in columns if name in result.sets[one].slices]
        parts.append((name, part.faces, part.small, _of_slice(found, judge)))
    return parts


def _of_slice(sets: list[Groups], judge: str) -> list[str]:
    return [beside_bounds(sets, f"privacy/{judge}" if topic == "privacy" else topic, name)
            for topic, names in OF_SLICES.items() for name in names]


def _attack(found: Any) -> dict[str, Any]:
    names = [name for name in ATTACK_METRICS if any(name in group for group in found.attackers.values())]
    rows = [(ATTACK_METRICS[name].title, [shown(group.get(name), "%", interval=i == 0)
                                          for i, group in enumerate(found.attackers.values())]) for name in names]
    return {"found": found, "heads": list(found.attackers), "rows": rows}


def _used(result: Evaluation) -> list[tuple[str, Metric]]:
    groups = list(result.sets[result.set].figures.values())
    groups += [group for attack in result.attacks.values() for group in attack.attackers.values()]
    return [(name, metric) for name, metric in (METRICS | ATTACK_METRICS).items()
            if any(name in group for group in groups)]
