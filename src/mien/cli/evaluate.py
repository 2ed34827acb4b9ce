"""`mien evaluate`, `mien attack` and `mien compare-training`: how private and useful anonymized photographs are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import options
from mien.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

Originals = Annotated[Path, typer.Argument(
    metavar="SRC", help="The original photographs: a folder or a dataset.")]
Anonymized = Annotated[Path, typer.Argument(
    metavar="DST", help="The same photographs by the same names, anonymized with mien or any other tool.")]
Sample = Annotated[int, typer.Option(
    "--sample", metavar="N", min=0, help="Use at most this many photographs, all or none of a person's. 0 uses all.")]
Seed = Annotated[int, typer.Option(
    "--seed", metavar="N", help="Draw with this seed what is drawn: the sample, and the people an attacker knows.")]
Work = Annotated[Path | None, typer.Option(
    "--work", metavar="FOLDER", show_default="DST.evaluation.work",
    help="Keep intermediate results in this private folder; they lead back to the originals.")]


def evaluate_command(
    src: Originals,
    dst: Anonymized,
    layout: options.Layout = "auto",
    subset: options.Subset = None,
    judge: Annotated[list[str] | None, typer.Option(
        "--judge", metavar="NAME", show_default="faceplugin, dlib and sface",
        help="Measure identity with this recognizer: faceplugin, dlib, sface, arcface (imported), or your own as "
        "FILE.onnx or module:function. May be given several times; the report goes by the first that took no part in "
        "making the faces.")] = None,
    judge_channels: Annotated[str, typer.Option(
        "--judge-channels", metavar="ORDER", help="The channel order of ONNX judges: rgb or bgr.")] = "rgb",
    judge_mean: Annotated[float, typer.Option(
        "--judge-mean", metavar="X", help="ONNX judges get (color - mean) / scale of colors in 0 to 255.")] = 127.5,
    judge_scale: Annotated[float, typer.Option(
        "--judge-scale", metavar="X", help="The scale in that.")] = 127.5,
    bounds: Annotated[str, typer.Option(
        "--bounds", metavar="NAMES",
        help="Compare with these baselines: all, none, or some of floor, inversion, nearest, random, blur, pixelation "
        "and blackout, joined by commas.")] = "all",
    compare: Annotated[list[str] | None, typer.Option(
        "--compare", metavar="RECIPE",
        help="Anonymize the originals with this recipe as well and compare, as in --compare default. May be given "
        "several times.")] = None,
    attack: Annotated[list[str] | None, typer.Option(
        "--attack", metavar="NAME",
        help="Attack the anonymized photographs, at most 1,000 of them: layers, parrot or reversal. May be given "
        "several times.")] = None,
    sample: Sample = 2000,
    least: Annotated[int, typer.Option(
        "--least", metavar="N", min=1, help="Use only people with at least this many photographs.")] = 1,
    seed: Seed = 0,
    recipe: options.Recipe = "default",
    settings: options.Settings = None,
    workers: Annotated[int, typer.Option(
        "--workers", metavar="N", min=1, help="Measure photographs in this many processes.")] = 1,
    work: Work = None,
    out: Annotated[Path | None, typer.Option(
        "--out", metavar="FILE", show_default="DST.json", help="Write the figures to this JSON file.")] = None,
    page: Annotated[Path | None, typer.Option(
        "--page", metavar="FILE", show_default="the JSON file's name, with .html",
        help="Write the report to this HTML page.")] = None,
    with_originals: Annotated[bool, typer.Option(
        "--with-originals", help="Show the worst cases before and after on the page, which is then private.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure privacy, look, utility and quality of anonymized photographs: a table, DST.json and DST.html."""
    from rich.console import Console

    from mien.evaluation.evaluate import BASELINES, EvaluationConfig, evaluate
    from mien.evaluation.evaluation_page import write_page
    from mien.evaluation.judges.face_judges import DEFAULT_JUDGES
    from mien.evaluation.judges.onnx_judge import OnnxInput
    from mien.evaluation.terminal_table import left_out, tables
    from mien.evaluation.worst_cases import worst_cases
    from mien.recipe import Recipe
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    out = out or _beside(dst, ".json")
    page = page or out.with_suffix(".html")
    if page.resolve() == out.resolve():
        raise UsageError(f"the figures and the page would both be written to {out}", "give another --page")
    if out.suffix.lower() != ".json" or page.suffix.lower() != ".html":
        raise UsageError(f"{out} will be JSON and {page} an HTML page", "end their names in .json and .html")
    config = EvaluationConfig(
        src, dst, work or _beside(dst, ".evaluation.work"), layout, subset, tuple(judge or DEFAULT_JUDGES),
        BASELINES if bounds == "all" else () if bounds == "none" else tuple(part.strip() for part in bounds.split(",")),
        recipe=Recipe.load(recipe).with_settings(settings or ()),
        recipes=tuple(Recipe.load(one) for one in dict.fromkeys(compare or ())),
        attacks=tuple(dict.fromkeys(attack or ())), sample=sample or None, least=least, seed=seed, processes=workers,
        onnx_input=OnnxInput(judge_channels, judge_mean, judge_scale))
    with Reporter(quiet).counting() as progress, write_errors(config.work):
        result = evaluate(config, progress)
        cases = worst_cases(config) if with_originals else None
    with write_errors(out):
        result.write(out)
    write_page(page, result, dst, cases)
    console = Console()
    for table in tables(result, console.width):
        console.print(table)
    print_notes(console, [*result.notes, *left_out(result)])
    typer.echo(f"{out}\n{page}")


