"""`mien evaluate`, `mien attack` and `mien compare-training`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options
from mien.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

Originals = Annotated[Path, typer.Argument(help="The originals: a folder, or a dataset in its layout.")]
Anonymized = Annotated[Path, typer.Argument(help="The same photographs, anonymized by whatever tool.")]
Sample = Annotated[int, typer.Option(min=0, help="At most so many photographs, whole people; 0: all.")]
Seed = Annotated[int, typer.Option(help="Of the sample, and of who an attacker knows.")]
Work = Annotated[Path | None, typer.Option(help="Private folder [DST.evaluation.work].")]


def evaluate_command(
    src: Originals,
    dst: Anonymized,
    layout: options.Layout = "auto",
    subset: options.Subset = None,
    judge: Annotated[list[str] | None, typer.Option(
        "--judge", help="dlib, sface, arcface (imported) or module:function; may be repeated [dlib, sface].")] = None,
    bounds: Annotated[str, typer.Option(
        help="Sets to hold the figures against: all, none, or some of inversion, nearest, random, blur, pixelation, "
        "blackout, with commas.")] = "all",
    compare: Annotated[list[str] | None, typer.Option(
        help="Anonymize by this recipe too and compare, as in --compare default; may be repeated.")] = None,
    attack: Annotated[list[str] | None, typer.Option(
        help="Attack DST: layers, parrot or reversal; may be repeated.")] = None,
    sample: Sample = 2000,
    least: Annotated[int, typer.Option(min=1, help="Only people with at least so many photographs.")] = 1,
    seed: Seed = 0,
    recipe: options.Recipe = "default",
    settings: options.Settings = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that look at photographs.")] = 1,
    work: Work = None,
    out: Annotated[Path | None, typer.Option(help="The JSON file [DST.json].")] = None,
    page: Annotated[Path | None, typer.Option(help="The page [beside the JSON file, as .html].")] = None,
    with_originals: Annotated[bool, typer.Option(
        "--with-originals", help="Show the worst cases, before and after, on the page: for the owner's eyes.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Say how private and how good anonymized photographs are: a table, DST.json and DST.html."""
    from rich.console import Console

    from mien.evaluation.evaluate import BOUNDS, EvaluationConfig, evaluate
    from mien.evaluation.evaluation_page import write_page
    from mien.evaluation.terminal_table import tables
    from mien.evaluation.worst_cases import worst_cases
    from mien.recipe import Recipe
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    out = out or _beside(dst, ".json")
    page = page or out.with_suffix(".html")
    if page.resolve() == out.resolve():
        raise UsageError(f"the figures and the page would both be written to {out}", "give --page another name")
    question = EvaluationConfig(
        src, dst, work or _beside(dst, ".evaluation.work"), layout, subset, tuple(judge or ("dlib", "sface")),
        BOUNDS if bounds == "all" else () if bounds == "none" else tuple(part.strip() for part in bounds.split(",")),
        recipe=Recipe.load(recipe).with_settings(settings or ()),
        recipes=tuple(Recipe.load(one) for one in dict.fromkeys(compare or ())),
        attacks=tuple(dict.fromkeys(attack or ())), sample=sample or None, least=least, seed=seed, processes=workers)
    with Reporter(quiet).counting() as progress, write_errors(question.work):
        result = evaluate(question, progress)
        cases = worst_cases(question) if with_originals else None
    with write_errors(out):
        result.write(out)
    write_page(page, result, dst, cases)
    console = Console()
    for table in tables(result):
        console.print(table)
    _print_notes(console, result.notes)
    typer.echo(f"{out}\n{page}")


def attack_command(
    name: Annotated[str, typer.Argument(help="layers, parrot or reversal.")],
    src: Originals,
    dst: Anonymized,
    layout: options.Layout = "auto",
    subset: options.Subset = None,
    sample: Sample = 1000,
    seed: Seed = 0,
    work: Work = None,
    quiet: options.Quiet = False,
) -> None:
    """Attack anonymized photographs as somebody would who knows the method and half of the people."""
    from rich.console import Console

    from mien.evaluation.attacks.run_attack import carry_out
    from mien.evaluation.pairs import find_counterparts
    from mien.evaluation.pairs import sample as sampled
    from mien.evaluation.terminal_table import attack_table
    from mien.evaluation.work_folder import opened
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    pairs = sampled(find_counterparts(src, dst, layout, subset), sample or None, seed)
    folder = work or _beside(dst, ".evaluation.work")
    with opened(folder), Reporter(quiet).counting() as progress, write_errors(folder):
        found = carry_out((name,), pairs, folder / "attacks", seed, progress)
    Console().print(attack_table(found[name]))


def compare_training_command(
    src: Originals,
    dst: Anonymized,
    test: Annotated[Path, typer.Argument(help="Real photographs of other people to test on, a dataset like SRC.")],
    layout: options.Layout = "auto",
    subset: options.Subset = "train",
    test_subset: Annotated[str | None, typer.Option(help="Splits of TEST.")] = "val",
    sample: Sample = 1000,
    test_sample: Annotated[int, typer.Option(min=0, help="Likewise, of TEST.")] = 2000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="The JSON file [DST.training.json].")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a classifier on anonymized photographs, another on their originals, and test both on real ones."""
    from rich.console import Console

    from mien.evaluation.pairs import find_counterparts
    from mien.evaluation.pairs import sample as sampled
    from mien.evaluation.retraining import compare_training
    from mien.evaluation.terminal_table import training_table
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    pairs = sampled(find_counterparts(src, dst, layout, subset), sample or None, seed)
    real = sampled(find_counterparts(test, test, layout, test_subset), test_sample or None, seed)
    with Reporter(quiet).counting() as progress:
        found = compare_training(pairs, real, seed, progress)
    out = out or _beside(dst, ".training.json")
    with write_errors(out):
        found.write(out)
    console = Console()
    console.print(training_table(found))
    _print_notes(console, found.notes)
    typer.echo(str(out))


def _print_notes(console: Console, notes: list[str]) -> None:
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


def _beside(dst: Path, ending: str) -> Path:
    whole = dst.resolve()
    return whole.with_name(f"{whole.name}{ending}")
