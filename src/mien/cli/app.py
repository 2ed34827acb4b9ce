"""The command line: one thin function a command. Torch is imported inside commands, so that --help answers at once."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from mien.cli import options
from mien.cli.datasets import datasets_app
from mien.cli.evaluate import attack_command, compare_training_command, evaluate_command
from mien.cli.models import models_app
from mien.cli.pool import pool_app
from mien.cli.steps import register
from mien.errors import MienError
from mien.util.memory import keep_freed_memory

app = typer.Typer(
    name="mien", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Photographs of real people in, the same photographs with people who do not exist out.")
app.add_typer(models_app, name="models")
app.add_typer(datasets_app, name="datasets")
app.add_typer(pool_app, name="pool")
register(app)
app.command("evaluate")(evaluate_command)
app.command("attack")(attack_command)
app.command("compare-training")(compare_training_command)

FeaturesOption = Annotated[str | None, typer.Option(
    "--features", help="Attribute features of falco: farl, clip_vitb16, clip_vitb32, dino_vitb16, arcface.")]
DetectorOption = Annotated[str | None, typer.Option("--detector", help="yunet, or s3fd: the paper's, imported.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Of everything random.")]


@app.command()
def anonymize(
    src: Annotated[str, typer.Argument(help="Folder of photographs (or tars, or Parquet files), or one of them.")],
    dst: Annotated[str, typer.Argument(help="New folder for what comes of it; both may be URLs, as s3://...")],
    layout: options.Layout = "auto",
    subset: options.Subset = None,
    recipe: options.Recipe = "default",
    settings: options.Settings = None,
    models: options.Models = None,
    features: FeaturesOption = None,
    detector: DetectorOption = None,
    steps: Annotated[int | None, typer.Option(help="Optimization steps.")] = None,
    margin: Annotated[float | None, typer.Option(help="Cosine to the original that is low enough.")] = None,
    k: Annotated[int | None, typer.Option("--k", help="How many near pool faces to choose among.")] = None,
    batch: Annotated[int | None, typer.Option(help="Faces optimized together.")] = None,
    pool_size: options.PoolSize = None,
    seed: SeedOption = None,
    identity: Annotated[str | None, typer.Option(help="per-photo or per-person.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Secret key for per-person.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Who is who: CSV file,person or identity_CelebA.txt.")] = None,
    on_failure: Annotated[str | None, typer.Option(help="blur, drop (the photo) or error.")] = None,
    only: Annotated[Path | None, typer.Option(help="CSV file,x,y,width,height: just these faces.")] = None,
    exclude: Annotated[Path | None, typer.Option("--except", help="The same: all but these faces.")] = None,
    keep_person: Annotated[Path | None, typer.Option(help="Reference photos of people who agreed.")] = None,
    work: Annotated[Path | None, typer.Option(help="Private folder [DST.work].")] = None,
    workers: Annotated[int, typer.Option(help="Processes; with ray as many as the cluster has room for.")] = 0,
    threads: Annotated[int, typer.Option(help="Of a worker [the machine's cores, shared out].")] = 0,
    device: Annotated[str, typer.Option(
        help="auto, cpu, cuda, or several, as in cuda:0,cuda:1: a worker each.")] = "auto",
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    rank: Annotated[int, typer.Option(help="Of this process among --world-size, under Slurm or torchrun.")] = 0,
    world_size: Annotated[int, typer.Option(help="Processes that were started with the same arguments.")] = 1,
    forget: Annotated[bool, typer.Option("--forget", help="Delete WORK at the end.")] = False,
    with_originals: Annotated[bool, typer.Option(
        "--with-originals", help="Also write WORK/report.html with before/after pairs, for the owner's eyes.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Anonymize a folder of photographs. Run it again to go on where it stopped."""
    from mien.recipe import Recipe
    from mien.report.terminal import Reporter

    chosen = Recipe.load(recipe).with_changes({
        "models": models, "features": features, "detect.network": detector,
        "optimize.steps": steps, "optimize.margin": margin, "pair.k": k, "batch": batch, "pool.size": pool_size,
        "seed": seed, "pool.seed": None, "identity": identity, "on_failure": on_failure}).with_settings(settings or ())
    key = _read_key(key_file)
    from mien.api import make_request, with_weights
    from mien.jobs.executors.config import Workers

    crew = Workers(engine, workers, threads, rank, world_size, device)
    crew.check()
    chosen = chosen.settled(crew.here)
    request = make_request(src, dst, chosen, work, key, only, exclude, keep_person, labels, layout, subset)
    if with_originals:
        request.dataset.in_files()
        request.refuse_urls()
    reporter = Reporter(quiet)
    ready = _prepare(chosen, reporter, crew.here)
    from mien.jobs.run import Run
    from mien.jobs.state import JobState
    from mien.report.run_page import write_report

    with reporter.run() as progress:
        summary = Run(with_weights(request, ready), ready.networks, ready.pool, crew).execute(progress)
    if crew.rank:
        return  # the first reports
    write_report(request.dst / "report.html", summary, chosen)
    if with_originals and not forget:
        write_report(request.work / "report.html", summary, chosen, originals=request.src, results=request.dst)
    request.publish()
    if forget:
        JobState(request.dst, request.work).forget()
    reporter.close(summary, dst, request.work if with_originals and not forget else None)
    if not summary.photos and not summary.faces and summary.skipped:
        raise MienError("no photograph could be read", "the reasons are listed above and in mien.json")


