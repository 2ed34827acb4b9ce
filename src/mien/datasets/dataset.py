"""Holds a dataset: its photographs, what is known about each of them, and its annotation files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mien.datasets.annotation_table import Signs, Table, bare_name
from mien.datasets.storage.base import Container, FolderReader, FolderWriter, PhotoReader, PhotoWriter
from mien.datasets.tree import Tree
from mien.errors import UsageError
from mien.images.formats import printable
from mien.types import Skipped
from mien.util.files import write_errors, write_file

SPLIT_NAMES = ("train", "val", "test")
CONTAINER_LAYOUTS = ("webdataset", "huggingface")  # layouts whose files hold several photos each
EXAMPLES = 3  # names in a note
LISTED = 10  # at most so many names of files that are not carried over


class Annotation(Protocol):
    """An annotation file that is written again for the photos of the result."""

    @property
    def name(self) -> str:
        """Its path in the dataset."""

    def filtered(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        """Returns its content for the photos written (name in the source -> name in the result), and a note or ""."""


@dataclass(frozen=True)
class PhotoRows:
    """A table with a row for each photo.

    Attributes:
        keys: photo -> key of its row.
        keys_are_names: whether the key is the photo's own file name, and changes with it.
    """

    table: Table
    keys: dict[str, str]
    keys_are_names: bool = True

    @property
    def name(self) -> str:
        return self.table.name

    def filtered(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        kept: dict[str, str] = {}
        for photo, written in outputs.items():
            key = self.keys.get(photo)
            if key is not None:
                follows = self.keys_are_names and key == photo.rpartition("/")[2]
                kept[key] = written.rpartition("/")[2] if follows else key
        return (self.table.filtered(kept), "") if kept else (b"", "")


@dataclass
class Dataset:
    """Photographs in one of the layouts.

    Attributes:
        layout: its name.
        root: the folder.
        photos: names relative to `root`, with forward slashes, in a stable order.
        subset: the splits that are asked for, as in "train+val"; "" for all photos.
        splits: photo -> "train", "val" or "test".
        people: photo -> who is in it.
        classes: photo -> its class.
        attribute_names: the columns of `attributes`.
        attributes: photo -> [N] int8, -1 or 1.
        notes: what the owner should know.
        annotations: the files to carry over.
        digests: annotation file -> SHA-256.
        skipped: pictures and folders that cannot be read.
        container: the files that hold the photos; None if every photo is a file of its own.
    """

    layout: str
    root: Path
    photos: list[str]
    subset: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    attribute_names: list[str] = field(default_factory=list)
    attributes: dict[str, Signs] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    container: Container | None = None

    @property
    def reader(self) -> PhotoReader:
        """Reads the photos; each call makes a new one."""
        return self.container.reader if self.container else FolderReader(self.root)

    def writer(self, dst: Path, work: Path) -> PhotoWriter:
        """Returns what writes a result of the same layout to DST; WORK is for what is not finished."""
        return self.container.writer(dst, work, self.subset) if self.container else FolderWriter(dst)

    def require_files(self) -> Dataset:
        """Returns the dataset if every photo is a file of its own.

        Raises:
            UsageError: its files hold several photos each.
        """
        refuse_container(self.layout, self.root)
        return self

    def names(self) -> list[str]:
        """Returns the photos of the subset."""
        wanted = set(self.subset.split("+"))
        return [name for name in self.photos if self.splits.get(name) in wanted] if self.subset else self.photos

    def choose(self, subset: str) -> None:
        """Restricts the dataset to a subset: one or several splits, as in "train+val".

        Raises:
            UsageError: there is no such split, or no photo is in the subset.
        """
        asked = [part.strip() for part in subset.split("+")]
        unknown = [part for part in asked if part not in SPLIT_NAMES]
        if unknown:
            raise UsageError(f"--subset {subset!r}: there is no split {unknown[0]!r}", "for instance: train+val")
        if not self.splits:
            raise UsageError(f"--subset {subset}: {printable(str(self.root))}, read as {self.layout}, has no splits",
                             "leave --subset out, or run: mien datasets check DIR")
        self.subset = "+".join(split for split in SPLIT_NAMES if split in asked)
        if not self.names():
            counts = ", ".join(f"{split} {number}" for split, number in self.count(self.photos).items())
            raise UsageError(f"--subset {subset}: no photograph is in it", f"the splits are: {counts}")

    def count(self, photos: Iterable[str]) -> dict[str, int]:
        """Counts the photos of each split."""
        counts = Counter(self.splits.get(name, "") for name in photos)
        return {split: counts[split] for split in SPLIT_NAMES if counts[split]}

    def record(self, outputs: Mapping[str, str]) -> dict[str, object]:
        """Returns what `mien.json` says: layout, subset, photos written of each split, annotation files."""
        return {"layout": self.layout, "subset": self.subset, "splits": self.count(outputs),
                "annotations": sorted(self.digests)}

    def attach(self, table: Table, keys: dict[str, str], keys_are_names: bool = True) -> None:
        """Adds a table to the annotations, and notes rows without a photo and photos without a row."""
        self.annotations.append(PhotoRows(table, keys, keys_are_names))
        spare = len(table.line_of) - len(set(keys.values()))
        if spare:
            self.notes.append(f"{table.name}: {plural(spare, 'row')} without a photograph")
        without = [name for name in self.photos if name not in keys]
        if without:
            shown = ", ".join(map(printable, without[:EXAMPLES])) + (", ..." if len(without) > EXAMPLES else "")
            self.notes.append(f"{table.name}: {plural(len(without), 'photograph')} without a row ({shown})")

    def note_other_files(self, number: int) -> None:
        """Notes how many files are no photographs, in a layout without annotation files."""
        if number:
            self.notes.append(f"not carried over: {plural(number, 'file')} besides photographs")

    def finish(self, tree: Tree) -> Dataset:
        """Takes over what the tree gathered while it was read, and notes the files that are left."""
        self.digests, self.skipped = tree.digests, tree.skipped
        rest = tree.unused()
        if rest:
            more = f" and {len(rest) - LISTED} more" if len(rest) > LISTED else ""
            self.notes.append(f"not carried over: {', '.join(map(printable, rest[:LISTED]))}{more}")
        return self

    def write_annotations(self, dst: Path, outputs: Mapping[str, str]) -> list[str]:
        """Writes the annotation files into DST, each whole or not at all, with the rows of the photos written.

        Args:
            outputs: name in the source -> name in DST of every photo that was written.

        Returns:
            notes for the owner.

        Raises:
            OutputError: a file cannot be written.
        """
        notes = []
        for annotation in self.annotations:
            data, note = annotation.filtered(outputs)
            notes += [note] if note else []
            if data:
                write_file(dst / annotation.name, data)
            else:  # an earlier call may have written it, for photos that are gone since
                with write_errors(dst):
                    (dst / annotation.name).unlink(missing_ok=True)
        lost = sorted(set(self.classes.values()) - {self.classes.get(name) for name in outputs}, key=str)
        if lost and not self.subset and self.container is None:  # containers keep the numbers of their classes
            notes.append(f"{plural(len(lost), 'class', 'classes')} lost every photograph, so that the numbers of "
                         f"those behind change: {', '.join(map(printable, lost[:EXAMPLES]))}")
        return notes


def refuse_container(layout: str, root: Path) -> None:
    """Refuses a dataset whose files hold several photos each.

    Raises:
        UsageError: the layout is such a one.
    """
    if layout in CONTAINER_LAYOUTS:
        raise UsageError(f"{printable(str(root))} is {layout}: this needs photographs that are files",
                         "unpack it into a folder first; only mien anonymize and datasets check take it as it is")


def match_rows(photos: Sequence[str], table: Table) -> dict[str, str]:
    """Finds each photo's row: by its file's name, else by that without suffixes (a PNG for the row of a JPEG).

    Returns:
        photo -> key of its row, for photos that have one.
    """
    keys, others = {}, []
    for photo in photos:
        name = photo.rpartition("/")[2]
        if name in table.line_of:
            keys[photo] = name
        else:
            others.append(photo)
    stems = {bare_name(key): key for key in table.line_of} if others else {}
    return keys | {photo: stems[stem] for photo in others if (stem := bare_name(photo)) in stems}


def plural(number: int, noun: str, many: str = "") -> str:
    """Returns a number with its noun: "1 row", "2 rows"."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"
