"""A dataset's folder: its files found by name, case aside, and everything that is wrong with them gathered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.datasets.annotation_table import Form, Table, parse
from mien.datasets.scan import Tally, scan
from mien.errors import UsageError
from mien.images.formats import PHOTO_SUFFIXES, printable
from mien.types import Skipped

TABLE_FOLDERS = ("annotations", "Anno", "Eval", "")  # FALCO's, those of CelebA's own download, the top

OWN = {"mien.json", "mien.parquet", "report.html"}  # of a run, where its result is read again


@dataclass(frozen=True)
class Place:
    """One of a layout's files or folders.

    Attributes:
        path: where it should lie. what: its content in words. others: where else it is looked for.
        required: whether the layout means nothing without it.
    """

    path: str
    what: str
    others: tuple[str, ...] = ()
    required: bool = True


def table_place(name: str, what: str, required: bool = True, csv: bool = False) -> Place:
    """An annotation file, wherever the common downloads put it, also as CSV."""
    names = [name, name.rpartition(".")[0] + ".csv"] if csv else [name]
    found = [f"{folder}/{one}".lstrip("/") for one in names for folder in TABLE_FOLDERS]
    return Place(found[0], what, tuple(found[1:]), required)


class Tree:
    """What lies in a dataset's folder.

    Attributes:
        problems: what makes it unusable, with paths relative to `root`. used: files and folders that were read.
        digests: file -> SHA-256 of every annotation file read. skipped, passed_over: see `Tally`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        self.used: set[str] = set()
        self.digests: dict[str, str] = {}
        self.skipped: list[Skipped] = []
        self.passed_over = 0
        self._listed: dict[str, list[str]] = {}

    def names(self, folder: str = "") -> list[str]:
        """What a folder holds, hidden files aside, sorted; nothing where there is none or it is closed."""
        if folder not in self._listed:
            try:
                found = [path.name for path in (self.root / folder).iterdir()]
            except (OSError, ValueError):
                found = []
            self._listed[folder] = sorted((name for name in found if not name.startswith(".")), key=os.fsencode)
        return self._listed[folder]

    def folders(self, folder: str = "") -> list[str]:
        """Folders in a folder."""
        return [name for name in self.names(folder) if (self.root / folder / name).is_dir()]

    def real(self, path: str) -> str | None:
        """The path as it is written on the disk, or None where there is none; the exact name goes before others."""
        folder = ""
        for part in path.split("/") if path else ():
            here = self.names(folder)
            same = [part] if part in here else [name for name in here if name.casefold() == part.casefold()]
            if not same:
                return None
            folder = f"{folder}/{same[0]}".lstrip("/")
        return folder

    def find(self, place: Place, folder: bool = False) -> str | None:
        """Where a file (or folder) lies, or None; a missing one that is required is a problem."""
        there = [path for path in map(self.real, (place.path, *place.others)) if path is not None]
        right = [path for path in there if (self.root / path).is_dir() == folder]
        if right:
            return right[0]
        if there:
            self.problems.append(f"{printable(there[0])} is {'no' if folder else 'a'} folder: expected {place.what}")
        elif place.required:
            self.problems.append(f"{place.path} is missing: expected {place.what}")
        return None

    def has(self, paths: Iterable[str]) -> bool:
        """Whether any of these is there."""
        return any(self.real(path) is not None for path in paths)

    def read(self, place: Place) -> tuple[str, bytes] | None:
        """Name and content of a file, or None where there is none that can be read."""
        name = self.find(place)
        if name is None:
            return None
        self.used.add(name)
        try:
            data = (self.root / name).read_bytes()
        except OSError as error:
            self.problems.append(f"{printable(name)} cannot be read: {error.strerror}; expected {place.what}")
            return None
        self.digests[name] = hashlib.sha256(data).hexdigest()
        return name, data

    def table(self, place: Place, form: Form) -> Table | None:
        """An annotation file, or None where there is none that can be used."""
        found = self.read(place)
        try:
            return parse(*found, form) if found else None
        except UsageError as error:
            self.problems.append(error.message)
            return None

    def photos(self, folder: str) -> list[str]:
        """The photographs in a folder and below, relative to `root`."""
        tally, before = Tally(), f"{folder}/" if folder else ""
        try:
            names = [before + name for name in scan(self.root / folder, tally)]
        except UsageError as error:
            self.problems.append(f"{printable(folder)} cannot be opened: {error.message.rpartition(': ')[2]}")
            return []
        self.used.add(folder)
        self.passed_over += tally.passed_over
        self.skipped += [Skipped(before + item.file, item.reason) for item in tally.skipped]
        if not names:
            self.problems.append(f"{printable(folder) or 'the folder'} holds no photograph")
        return names

    def unused(self, folders: Sequence[str] = TABLE_FOLDERS) -> list[str]:
        """What lies beside the files that were read."""
        rest, containers = [], {real for folder in folders if (real := self.real(folder)) is not None}
        for folder in sorted(containers):
            for name in self.names(folder):
                path = f"{folder}/{name}".lstrip("/")
                read = any(one == path or one.startswith(f"{path}/") for one in self.used)
                if not read and path not in containers | OWN and not (folder in self.used and self._is_photos(path)):
                    rest.append(path)
        return rest

    def _is_photos(self, path: str) -> bool:
        return (self.root / path).is_dir() or PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES
