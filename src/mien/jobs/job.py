"""The one way to anonymize a dataset: the command `mien anonymize` and `mien.anonymize_dataset` both run a `Job`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

from mien.anonymizer.load import Loaded
from mien.datasets.dataset import CONTAINER_LAYOUTS
from mien.datasets.registry import open_dataset
from mien.datasets.storage.fsspec_url import is_url, open_url_dataset
from mien.errors import MienError, UsageError
from mien.images.formats import printable
from mien.jobs.executors.workers import Workers
from mien.jobs.owner_lists import list_people, list_regions
from mien.jobs.progress import ProgressFn
from mien.jobs.request import PASSES, Request, check_folders
from mien.jobs.run import Run
from mien.jobs.state import JobState, known_files
from mien.jobs.summary import Summary
from mien.recipe import Recipe

SHORTEST_KEY = 16  # bytes


@dataclass(frozen=True)
class Job:
    """A dataset to anonymize, with everything checked that can be checked before networks are loaded.

    Attributes:
        request: what is asked for. workers: the processes that do it.
        passes: which of "index", "assign" and "anonymize" this call does.
        with_originals: whether a page with the originals is written into WORK. forget: whether WORK is deleted at the
            end.
    """

    request: Request
    workers: Workers
    passes: tuple[str, ...] = PASSES
    with_originals: bool = False
    forget: bool = False

    @classmethod
    def open(cls, src: str | Path, dst: str | Path, recipe: str | Recipe = "default", *,
             work: str | Path | None = None, key: bytes | None = None, only: str | Path | None = None,
             exclude: str | Path | None = None, keep_person: str | Path | None = None,
             labels: str | Path | None = None, layout: str = "auto", subset: str | None = None,
             workers: int | Workers | None = None, passes: Sequence[str] = PASSES, with_originals: bool = False,
             forget: bool = False) -> Job:
        """Checks what is asked for; nothing is written yet. The arguments are those of `mien.anonymize_dataset`.

        Raises:
            UsageError: an argument means nothing, folders are in one another, a file is missing or damaged.
        """
        workers = Workers(workers) if isinstance(workers, int) else workers or Workers()
        passes = (passes,) if isinstance(passes, str) else passes
        workers.check()
        _check_passes(passes, workers)
        chosen = (recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)).settled(workers.here)
        request = make_request(src, dst, chosen, _path(work), key, _path(only), _path(exclude), _path(keep_person),
                               _path(labels), layout, subset)
        if with_originals:
            request.dataset.require_files()
            request.refuse_urls()
        return cls(request, workers, tuple(one for one in PASSES if one in passes), with_originals, forget)

    @property
    def recipe(self) -> Recipe:
        """The recipe, with everything decided that depends on the machine."""
        return self.request.recipe

    def run(self, loaded: Loaded, progress: ProgressFn = lambda event: None,
            write_pages: Callable[[Job, Summary], None] = lambda job, summary: None) -> Summary:
        """Does what is missing of the passes asked for; a job that is complete gets its pages and is published.

        Args:
            loaded: networks and pool of the job's recipe, on the device `workers.here`.
            write_pages: writes the reports of a complete job.

        Raises:
            UsageError, OutputError, FaceError: see `mien.errors`. MienError: no photograph at all could be read.
        """
        request = replace(self.request, weights=loaded.weights)
        state = JobState(request.dst, request.work)

        def conclude(summary: Summary) -> None:
            write_pages(self, summary)
            request.publish()
            if self.forget:
                summary.outcomes = list(summary.outcomes)  # which are read from WORK otherwise
                state.forget()

        run = Run(request, loaded.networks, loaded.pool, self.workers)
        summary = run.execute(progress, self.passes, conclude)
        if summary.complete and summary.skipped and not summary.photos and not summary.faces:
            first = summary.skipped[0]
            more = f" (and {len(summary.skipped) - 1} more)" if len(summary.skipped) > 1 else ""
            raise MienError(f"no photograph could be read: {printable(first.file)}: {first.reason}{more}",
                            f"see the reasons in mien.json in {request.dst_url or request.dst}")
        return summary


def _path(value: str | Path | None) -> Path | None:
    return Path(value) if value else None


def _check_passes(passes: Sequence[str], workers: Workers) -> None:
    """Refuses passes that there are not, and ranks that would do what one process has to do.

    Raises:
        UsageError: names the option.
    """
    unknown = [one for one in passes if one not in PASSES]
    if unknown or not passes:
        raise UsageError(f"there is no pass {', '.join(map(repr, unknown)) or 'in an empty list'}",
                         f"passes: {', '.join(PASSES)}")
    if workers.world_size > 1 and tuple(passes) not in (("index",), ("anonymize",)):
        raise UsageError("ranks can share the passes index and anonymize only",
                         "give --pass index to all ranks, then --pass assign to one process, then --pass anonymize to "
                         "all ranks, then the same command without --pass, --rank and --world-size")


def make_request(src: str | Path, dst: str | Path, recipe: Recipe, work: Path | None = None, key: bytes | None = None,
                 only: Path | None = None, exclude: Path | None = None, keep_person: Path | None = None,
                 labels: Path | None = None, layout: str = "auto", subset: str | None = None) -> Request:
    """Checks folders, key and lists, and opens the dataset.

    Raises:
        UsageError: folders in one another, a person's face asked for without a key, a dataset that is not in its
            layout, or lists of photos that are not there.
    """
    src_url, dst_url = (str(place) if is_url(str(place)) else "" for place in (src, dst))
    if dst_url and work is None:
        raise UsageError("a DST elsewhere needs --work", "give a folder on this machine, or one that all workers see")
    whole = Path(dst)
    work = work or whole.with_name(f"{whole.name}.work")
    _check_places(src, dst, work, src_url, dst_url)
    if recipe.identity == "per-person":
        check_key(key)
    dataset = open_url_dataset(src_url, layout, subset) if src_url else open_dataset(Path(src), layout, subset)
    if dst_url and dataset.layout in CONTAINER_LAYOUTS:
        raise UsageError(f"{dataset.layout} cannot be written to a URL", "give a folder as DST, and copy it there")
    photos = [*dataset.names(), *known_files(work)] if only or exclude or labels else []
    return Request(Path(src), work / "public" if dst_url else whole, work, recipe.settled(), dataset,
                   list_regions(only, photos, dataset.photos, needed=True) if only else None,
                   list_regions(exclude, photos, dataset.photos) if exclude else None, keep_person,
                   list_people(labels, photos) if labels else None, key, src_url=src_url, dst_url=dst_url)


def _check_places(src: str | Path, dst: str | Path, work: Path, src_url: str, dst_url: str) -> None:
    """Refuses places that are in one another."""
    if src_url and dst_url:
        for (outer, a), (inner, b) in permutations((("SRC", src_url), ("DST", dst_url))):
            if f"{b.rstrip('/')}/".startswith(f"{a.rstrip('/')}/"):
                raise UsageError(f"{inner} lies inside {outer}", "give folders beside one another")
    places = [str(place).removeprefix("file://") for place in (src, dst)]
    if not any(map(is_url, places)):
        check_folders(Path(places[0]), Path(places[1]), work)
        return
    for name, place, url in (("SRC", src, src_url), ("DST", dst, dst_url)):
        folder, private = Path(places[name == "DST"]).resolve(), work.resolve()
        if not url and folder in (private, *private.parents):
            raise UsageError(f"WORK lies inside {name}: {work}", "give folders beside one another")
        if not url and private in folder.parents:
            raise UsageError(f"{name} lies inside WORK: {place}", "give folders beside one another")


def check_key(key: bytes | None, name: str = "the key") -> None:
    """Refuses a key that is missing or too short to be a secret.

    Args:
        name: what the message calls the key.

    Raises:
        UsageError: it is.
    """
    if not key:
        raise UsageError("--identity per-person needs a secret key",
                         "give --key-file FILE; make one with: head -c 32 /dev/urandom > key")
    if len(key) < SHORTEST_KEY:
        raise UsageError(f"{name} is too short for a secret key ({len(key)} bytes)",
                         f"give at least {SHORTEST_KEY} random bytes: head -c 32 /dev/urandom > key")
