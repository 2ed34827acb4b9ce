"""The public API: one image, a folder, and the proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.anonymizer.detect import detect
from mien.anonymizer.load import Loaded, prepare
from mien.anonymizer.pipeline import Pipeline, WorkItem
from mien.datasets.dataset import HELD
from mien.datasets.registry import open_dataset
from mien.datasets.storage.fsspec_url import is_url, open_remote
from mien.errors import FaceError, UsageError
from mien.jobs.executors.config import Workers
from mien.jobs.owner_lists import list_people, list_regions
from mien.jobs.request import Request, check_folders
from mien.jobs.run import Progress, Run, Summary
from mien.jobs.state import known_files
from mien.recipe import Recipe
from mien.types import Encoding, FaceOutcome, Photo, Pixels

if TYPE_CHECKING:
    from mien.evaluation.evaluation import Evaluation


@dataclass(frozen=True)
class Result:
    """An anonymized image.

    Attributes:
        image: [H, W, 3] uint8 RGB. faces: what became of each face that was found.
    """

    image: Pixels
    faces: list[FaceOutcome]


@lru_cache(maxsize=2)
def _ready(recipe: Recipe, device: str) -> Loaded:
    return prepare(recipe, device=device)


def anonymize(image: Pixels, recipe: str | Recipe = "default", *, device: str = "auto") -> Result:
    """Replace every face of an image by a person who does not exist.

    Args:
        image: [H, W, 3] uint8 RGB, upright.
        recipe: a preset's name, a TOML file, or a Recipe. device: auto, cpu, cuda, cuda:1, ...

    Returns:
        The new image and one outcome a face. Faces that could not be anonymized are blurred and say so.

    Raises:
        UsageError: the image is not such an array. ModelError: weights cannot be had. FaceError: a face failed and
            the recipe says on_failure = "error"; or, whatever it says, more faces are found each time that the result
            is searched, so that no image can be given back.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise UsageError(f"expected an image [H, W, 3] of uint8 RGB, got {pixels.dtype} {list(pixels.shape)}")
    chosen = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    if chosen.identity == "per-person":
        raise UsageError("one image has no people to tell apart", "per-person is for anonymize_dataset")
    chosen = chosen.settled(device)
    ready = _ready(chosen, device)
    photo = Photo("image", np.ascontiguousarray(pixels), Encoding("PNG", "RGB"))
    pipeline = Pipeline(ready.networks, ready.pool, chosen)
    work = pipeline.prepare(photo, detect(ready.networks, photo))
    pipeline.run([work])
    if not pipeline.finish(work, _pixels):
        raise FaceError("every search of the finished image finds another face", "leave this image out")
    return Result(_pixels(work), work.outcomes)


def _pixels(work: WorkItem) -> Pixels:
    assert work.pixels is not None
    return work.pixels


def anonymize_dataset(src: str | Path, dst: str | Path, recipe: str | Recipe = "default", *,
                      work: str | Path | None = None, key: bytes | None = None,
                      only: Path | None = None, exclude: Path | None = None, keep_person: Path | None = None,
                      labels: Path | None = None, layout: str = "auto", subset: str | None = None,
                      crew: Workers | None = None,
                      progress: Callable[[Progress], None] = lambda event: None) -> Summary:
    """Anonymize a folder of photographs; call it again to go on where it stopped.

    Args:
        src: folder of photographs (or one). dst: new folder, publishable; both may be URLs that fsspec opens. work:
            private folder, by default beside dst. key: secret for identity = "per-person". only, exclude: CSV of
            regions (file, x, y, width, height). keep_person: folder of reference photos of people who agreed. labels:
            CSV (file, person) or CelebA's identity file. layout: of `mien.datasets.registry.LAYOUTS`; auto looks for
            itself. subset: splits to anonymize, as in "train+val". crew: who does it, by default this process;
            `Workers(workers=4)` for several, `Workers("ray")` for a cluster.

    Raises:
        UsageError, ModelError, OutputError, FaceError: see `mien.errors`.
    """
    chosen = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    crew = crew or Workers()
    crew.check()
    request = make_request(src, dst, chosen.settled(crew.here), Path(work) if work else None, key, only, exclude,
                           keep_person, labels, layout, subset)
    ready = _ready(request.recipe, crew.here)
    summary = Run(with_weights(request, ready), ready.networks, ready.pool, crew).execute(progress)
    if not crew.rank:
        request.publish()
    return summary


