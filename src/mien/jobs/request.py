"""What the owner of the photographs asks of a job; it can be pickled, so that workers get it too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.datasets.dataset import Dataset
from mien.datasets.storage.base import PhotoWriter
from mien.errors import UsageError
from mien.jobs.owner_lists import Box, OwnerList
from mien.recipe import Recipe

PASSES = ("index", "assign", "anonymize")  # in their order; each leaves files in WORK for the next


@dataclass(frozen=True)
class Request:
    """What the owner of the photographs asks of a job.

    Attributes:
        dataset: the photographs of SRC, read with the layout and the subset that are asked for.
        only: regions whose faces alone are anonymized. exclude: regions whose faces stay.
        keep_person: folder of reference photos of people whose faces stay.
        labels: who is who, instead of the dataset's own labels. key: secret for per-person identities.
        weights: name -> SHA-256 of every weights file that decides the result.
        src_url: URL of SRC, or "" where it is a folder.
        dst_url: URL of the result, or "" where it is a folder; `dst` then is a folder in WORK for the parts of the
            result that are not photographs.
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
        """A copy for workers, without what they need not know: names, labels, and key."""
        data = self.dataset
        return replace(self, dataset=Dataset(data.layout, data.root, [], data.subset, container=data.container),
                       labels=None, key=None)

    @property
    def origin(self) -> str:
        """The folder or URL that the photographs come from."""
        return self.src_url or str(self.src.resolve())

    @property
    def writer(self) -> PhotoWriter:
        """Writes the photographs of the result."""
        if self.dst_url:
            from mien.datasets.storage.fsspec_url import UrlFolder, UrlWriter

            return UrlWriter(UrlFolder(self.dst_url))
        return self.dataset.writer(self.dst, self.work)

    def refuse_urls(self) -> None:
        """Refuses URLs, where something needs photographs on this machine.

        Raises:
            UsageError: SRC or DST is a URL.
        """
        if self.src_url or self.dst_url:
            raise UsageError("before and after can only be shown of folders on this machine",
                             "leave --with-originals out")

    def publish(self) -> None:
        """Uploads what a finished run has left in `dst`, where the result goes to a URL.

        Raises:
            OutputError: it cannot be written there.
        """
        if self.dst_url:
            from mien.datasets.storage.fsspec_url import upload

            upload(self.dst, self.dst_url)


def check_folders(src: Path, dst: Path, work: Path, name: str = "WORK") -> None:
    """Refuses folders that are in one another: DST or WORK would be read as photos, or published by mistake.

    Args:
        name: what messages call the private folder.

    Raises:
        UsageError: a folder is in another one, or SRC does not exist.
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