@app.command()
def report(dst: Annotated[Path, typer.Argument(help="A finished run's DST.")],
           originals: Annotated[Path | None, typer.Option(help="SRC: before and after, for the owner.")] = None,
           out: Annotated[Path | None, typer.Option(help="The page to write [DST/report.html].")] = None) -> None:
    """Write the HTML report of a finished run again."""
    from mien.report.run_page import report_from_folder

    typer.echo(str(report_from_folder(dst, originals, out)))


@app.command()
def status(work: Annotated[Path, typer.Argument(help="WORK of a run, by default DST.work.")],
           as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
           prometheus: Annotated[bool, typer.Option("--prometheus", help="Prometheus' text format.")] = False) -> None:
    """Say how far a run is, while it goes on or after it was stopped."""
    from mien.jobs.status import read_status

    found = read_status(work)
    if as_json or prometheus:
        typer.echo(found.as_json() if as_json else found.as_prometheus(), nl=as_json)
        return
    from mien.report.terminal import show_status

    show_status(found)


@app.command()
def sheets(src: Annotated[Path, typer.Argument(help="SRC of a finished run.")],
           dst: Annotated[Path, typer.Argument(help="Its DST.")],
           out: Annotated[Path, typer.Argument(help="Folder for the sheets.")],
           work: Annotated[Path | None, typer.Option(help="Its WORK [DST.work].")] = None,
           every: Annotated[int, typer.Option(min=1, help="Show every n-th face.")] = 1) -> None:
    """Draw contact sheets: original, inversion, pair, new face, photo. For the owner's eyes."""
    from mien.report.read_run import read_run
    from mien.report.run_sheets import write_sheets

    summary, recipe = read_run(dst)
    from mien.datasets.dataset import refuse_held
    from mien.report.terminal import Reporter

    refuse_held(summary.layout, src)
    ready = _prepare(recipe, Reporter(quiet=False))
    for path in write_sheets(src, dst, work or dst.with_name(f"{dst.name}.work"), out, ready, recipe, every):
        typer.echo(str(path))


@app.command()
def samples(folder: Annotated[Path, typer.Argument(help="Folder to write them into.")],
            quiet: options.Quiet = False) -> None:
    """Write sample photographs: a public-domain portrait and groups of generated faces."""
    from mien.report.terminal import Reporter
    from mien.samples import write_samples

    with Reporter(quiet).fetching() as fetching:
        for path in write_samples(folder, fetching):
            typer.echo(str(path))


def _prepare(recipe: Any, reporter: Any, device: str = "auto") -> Any:
    from mien.anonymizer.load import prepare

    with reporter.fetching() as fetching, reporter.building() as building:
        return prepare(recipe, fetching, building, device)


def _read_key(path: Path | None) -> bytes | None:
    from mien.errors import UsageError

    if path is None:
        return None
    try:
        key = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the key {path}: {error.strerror}") from error
    if len(key) < 16:
        raise UsageError(f"the key in {path} is too short ({len(key)} bytes)",
                         "at least 16 random bytes: head -c 32 /dev/urandom > key")
    return key


class _Stopped(BaseException):
    """Ctrl-C or a request to end; not an Exception, so that nothing on the way takes it for a bad photo."""


_stopped_by = 0  # the signal


def _stop(number: int, frame: FrameType | None) -> None:
    global _stopped_by
    _stopped_by = number
    raise _Stopped


def main() -> None:
    """The `mien` program: errors become one sentence, a hint and an exit code, never a traceback."""
    global _stopped_by
    _stopped_by = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    keep_freed_memory()
    try:
        app()
    except BaseException as error:
        # Whoever was just reading a file may have taken the stop for damage: safetensors does.
        if _stopped_by:
            typer.echo("mien: stopped; run the same command again to go on", err=True)
            sys.exit(128 + _stopped_by)
        if not isinstance(error, MienError):
            raise
        typer.secho(f"mien: {error.message}", fg="red", err=True)
        if error.hint:
            typer.echo(f"      {error.hint}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
