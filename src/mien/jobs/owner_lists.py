"""Reads the owner's CSV lists of photographs, and looks every name up, so that no typing error goes unnoticed."""

from __future__ import annotations

import csv
import hashlib
import posixpath
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from mien.errors import UsageError
from mien.images.formats import printable

Box = tuple[float, float, float, float]  # x, y, width, height

SHOWN = 3  # names in a message

LABELS = "write a CSV with the columns file and person, or lines of a file name and a person"
REGIONS = "write a CSV that begins with the line: file,x,y,width,height"

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class OwnerList(Generic[Entry]):
    """Holds what a list says about the photos of a job.

    Attributes:
        of: photo -> what the list says about it. digest: SHA-256 of the file.
    """

    of: dict[str, Entry]
    digest: str


def list_regions(path: Path, photos: Sequence[str], others: Iterable[str] = (),
                 needed: bool = False) -> OwnerList[list[Box]]:
    """Reads a list of regions: the boxes in each photo.

    Args:
        photos: photos of the job. others: other photos of the same dataset, which may be named too.
        needed: whether at least one photo of the job has to be named.

    Raises:
        UsageError: it is no such list, names a file that is no photo, or names no photo of the job where one is needed.
    """
    digest, known = _digest(path, "regions"), set(photos)
    everything, of, unknown = known | set(others), dict[str, list[Box]](), dict[str, None]()
    for region in read_regions(path):
        photo = _photo(region.file, everything)
        if photo is None:
            unknown[region.file] = None
        elif photo in known:
            of.setdefault(photo, []).append(region.box)
    if unknown:
        raise UsageError(f"{path} names {_counted(len(unknown))} not there: {_shown(unknown)}", _hint(photos))
    if needed and not of:
        raise UsageError(f"{path} names no face in the photographs: all would leave as they are", _hint(photos))
    return OwnerList(of, digest)


def list_people(path: Path, photos: Sequence[str]) -> OwnerList[str]:
    """Reads a list of labels: who is in each photo of the job. The list may name other photos as well.

    Raises:
        UsageError: it is no such list, or names none of the photos.
    """
    digest, known, labels = _digest(path, "labels"), set(photos), read_labels(path)
    people = {_photo(name, known) or posixpath.normpath(name): person for name, person in labels.items()}
    found = {name: people.get(name) or people.get(name.rpartition("/")[2], "") for name in photos}
    of = {name: person for name, person in found.items() if person}
    if labels and not of:
        raise UsageError(f"{path} names none of the photographs, but {_counted(len(labels))} not there: "
                         f"{_shown(labels)}", _hint(photos))
    return OwnerList(of, digest)


def _photo(name: str, photos: Collection[str]) -> str | None:
    """Finds the photo that a name means: as it is written, or as other tools write paths."""
    forms = (name, posixpath.normpath(name), posixpath.normpath(name.replace("\\", "/")))
    return next((form for form in forms if form in photos), None)


def _digest(path: Path, what: str) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error}", "give a file that can be read") from error


def _counted(number: int) -> str:
    return "1 photograph that is" if number == 1 else f"{number:,} photographs that are"


def _shown(names: Collection[str]) -> str:
    return ", ".join(map(printable, list(names)[:SHOWN])) + (", ..." if len(names) > SHOWN else "")


def _hint(photos: Sequence[str]) -> str:
    return f"write names relative to SRC, as in {printable(photos[0])}" if photos else "give a SRC with photographs"


def read_labels(path: Path) -> dict[str, str]:
    """Reads file -> person from a CSV with the columns file and person, or from CelebA's `identity_CelebA.txt`.

    Raises:
        UsageError: it is neither, naming the line.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the labels {path}: {error}", "give a text file that can be read") from error
    if lines and "," in lines[0]:
        return _labels_of_csv(path, csv.DictReader(lines))
    labels = {}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if parts and len(parts) != 2:
            raise UsageError(f"{path}, line {number}: expected a file name and a person, found {line!r}", LABELS)
        if parts:
            labels[parts[0]] = parts[1]
    return labels


def _labels_of_csv(path: Path, reader: csv.DictReader[str]) -> dict[str, str]:
    if not {"file", "person"} <= set(reader.fieldnames or ()):
        raise UsageError(f"{path} lacks the columns file and person, found {','.join(reader.fieldnames or ())}", LABELS)
    labels = {}
    try:
        for row in reader:
            if not row["file"] or not row["person"]:
                raise UsageError(f"{path}, line {reader.line_num}: a file and a person are needed", LABELS)
            labels[row["file"]] = row["person"]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}", LABELS) from error
    return labels


@dataclass(frozen=True)
class Region:
    """Describes a face that the owner marks by a box, in pixels of the upright photo."""

    file: str
    box: Box


def read_regions(path: Path) -> list[Region]:
    """Reads regions from a CSV with the columns file, x, y, width, height (pixels of the upright photo).

    Raises:
        UsageError: a column is missing or a number is not one, naming the line.
    """
    try:
        reader = csv.DictReader(path.read_text("utf-8-sig").splitlines())
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the regions {path}: {error}", "give a text file that can be read") from error
    columns = ("file", "x", "y", "width", "height")
    if not rows and reader.fieldnames and not set(columns) <= set(reader.fieldnames):
        raise UsageError(f"{path} lacks the columns of regions", REGIONS)
    regions = []
    for number, row in rows:
        missing = [name for name in columns if row.get(name) in (None, "")]
        if missing:
            raise UsageError(f"{path}, line {number}: no {', '.join(missing)}", REGIONS)
        try:
            x, y, width, height = (float(row[name]) for name in columns[1:])
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}", "write numbers of pixels") from error
        if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
            raise UsageError(f"{path}, line {number}: width and height must be positive numbers",
                             "write numbers of pixels")
        regions.append(Region(row["file"], (x, y, width, height)))
    return regions
