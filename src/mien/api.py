"""The public functions: one image, a whole dataset, and the evaluation of a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from mien.anonymizer.image_anonymizer import Anonymizer, Result, check_image, recipe_for_images
from mien.anonymizer.load import Loaded, prepare
from mien.jobs.executors.workers import Workers
from mien.jobs.job import Job
from mien.jobs.progress import Progress, ProgressFn
from mien.jobs.request import PASSES
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.report.job_pages import write_pages
from mien.types import Pixels

if TYPE_CHECKING:
    from mien.evaluation.evaluation import Evaluation

__all__ = ["Anonymizer", "Progress", "Result", "Summary", "Workers", "anonymize", "anonymize_dataset", "evaluate"]


_loading = Lock()  # threads that ask for the same networks wait for the first, rather than load them twice


@lru_cache(maxsize=2)
def _prepared(recipe: Recipe, device: str) -> Loaded:
    return prepare(recipe, device=device)


def _loaded(recipe: Recipe, device: str) -> Loaded:
    """Networks and pool of a settled recipe; the last two are kept."""
    with _loading:
        return _prepared(recipe, device)


def anonymize(image: Pixels, recipe: str | Recipe = "default", *, device: str = "auto", name: str = "",
              seed: int | None = None) -> Result:
    """Replaces every face of an image by the face of a person who does not exist.

    A shorthand for `Anonymizer(recipe, device).anonymize(image, name=name, seed=seed)`; the networks of
    the last two recipes are kept, so that the second image is quicker than the first.

    Args:
        image: [H, W, 3] uint8 RGB, upright. recipe: name of a preset, path of a TOML file, or a `Recipe`.
        device: "auto", "cpu", "cuda", "cuda:1", ... name, seed: see `Anonymizer.anonymize`.

    Raises:
        UsageError, ModelError, OutputError, FaceError: see `Anonymizer`.
    """
    check_image(image)  # before networks are loaded
    chosen = recipe_for_images(recipe).settled(device)
    return Anonymizer._of(chosen, _loaded(chosen, device)).anonymize(image, name=name, seed=seed)


def anonymize_dataset(src: str | Path, dst: str | Path, recipe: str | Recipe = "default", *,
                      work: str | Path | None = None, key: bytes | None = None, only: str | Path | None = None,
                      exclude: str | Path | None = None, keep_person: str | Path | None = None,
                      labels: str | Path | None = None, layout: str = "auto", subset: str | None = None,
                      workers: int | Workers | None = None, passes: Sequence[str] = PASSES, report: bool = True,
                      with_originals: bool = False, forget: bool = False,
                      progress: ProgressFn = lambda event: None) -> Summary:
    """Anonymizes a folder of photographs; the same call again goes on where it stopped.

    It does what `mien anonymize` does, with the same files in DST and WORK.

    Args:
        src: folder of photographs, or one photograph. dst: new folder for the result, which may be published. Both may
            be URLs that fsspec opens.
        recipe: name of a preset, path of a TOML file, or a `Recipe`.
        work: private folder, by default DST.work beside DST.
        key: secret of 16 bytes or more, for a recipe with identity = "per-person".
        only, exclude: CSV of regions (file, x, y, width, height): just these faces, or all but these.
        keep_person: folder of reference photos of people who agreed to stay as they are.
        labels: CSV (file, person), or CelebA's identity file: who is who.
        layout: "auto", or one of those of `mien datasets list`. subset: splits to anonymize, as in "train+val".
        workers: the processes that do it: a number, or `Workers`; by default this process alone.
        passes: "index", "assign", "anonymize", for ranks of a scheduler; by default all of them.
        report: write DST/report.html. with_originals: write WORK/report.html too, with the originals.
        forget: delete WORK at the end.
        progress: is called as photographs are done.

    Raises:
        UsageError, ModelError, OutputError, FaceError: see `mien.errors`. MienError: no photograph could be read.
    """
    job = Job.open(src, dst, recipe, work=work, key=key, only=only, exclude=exclude, keep_person=keep_person,
                   labels=labels, layout=layout, subset=subset, workers=workers, passes=passes,
                   with_originals=with_originals, forget=forget)
    loaded = _loaded(job.recipe, job.workers.here)
    return job.run(loaded, progress, partial(write_pages, public=report))


def evaluate(src: str | Path, dst: str | Path, *, work: str | Path | None = None, layout: str = "auto",
             subset: str | None = None, judges: Sequence[str] = ("faceplugin", "dlib", "sface"),
             bounds: Sequence[str] | None = None,
             recipes: Sequence[str | Recipe] = (), attacks: Sequence[str] = (), sample: int | None = 2000,
             least: int = 1, seed: int = 0, processes: int = 1,
             progress: Callable[[str, int, int], None] = lambda what, done, total: None) -> Evaluation:
    """Holds anonymized photographs against their originals: privacy, look, utility, quality, with bounds beside them.

    Args:
        src: the originals. dst: the same photographs, anonymized by whatever tool. work: private folder, by default
            beside dst; what is there already is not done again.
        judges: recognizers: faceplugin, dlib, sface, arcface, module:function or FILE.onnx, of which
            FILE.onnx?channels=bgr&mean=127.5&scale=128 says that it takes other colors; the first one that neither
            trains nor gates counts.
        bounds: None: all. recipes: anonymize by these too and compare. attacks: layers, parrot, reversal.
        sample: at most so many photographs, whole people; None: all. least: only people with so many photographs.

    Returns:
        Figures by set, group and name, see `mien.evaluation.metrics.METRICS`; it can write itself as JSON.

    Raises:
        UsageError: folders without common photographs or faces, an unknown judge, bound or attack, or two recipes of
            one name.
        ModelError: weights cannot be had. OutputError: work cannot be written, or another evaluation is at work in it.
    """
    from mien.evaluation.evaluate import BASELINES, EvaluationConfig
    from mien.evaluation.evaluate import evaluate as answer

    whole = Path(dst).resolve()
    chosen = tuple(one if isinstance(one, Recipe) else Recipe.load(one) for one in recipes)
    return answer(EvaluationConfig(
        Path(src), Path(dst), Path(work) if work else whole.with_name(f"{whole.name}.evaluation.work"), layout, subset,
        tuple(judges), BASELINES if bounds is None else tuple(bounds), recipes=chosen,
        attacks=tuple(attacks), sample=sample, least=least, seed=seed, processes=processes), progress)
