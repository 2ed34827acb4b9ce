"""Who is who: people known from labels or found by clustering, and people who agreed to stay."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.errors import UsageError
from mien.types import Floats

Box = tuple[float, float, float, float]  # x, y, width, height


class PersonGallery:
    """People as running means of their identity vectors; a face joins the nearest that is near enough.

    Attributes:
        near: cosine from which on two faces are one person's. names: of the people, in their order.
    """

    def __init__(self, near: float) -> None:
        self.near = near
        self.names: list[str] = []
        self._places: dict[str, int] = {}
        self._last = 0  # number of the last one without a name of their own
        # Rows that are not filled yet: to stack thousands of people anew for each face would take hours.
        self._sums, self._lengths = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)

    def join(self, name: str, vector: Floats) -> None:
        """Let a unit vector [D] be one of somebody who is known by name."""
        if name in self._places:
            self._add(self._places[name], vector)
        else:
            self._enter(name, vector)

    def assign(self, vector: Floats) -> str:
        """The person of a unit vector [D], known or new."""
        if self.names:
            count = len(self.names)
            cosines = self._sums[:count] @ vector / self._lengths[:count]
            best = int(cosines.argmax())
            if cosines[best] >= self.near:
                self._add(best, vector)
                return self.names[best]
        self._enter(f"person-{self._last + 1}", vector)
        return self.names[-1]

    def _enter(self, name: str, vector: Floats) -> None:
        place = len(self.names)
        if place == len(self._sums):
            size = max(64, 2 * place)
            sums, lengths = np.zeros((size, len(vector)), np.float32), np.zeros(size, np.float32)
            if place:
                sums[:place], lengths[:place] = self._sums, self._lengths
            self._sums, self._lengths = sums, lengths
        self.names.append(name)
        self._places[name] = place
        number = name.removeprefix("person-")
        self._last = max(self._last, int(number) if number.isdecimal() else 0)
        self._add(place, vector)

    def _add(self, place: int, vector: Floats) -> None:
        self._sums[place] += vector
        self._lengths[place] = np.linalg.norm(self._sums[place : place + 1], axis=1).clip(1e-9)[0]


def read_labels(path: Path) -> dict[str, str]:
    """File -> person, from a CSV with the columns file and person, or CelebA's `identity_CelebA.txt`.

    Raises:
        UsageError: it is neither, naming the line.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the labels {path}: {error}") from error
    if lines and "," in lines[0]:
        return _labels_of_csv(path, csv.DictReader(lines))
    labels = {}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if parts and len(parts) != 2:
            raise UsageError(f"{path}, line {number}: expected a file name and a person, found {line!r}")
        if parts:
            labels[parts[0]] = parts[1]
    return labels


def _labels_of_csv(path: Path, reader: csv.DictReader[str]) -> dict[str, str]:
    if not {"file", "person"} <= set(reader.fieldnames or ()):
        raise UsageError(f"{path} lacks the columns file and person", f"found: {','.join(reader.fieldnames or ())}")
    labels = {}
    try:
        for row in reader:
            if not row["file"] or not row["person"]:
                raise UsageError(f"{path}, line {reader.line_num}: a file and a person are needed")
            labels[row["file"]] = row["person"]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
    return labels


@dataclass(frozen=True)
class Region:
    """A face the owner names: box in pixels of the upright photo."""

    file: str
    box: Box


def read_regions(path: Path) -> list[Region]:
    """Regions from a CSV with the columns file, x, y, width, height (pixels of the upright photo).

    Raises:
        UsageError: a column is missing or a number is not one, naming the line.
    """
    try:
        reader = csv.DictReader(path.read_text("utf-8-sig").splitlines())
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the regions {path}: {error}") from error
    columns = ("file", "x", "y", "width", "height")
    if not rows and reader.fieldnames and not set(columns) <= set(reader.fieldnames):
        raise UsageError(f"{path} lacks the columns of regions", "columns: " + ",".join(columns))
    regions = []
    for number, row in rows:
        missing = [name for name in columns if row.get(name) in (None, "")]
        if missing:
            raise UsageError(f"{path}, line {number}: no {', '.join(missing)}",
                             "columns: " + ",".join(columns))
        try:
            x, y, width, height = (float(row[name]) for name in columns[1:])
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}") from error
        if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
            raise UsageError(f"{path}, line {number}: width and height must be positive numbers")
        regions.append(Region(row["file"], (x, y, width, height)))
    return regions
