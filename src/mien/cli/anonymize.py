"""`mien anonymize`: a folder of photographs, or a dataset, in; the same with people who do not exist out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options


def anonymize_command(
    src: Annotated[str, typer.Argument(
        metavar="SRC",
        help="The photographs: a folder, a dataset, tars, Parquet files, one photograph, or a URL as "
        "s3://bucket/photos.")],
    dst: Annotated[str, typer.Argument(
        metavar="DST",
        help="The folder or URL to write to: a new one, or that of an earlier run, which then continues. It "
        "may be published.")],
    layout: options.Layout = "auto",
    subset: options.Subset = None,
    recipe: options.Recipe = "default",
    settings: options.Settings = None,
    models: options.Models = None,
    features: Annotated[str | None, typer.Option(
        "--features", metavar="NAME", show_default=options.BY_RECIPE,
        help="Compare attributes by these features of the falco networks: farl, clip_vitb16, clip_vitb32, "
        "dino_vitb16 or arcface.")] = None,
    detector: Annotated[str | None, typer.Option(
        "--detector", metavar="NAME", show_default=options.BY_RECIPE,
        help="Detect faces with this network: yunet, or s3fd, the paper's, which you import.")] = None,
    steps: Annotated[int | None, typer.Option(
        "--steps", metavar="N", show_default=options.BY_RECIPE,
        help="Optimize each new face for at most this many steps, 1 to 2000.")] = None,
    margin: Annotated[float | None, typer.Option(
        "--margin", metavar="COSINE", show_default=options.BY_RECIPE,
        help="Push the identity away until its cosine similarity to the original is this low, -1 to 1.")] = None,
    k: Annotated[int | None, typer.Option(
        "--k", metavar="N", show_default=options.BY_RECIPE,
        help="Choose among this many nearest pool faces, 1 or more.")] = None,
    batch: Annotated[int | None, typer.Option(
        "--batch", metavar="N", show_default=options.BY_RECIPE,
        help="Optimize this many faces together, 1 to 256. Larger batches suit a GPU.")] = None,
    pool_size: options.PoolSize = None,
    seed: Annotated[int | None, typer.Option(
        "--seed", metavar="N", show_default="a secret of the run's own",
        help="Make all random choices by this number, 0 or more, so that another run repeats them; keep it secret.")
    ] = None,
    identity: Annotated[str | None, typer.Option(
        "--identity", metavar="MODE", show_default=options.BY_RECIPE,
        help="Give a person a new face in each photo (per-photo), or the same one in all (per-person, needs "
        "--key-file).")] = None,
    key_file: Annotated[Path | None, typer.Option(
        "--key-file", metavar="FILE", show_default="none",
        help="Read the secret key of per-person identities from this file of 16 random bytes or more.")] = None,
    labels: Annotated[Path | None, typer.Option(
        "--labels", metavar="FILE", show_default="the dataset's own, or by likeness",
        help="Read who is in which photo, for per-person, from this file: a CSV with columns file,person, or "
        "identity_CelebA.txt.")] = None,
    on_failure: Annotated[str | None, typer.Option(
        "--on-failure", metavar="MODE", show_default=options.BY_RECIPE,
        help="When a face cannot be anonymized, blur it (blur), leave its photo out (drop) or stop the run "
        "(error).")] = None,
    only: Annotated[Path | None, typer.Option(
        "--only", metavar="FILE", show_default="all faces",
        help="Anonymize only the faces in this CSV with columns file,x,y,width,height (boxes in pixels).")] = None,
    exclude: Annotated[Path | None, typer.Option(
        "--except", metavar="FILE", show_default="none",
        help="Leave the faces in this CSV as they are; its columns are those of --only.")] = None,
    keep_person: Annotated[Path | None, typer.Option(
        "--keep-person", metavar="FOLDER", show_default="none",
        help="Leave the people as they are whom the reference photographs in this folder show.")] = None,
    work: Annotated[Path | None, typer.Option(
        "--work", metavar="FOLDER", show_default="DST.work",
        help="Keep the state of the run in this private folder, which leads back to the originals.")] = None,
    workers: Annotated[int, typer.Option(
        "--workers", metavar="N", show_default="this process alone, or what the Ray cluster has room for",
        help="Run this many worker processes, each with a copy of the networks (about 2 GB).")] = 0,
    threads: Annotated[int, typer.Option(
        "--threads", metavar="N", show_default="the machine's cores, divided among the workers",
        help="Let each worker compute with this many threads.")] = 0,
    device: Annotated[str, typer.Option(
        "--device", metavar="DEVICES",
        help="Compute on this device: auto (a GPU if one works, else the CPU), cpu, cuda, or several with at "
        "least a worker each, as in cuda:0,cuda:1.")] = "auto",
    engine: Annotated[str, typer.Option(
        "--engine", metavar="NAME",
        help="Run the workers as processes of this machine (local) or as tasks of a Ray cluster (ray).")] = "local",
    only_pass: Annotated[str | None, typer.Option(
        "--pass", metavar="PASS", show_default="all of them",
        help="Do only one pass of the run, when a scheduler starts several processes: index, assign or "
        "anonymize.")] = None,
    rank: Annotated[int, typer.Option(
        "--rank", metavar="N",
        help="Do the share of this process, counted from 0, of the processes that a scheduler such as Slurm "
        "starts.")] = 0,
    world_size: Annotated[int, typer.Option(
        "--world-size", metavar="N",
        help="Divide --pass index or --pass anonymize among this many processes that a scheduler starts.")] = 1,
    forget: Annotated[bool, typer.Option(
        "--forget",
        help="Delete the private WORK folder at the end; the run can then not be continued.")] = False,
    with_originals: Annotated[bool, typer.Option(
        "--with-originals",
        help="Also write WORK/report.html, a private page of the faces before and after.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Anonymize a folder of photographs. The same command again goes on where it stopped."""
    from mien.jobs.executors.workers import Workers
    from mien.jobs.job import Job
    from mien.jobs.request import PASSES
    from mien.recipe import Recipe

    chosen = Recipe.load(recipe).with_changes({
        "models": models, "features": features, "detect.network": detector, "optimize.steps": steps,
        "optimize.margin": margin, "pair.k": k, "batch": batch, "pool.size": pool_size, "seed": seed,
        "identity": identity, "on_failure": on_failure}).with_settings(settings or ())
    who = Workers(workers, engine, threads, device, rank, world_size)
    job = Job.open(
        src, dst, chosen, work=work, key=_read_key(key_file), only=only, exclude=exclude, keep_person=keep_person,
        labels=labels, layout=layout, subset=subset, workers=who,
        passes=(only_pass,) if only_pass else PASSES, with_originals=with_originals, forget=forget)

    from mien.anonymizer.load import prepare
    from mien.report.job_pages import write_pages
    from mien.report.terminal import Reporter

    reporter = Reporter(quiet)
    with reporter.fetching() as fetching, reporter.building() as building:
        loaded = prepare(job.recipe, fetching, building, job.workers.here)
    with reporter.run() as progress:
        summary = job.run(loaded, progress, write_pages)
    if summary.complete:
        reporter.close(summary, dst, job.request.work if with_originals and not forget else None, job.recipe)


def _read_key(path: Path | None) -> bytes | None:
    """Reads the secret key.

    Raises:
        UsageError: the file cannot be read, or is too short for a key.
    """
    from mien.errors import UsageError
    from mien.jobs.job import check_key

    if path is None:
        return None
    try:
        key = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the key {path}: {error.strerror}") from error
    check_key(key, str(path))
    return key
