"""The owner's lists of photographs: every name in them is looked up, so that none is missed by a slip of the pen."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mien.errors import UsageError
from mien.images.formats import printable
from mien.jobs.identities import Box, read_labels, read_regions

SHOWN = 3  # names in a message

What = TypeVar("What")


@dataclass(frozen=True)
class OwnerList(Generic[What]):
    """What a list says of photos.

    Attributes:
        of: photo -> what is said of it. digest: SHA-256 of the list.
    """

    of: dict[str, What]
    digest: str


def list_regions(path: Path, photos: Sequence[str], others: Iterable[str] = (),
                 needed: bool = False) -> OwnerList[list[Box]]:
    """The boxes in each photo that a list of regions names.

    Args:
        photos: of the run. others: of the same dataset, which may be named too. needed: whether some photo of the run
            has to be named.

    Raises:
        UsageError: it is no such list, names what is no photo, or none that is needed.
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
    """Who is in each of the run's photos, by a list of labels, which may name others as well.

    Raises:
        UsageError: it is no such list, or names none of the photos.
    """
    digest, known, labels = _digest(path, "labels"), set(photos), read_labels(path)
    said = {_photo(name, known) or posixpath.normpath(name): person for name, person in labels.items()}
    found = {name: said.get(name) or said.get(name.rpartition("/")[2], "") for name in photos}
    of = {name: person for name, person in found.items() if person}
    if labels and not of:
        raise UsageError(f"{path} names none of the photographs, but {_counted(len(labels))} not there: "
                         f"{_shown(labels)}", _hint(photos))
    return OwnerList(of, digest)


def _photo(name: str, photos: Collection[str]) -> str | None:
    """The photo that a name means: as it stands, or as other tools write paths."""
    forms = (name, posixpath.normpath(name), posixpath.normpath(name.replace("\\", "/")))
    return next((form for form in forms if form in photos), None)


def _digest(path: Path, what: str) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error}") from error


def _counted(number: int) -> str:
    return "1 photograph that is" if number == 1 else f"{number:,} photographs that are"


def _shown(names: Collection[str]) -> str:
    return ", ".join(map(printable, list(names)[:SHOWN])) + (", ..." if len(names) > SHOWN else "")


def _hint(photos: Sequence[str]) -> str:
    return f"names are relative to SRC, as in {printable(photos[0])}" if photos else "SRC holds no photograph"
