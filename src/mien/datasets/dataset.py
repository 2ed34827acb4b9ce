"""A dataset: photographs, what is known about each of them, and the annotation files that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from mien.datasets.annotation_table import Signs, Table, bare
from mien.datasets.storage.base import Container, FolderReader, FolderWriter, PhotoReader, PhotoWriter
from mien.datasets.tree import Tree
from mien.errors import UsageError
from mien.images.formats import printable
from mien.types import Skipped
from mien.util.files import replace_file

SPLIT_NAMES = ("train", "val", "test")
HELD = ("webdataset", "huggingface")  # layouts whose photos lie in larger files
EXAMPLES = 3  # names in a note
LISTED = 10  # files that are not carried over


class Annotation(Protocol):
    """A file that is written again for the photos of the result."""

    @property
    def name(self) -> str:
        """Where it lies, relative to the dataset."""

    def only(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        """Its content for the photos written (name in the source -> name in the result), and a note or ""."""


@dataclass(frozen=True)
class PhotoRows:
    """A table whose rows stand for photos.

    Attributes:
        keys: photo -> key of its row. named: whether the key is the photo's own file name, and changes with it.
    """

    table: Table
    keys: dict[str, str]
    named: bool = True

    @property
    def name(self) -> str:
        return self.table.name

    def only(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        kept: dict[str, str] = {}
        for photo, written in outputs.items():
            key = self.keys.get(photo)
            if key is not None:
                follows = self.named and key == photo.rpartition("/")[2]
                kept[key] = written.rpartition("/")[2] if follows else key
        return (self.table.only(kept), "") if kept else (b"", "")


@dataclass
class Dataset:
    """Photographs in one of the layouts.

    Attributes:
        layout: its name. root: the folder. photos: names relative to it, with forward slashes, in a stable order.
        subset: the splits that are asked for, "" for all photos.
        splits: photo -> "train", "val" or "test". people: photo -> who is in it. classes: photo -> its class.
        attribute_names: the columns of `attributes`: photo -> [N] int8, -1 or 1.
        notes: what the owner should know. annotations: the files to carry over. digests: file -> SHA-256.
        skipped: pictures and folders that cannot be read. holder: what the photos lie in; None: files of their own.
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
    def source(self) -> PhotoReader:
        """Where the photos come from."""
        return self.container.source if self.container else FolderReader(self.root)

    def writer(self, dst: Path, work: Path) -> PhotoWriter:
        """Where a result in the same form goes."""
        return self.container.writer(dst, work, self.subset) if self.container else FolderWriter(dst)

    def in_files(self) -> Dataset:
        """The dataset, if every photo is a file of its own.

        Raises:
            UsageError: they are not.
        """
        refuse_held(self.layout, self.root)
        return self

    def names(self) -> list[str]:
        """The photos of the subset."""
        wanted = set(self.subset.split("+"))
        return [name for name in self.photos if self.splits.get(name) in wanted] if self.subset else self.photos

    def choose(self, subset: str) -> None:
        """Ask for some splits alone, as in "train+val".

        Raises:
            UsageError: there is no such split, or no photo in them.
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
        """How many of the photos are in which split."""
        counts = Counter(self.splits.get(name, "") for name in photos)
        return {split: counts[split] for split in SPLIT_NAMES if counts[split]}

    def record(self, outputs: Mapping[str, str]) -> dict[str, object]:
        """For `mien.json`: layout, subset, photos written a split, annotation files."""
        return {"layout": self.layout, "subset": self.subset, "splits": self.count(outputs),
                "annotations": sorted(self.digests)}

    def attach(self, table: Table, keys: dict[str, str], named: bool = True) -> None:
        """Carry a table over, and note rows without a photo and photos without a row."""
        self.annotations.append(PhotoRows(table, keys, named))
        self.note_gaps(table.name, len(table.at) - len(set(keys.values())), self.photos, keys)

    def note_gaps(self, file: str, rows: int, photos: Sequence[str], known: Mapping[str, object]) -> None:
        """Note how many rows of a file have no photo, and which photos no row."""
        without = [name for name in photos if name not in known]
        if rows:
            self.notes.append(f"{file}: {plural(rows, 'row')} without a photograph")
        if without:
            shown = ", ".join(map(printable, without[:EXAMPLES])) + (", ..." if len(without) > EXAMPLES else "")
            self.notes.append(f"{file}: {plural(len(without), 'photograph')} without a row ({shown})")

    def note_other_files(self, number: int) -> None:
        """Note files that are no photographs, in a layout without annotation files."""
        if number:
            self.notes.append(f"not carried over: {plural(number, 'file')} besides photographs")

    def finish(self, tree: Tree) -> Dataset:
        """Take over what the tree gathered while it was read."""
        self.digests, self.skipped = tree.digests, tree.skipped
        rest = tree.unused()
        if rest:
            more = f" and {len(rest) - LISTED} more" if len(rest) > LISTED else ""
            self.notes.append(f"not carried over: {', '.join(map(printable, rest[:LISTED]))}{more}")
        return self

    def write_annotations(self, dst: Path, outputs: Mapping[str, str]) -> list[str]:
        """Write the annotation files into DST, each whole or not at all, with the rows of the photos written.

        Args:
            outputs: name in the source -> name in DST of every photo that was written.

        Returns:
            What the owner should know of it.

        Raises:
            OSError: one cannot be written.
        """
        notes = []
        for annotation in self.annotations:
            data, note = annotation.only(outputs)
            notes += [note] if note else []
            target = dst / annotation.name
            if data:
                target.parent.mkdir(parents=True, exist_ok=True)
                replace_file(target, partial(_write, data))
            else:  # of an earlier call, when there still were such photos
                target.unlink(missing_ok=True)
        lost = sorted(set(self.classes.values()) - {self.classes.get(name) for name in outputs}, key=str)
        if lost and not self.subset and self.container is None:  # what holds photos keeps the numbers of its classes
            notes.append(f"{plural(len(lost), 'class', 'classes')} lost every photograph, so that the numbers of "
                         f"those behind change: {', '.join(map(printable, lost[:EXAMPLES]))}")
        return notes


def refuse_held(layout: str, root: Path) -> None:
    """Refuse a dataset whose photos are no files of their own.

    Raises:
        UsageError: it is of such a layout.
    """
    if layout in HELD:
        raise UsageError(f"{printable(str(root))} is {layout}: this needs photographs that are files",
                         "unpack it into a folder first; only mien anonymize and datasets check take it as it is")


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def match(photos: Sequence[str], table: Table) -> dict[str, str]:
    """Photo -> key of its row: by its file's name, else by that without suffixes (a PNG of a JPEG's row)."""
    keys, others = {}, []
    for photo in photos:
        name = photo.rpartition("/")[2]
        if name in table.at:
            keys[photo] = name
        else:
            others.append(photo)
    stems = {bare(key): key for key in table.at} if others else {}
    return keys | {photo: stems[stem] for photo in others if (stem := bare(photo)) in stems}


def plural(number: int, noun: str, many: str = "") -> str:
    """"1 row", "2 rows"."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"
