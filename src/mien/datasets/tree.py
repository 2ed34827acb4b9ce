"""Finds the files of a dataset's folder by name, case aside, and gathers everything that is wrong with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.datasets.annotation_table import Form, Table, parse_table
from mien.datasets.scan import Tally, scan
from mien.errors import UsageError
from mien.images.formats import PHOTO_SUFFIXES, printable
from mien.types import Skipped

TABLE_FOLDERS = ("annotations", "Anno", "Eval", "")  # FALCO's, those of CelebA's own download, the top

RUN_FILES = {"mien.json", "mien.parquet", "report.html"}  # what a run adds to its result, which may be read again


@dataclass(frozen=True)
class ExpectedPath:
    """One of the files or folders that make up a layout.

    Attributes:
        path: its path in the dataset.
        content: its content in words.
        others: other paths where it may be.
        required: whether the layout cannot be read without it.
    """

    path: str
    content: str
    others: tuple[str, ...] = ()
    required: bool = True

    @property
    def all_paths(self) -> tuple[str, ...]:
        """`path` and `others`."""
        return (self.path, *self.others)


def expected_table(name: str, content: str, required: bool = True, csv: bool = False) -> ExpectedPath:
    """Returns the paths of an annotation file: wherever the common downloads put it, also as CSV."""
    names = [name, name.rpartition(".")[0] + ".csv"] if csv else [name]
    paths = [f"{folder}/{one}".lstrip("/") for one in names for folder in TABLE_FOLDERS]
    return ExpectedPath(paths[0], content, tuple(paths[1:]), required)


class Tree:
    """Finds and reads the files in a dataset's folder.

    Attributes:
        problems: what makes the dataset unusable, with paths relative to `root`.
        used: files and folders that were read.
        digests: file -> SHA-256 of every annotation file read.
        skipped, passed_over: as in `Tally`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        self.used: set[str] = set()
        self.digests: dict[str, str] = {}
        self.skipped: list[Skipped] = []
        self.passed_over = 0
        self._names: dict[str, list[str]] = {}

    def names(self, folder: str = "") -> list[str]:
        """Returns the names in a folder, hidden ones aside, sorted; none if it is missing or closed."""
        if folder not in self._names:
            try:
                found = [path.name for path in (self.root / folder).iterdir()]
            except (OSError, ValueError):
                found = []
            self._names[folder] = sorted((name for name in found if not name.startswith(".")), key=os.fsencode)
        return self._names[folder]

    def folders(self, folder: str = "") -> list[str]:
        """Returns the names of the folders in a folder."""
        return [name for name in self.names(folder) if (self.root / folder / name).is_dir()]

    def real(self, path: str) -> str | None:
        """Returns a path as it is spelled on the disk, or None if there is none; the exact spelling comes first."""
        folder = ""
        for part in path.split("/") if path else ():
            here = self.names(folder)
            same = [part] if part in here else [name for name in here if name.casefold() == part.casefold()]
            if not same:
                return None
            folder = f"{folder}/{same[0]}".lstrip("/")
        return folder

    def find(self, expected: ExpectedPath, folder: bool = False) -> str | None:
        """Returns where a file (or folder) is, or None; if it is required and missing, that is a problem."""
        there = [path for path in map(self.real, expected.all_paths) if path is not None]
        right = [path for path in there if (self.root / path).is_dir() == folder]
        if right:
            return right[0]
        if there:
            what = "no folder" if folder else "a folder"
            self.problems.append(f"{printable(there[0])} is {what}: expected {expected.content}")
        elif expected.required:
            self.problems.append(f"{expected.path} is missing: expected {expected.content}")
        return None

    def has(self, paths: Iterable[str]) -> bool:
        """Tells whether any of these paths exists."""
        return any(self.real(path) is not None for path in paths)

    def read(self, expected: ExpectedPath) -> tuple[str, bytes] | None:
        """Returns name and content of a file, or None if there is none that can be read."""
        name = self.find(expected)
        if name is None:
            return None
        self.used.add(name)
        try:
            data = (self.root / name).read_bytes()
        except OSError as error:
            self.problems.append(f"{printable(name)} cannot be read: {error.strerror}; expected {expected.content}")
            return None
        self.digests[name] = hashlib.sha256(data).hexdigest()
        return name, data

    def table(self, expected: ExpectedPath, form: Form) -> Table | None:
        """Returns an annotation file, or None if there is none that can be used."""
        file = self.read(expected)
        try:
            return parse_table(*file, form) if file else None
        except UsageError as error:
            self.problems.append(error.message)
            return None

    def photos(self, folder: str) -> list[str]:
        """Returns the names of the photographs in a folder and below, relative to `root`."""
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
        """Returns the files and folders in `folders` that were not read."""
        rest, parents = [], {real for folder in folders if (real := self.real(folder)) is not None}
        for folder in sorted(parents):
            for name in self.names(folder):
                path = f"{folder}/{name}".lstrip("/")
                read = any(one == path or one.startswith(f"{path}/") for one in self.used)
                if not read and path not in parents | RUN_FILES and not (folder in self.used and self._is_photos(path)):
                    rest.append(path)
        return rest

    def _is_photos(self, path: str) -> bool:
        return (self.root / path).is_dir() or PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES
