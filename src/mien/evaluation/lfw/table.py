"""Tables of the result of LFW's protocol for the terminal."""

from __future__ import annotations

from rich.table import Table

from mien.evaluation.lfw.protocol import COMPARISONS, LfwResult
from mien.evaluation.metrics import METRICS
from mien.evaluation.terminal_table import ROLES, format_figure


def lfw_tables(result: LfwResult) -> list[Table]:
    """One table for each judge, and one of the distances between the sets."""
    return [*(_judge_table(result, name) for name in result.judges), _distance_table(result)]


def pairs_line(result: LfwResult) -> str:
    """Says in a sentence what was compared."""
    source = "LFW's own list" if result.listed else f"drawn with seed {result.seed}"
    return (f"{result.mated:,} mated and {result.non_mated:,} non-mated pairs ({source}) of {result.photos:,} "
            f"photographs of {result.size} px; {result.set}")


def _judge_table(result: LfwResult, name: str) -> Table:
    judge = result.judges[name]
    table = Table(title=f"verification on LFW, judged by {name} ({ROLES[judge.role]})", title_justify="left")
    table.add_column("pairs")
    for heading in ("AUC", "EER", "mated", "non-mated"):
        table.add_column(heading, justify="right")
    for comparison, title in COMPARISONS.items():
        one = judge.comparisons[comparison]
        table.add_row(title, format_figure(one.auc, "%", interval=True), f"{100 * one.eer:.1f} %", f"{one.mated:,}",
                      f"{one.non_mated:,}")
    return table


def _distance_table(result: LfwResult) -> Table:
    table = Table(title="distance of the new photographs to the originals", title_justify="left")
    for heading in ("", "features", "distance"):
        table.add_column(heading, justify="right" if heading == "distance" else "left")
    for name, distance in result.distances.items():
        table.add_row(METRICS[name].title, name, f"{distance:.2f}")
    return table
