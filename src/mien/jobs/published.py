"""Tells the folders that are to be published, so that no picture of an original is written into one."""

from __future__ import annotations

from pathlib import Path

from mien.errors import UsageError

RECORD = "mien.json"  # which every finished DST holds


def refuse_published(out: Path, *results: Path) -> None:
    """Refuses a place for pictures of originals that is in a DST.

    Args:
        out: the file or folder that would be written, there or not.
        results: folders that are published, whether they hold a run's record or not.

    Raises:
        UsageError: it is, or is in, one of these or a folder that holds a run's record.
    """
    whole, known = out.resolve(), {folder.resolve() for folder in results}
    for folder in (whole, *whole.parents):
        if folder in known or (folder / RECORD).is_file():
            raise UsageError(f"{out} is inside {folder}, which is published: originals may not be there",
                             "give another folder")