def attack_command(
    name: Annotated[str, typer.Argument(metavar="ATTACK", help="The attack: layers, parrot or reversal.")],
    src: Originals,
    dst: Anonymized,
    layout: options.Layout = "auto",
    subset: options.Subset = None,
    sample: Annotated[int, typer.Option(
        "--sample", metavar="N", min=0,
        help="Attack at most this many photographs, all or none of a person's, and never more than 1,000, which 0 asks "
        "for.")] = 1000,
    seed: Seed = 0,
    work: Work = None,
    quiet: options.Quiet = False,
) -> None:
    """Attack anonymized photographs as an attacker would who knows the method and half of the people."""
    from rich.console import Console

    from mien.evaluation.attacks.run_attack import run_attacks
    from mien.evaluation.pairs import find_pairs
    from mien.evaluation.pairs import sample as draw
    from mien.evaluation.terminal_table import attack_table
    from mien.evaluation.work_folder import ATTACKED, check_apart, opened
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    folder = work or _beside(dst, ".evaluation.work")
    check_apart(src, dst, folder)
    pairs = draw(find_pairs(src, dst, layout, subset), sample or None, seed)
    with opened(folder), Reporter(quiet).counting() as progress, write_errors(folder):
        found = run_attacks((name,), pairs, folder / ATTACKED, seed, progress)
    Console().print(attack_table(found[name]))


def compare_training_command(
    src: Originals,
    dst: Anonymized,
    test: Annotated[Path, typer.Argument(
        metavar="TEST", help="Real photographs of other people to test on: a dataset like SRC.")],
    layout: options.Layout = "auto",
    subset: Annotated[str | None, typer.Option(
        "--subset", metavar="SPLITS", help="Use only these splits of SRC, joined by +.")] = "train",
    test_subset: Annotated[str | None, typer.Option(
        "--test-subset", metavar="SPLITS", help="Use only these splits of TEST, joined by +.")] = "val",
    sample: Sample = 1000,
    test_sample: Annotated[int, typer.Option(
        "--test-sample", metavar="N", min=0,
        help="Use at most this many photographs of TEST, all or none of a person's. 0 uses all.")] = 2000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(
        "--out", metavar="FILE", show_default="DST.training.json", help="Write the figures to this JSON file.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train one classifier on anonymized photographs and one on the originals, and test both on real photographs."""
    from rich.console import Console

    from mien.evaluation.pairs import find_pairs
    from mien.evaluation.pairs import sample as draw
    from mien.evaluation.retraining import compare_training
    from mien.evaluation.terminal_table import training_table
    from mien.report.terminal import Reporter
    from mien.util.files import write_errors

    pairs = draw(find_pairs(src, dst, layout, subset), sample or None, seed)
    real = draw(find_pairs(test, test, layout, test_subset), test_sample or None, seed)
    with Reporter(quiet).counting() as progress:
        found = compare_training(pairs, real, seed, progress)
    out = out or _beside(dst, ".training.json")
    with write_errors(out):
        found.write(out)
    console = Console()
    console.print(training_table(found))
    print_notes(console, found.notes)
    typer.echo(str(out))


def print_notes(console: Console, notes: list[str]) -> None:
    """Prints notes below tables, one a line."""
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


def _beside(dst: Path, ending: str) -> Path:
    whole = dst.resolve()
    return whole.with_name(f"{whole.name}{ending}")
