"""What the owner asks of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.datasets.dataset import Dataset
from mien.datasets.storage.base import PhotoWriter
from mien.errors import UsageError
from mien.jobs.identities import Box
from mien.jobs.owner_lists import OwnerList
from mien.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What the owner asks of a run.

    Attributes:
        only, exclude: regions to anonymize alone, or to leave. keep_person: folder of reference photos.
        dataset: SRC as it was read, with the layout and the subset that are asked for.
        labels: who is who, instead of the dataset's own. key: secret, for `per-person`.
        src_url: where SRC lies, if not in a folder. dst_url: where the result is to lie; DST then is a folder in WORK,
        for all of it that is no photograph of its own.
    """

    src: Path
    dst: Path
    work: Path
    recipe: Recipe
    dataset: Dataset
    only: OwnerList[list[Box]] | None = None
    exclude: OwnerList[list[Box]] | None = None
    keep_person: Path | None = None
    labels: OwnerList[str] | None = None
    key: bytes | None = None
    weights: dict[str, str] = field(default_factory=dict)
    src_url: str = ""
    dst_url: str = ""

    def for_workers(self) -> Request:
        """The same for who only does tasks: of the dataset no more than where its photos lie, and no key."""
        data = self.dataset
        return replace(self, dataset=Dataset(data.layout, data.root, [], data.subset, container=data.container),
                       labels=None, key=None)

    @property
    def origin(self) -> str:
        """Where the photographs come from."""
        return self.src_url or str(self.src.resolve())

    @property
    def writer(self) -> PhotoWriter:
        """Where the photographs go."""
        if self.dst_url:
            from mien.datasets.storage.fsspec_url import UrlFolder, UrlWriter

            return UrlWriter(UrlFolder(self.dst_url))
        return self.dataset.writer(self.dst, self.work)

    def refuse_urls(self) -> None:
        """Say that something needs photographs on this machine.

        Raises:
            UsageError: SRC or DST lie elsewhere.
        """
        if self.src_url or self.dst_url:
            raise UsageError("before and after can only be shown of folders on this machine",
                             "leave --with-originals out")

    def publish(self) -> None:
        """Bring what a finished run has left in DST to where it is to lie.

        Raises:
            OutputError: it cannot be written there.
        """
        if self.dst_url:
            from mien.datasets.storage.fsspec_url import upload

            upload(self.dst, self.dst_url)


def check_folders(src: Path, dst: Path, work: Path, name: str = "WORK") -> None:
    """Refuse folders that lie in one another; `name`: what the private one is called.

    Raises:
        UsageError: SRC does not exist, or DST or WORK would be read as photos or published by mistake.
    """
    try:
        a, b, c = (path.resolve() for path in (src, dst, work))
        there = src.exists()
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError before Python 3.13
        raise UsageError(f"cannot follow a folder's path: {error}", "check SRC, DST and --work") from error
    if not there:
        raise UsageError(f"{src} does not exist", "give a folder of photographs, or one photograph")
    for inner, outer, words in ((b, a, "DST lies inside SRC"), (a, b, "SRC lies inside DST"),
                                (c, a, f"{name} lies inside SRC"), (c, b, f"{name}, which is private, lies inside DST"),
                                (b, c, f"DST lies inside {name}"), (a, c, f"SRC lies inside {name}")):
        if inner == outer or outer in inner.parents:
            raise UsageError(f"{words}: {inner}", "give folders beside one another")