def evaluate(src: str | Path, dst: str | Path, *, work: str | Path | None = None, layout: str = "auto",
             subset: str | None = None, judges: Sequence[str] = ("dlib", "sface"), bounds: Sequence[str] | None = None,
             recipes: Sequence[str | Recipe] = (), attacks: Sequence[str] = (), sample: int | None = 2000,
             least: int = 1, seed: int = 0, processes: int = 1,
             progress: Callable[[str, int, int], None] = lambda what, done, total: None) -> Evaluation:
    """Hold anonymized photographs against their originals: privacy, utility, quality, with bounds beside them.

    Args:
        src: the originals. dst: the same photographs, anonymized by whatever tool. work: private folder, by default
            beside dst; what is there already is not done again. judges: recognizers, the first counts. bounds: None:
            all. recipes: anonymize by these too and compare. attacks: layers, parrot, reversal. sample: at most so
            many photographs, whole people; None: all. least: only people with at least so many photographs.

    Returns:
        Figures by set, group and name, see `mien.evaluation.metrics.METRICS`; it can write itself as JSON.

    Raises:
        UsageError: folders without common photographs or faces, an unknown judge, bound or attack, or two recipes of
            one name.
        ModelError: weights cannot be had. OutputError: work cannot be written, or another evaluation is at work in it.
    """
    from mien.evaluation.evaluate import BOUNDS, EvaluationConfig
    from mien.evaluation.evaluate import evaluate as answer

    whole = Path(dst).resolve()
    chosen = tuple(one if isinstance(one, Recipe) else Recipe.load(one) for one in recipes)
    return answer(EvaluationConfig(
        Path(src), Path(dst), Path(work) if work else whole.with_name(f"{whole.name}.evaluation.work"), layout, subset,
        tuple(judges), BOUNDS if bounds is None else tuple(bounds), recipes=chosen,
        attacks=tuple(attacks), sample=sample, least=least, seed=seed, processes=processes), progress)


def make_request(src: str | Path, dst: str | Path, recipe: Recipe, work: Path | None, key: bytes | None,
                 only: Path | None, exclude: Path | None, keep_person: Path | None,
                 labels: Path | None, layout: str = "auto", subset: str | None = None) -> Request:
    """Check everything that can be checked before networks are loaded.

    Raises:
        UsageError: folders in one another, a person's face asked for without a key, a dataset that is not in its
            layout, or lists of photos that are not there.
    """
    src_url, dst_url = (str(place) if is_url(str(place)) else "" for place in (src, dst))
    if dst_url and work is None:
        raise UsageError("a DST elsewhere needs --work", "give a folder on this machine, or one that all workers see")
    if src_url and dst_url:
        for (outer, a), (inner, b) in permutations((("SRC", src_url), ("DST", dst_url))):
            if f"{b.rstrip('/')}/".startswith(f"{a.rstrip('/')}/"):
                raise UsageError(f"{inner} lies inside {outer}", "give folders beside one another")
    places = [str(place).removeprefix("file://") for place in (src, dst)]
    whole = Path(dst)
    work = work or whole.with_name(f"{whole.name}.work")
    whole = work / "public" if dst_url else whole
    if not any(map(is_url, places)):
        check_folders(Path(places[0]), Path(places[1]), work)
    elif not src_url and Path(src).resolve() in (work.resolve(), *work.resolve().parents):
        raise UsageError(f"WORK lies inside SRC: {work}", "give folders beside one another")
    if recipe.identity == "per-person" and not key:
        raise UsageError("--identity per-person needs a secret key",
                         "give --key-file FILE; make one with: head -c 32 /dev/urandom > key")
    dataset = open_remote(src_url, layout, subset) if src_url else open_dataset(Path(src), layout, subset)
    if dst_url and dataset.layout in HELD:
        raise UsageError(f"{dataset.layout} cannot be written to a URL", "give a folder as DST, and copy it there")
    photos = [*dataset.names(), *known_files(work)] if only or exclude or labels else []
    return Request(Path(src), whole, work, recipe.settled(), dataset,
                   list_regions(only, photos, dataset.photos, needed=True) if only else None,
                   list_regions(exclude, photos, dataset.photos) if exclude else None, keep_person,
                   list_people(labels, photos) if labels else None, key, src_url=src_url, dst_url=dst_url)


def with_weights(request: Request, ready: Loaded) -> Request:
    """The request, knowing which weights answer it."""
    from dataclasses import replace

    return replace(request, weights=ready.weights)
