"""Which photograph of one set belongs to which of another, and who is on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.datasets.dataset import Dataset, plural
from mien.datasets.registry import open_dataset
from mien.errors import UsageError
from mien.evaluation.privacy import People, named
from mien.images.formats import PHOTO_SUFFIXES


@dataclass(frozen=True)
class PhotoPairs:
    """Photographs that both sets have, row by row.

    Attributes:
        names: of the originals, relative to `root`. new: the files in the other set.
        people: [N] who is on each, in numbers from 0; a photograph of nobody known has a negative one of its own.
        whose: the same as the dataset names them; "" where it does not.
        labels: [N, 40] 0 or 1, or None. unlabeled: photographs without, where others have some, for which all do
            without. published: folder of the other set. missing: originals that it lacks.
    """

    root: Path
    names: list[str]
    new: list[Path]
    people: People
    whose: list[str]
    labels: np.ndarray | None
    published: Path
    missing: list[str] = field(default_factory=list)
    unlabeled: int = 0

    @property
    def known(self) -> bool:
        """Whether anybody is."""
        return bool(named(self.people).any())

    def at(self, rows: npt.NDArray[np.int64]) -> PhotoPairs:
        """Some of them, in the order of the rows [M]."""
        return replace(self, names=[self.names[i] for i in rows], new=[self.new[i] for i in rows],
                       people=self.people[rows], whose=[self.whose[i] for i in rows],
                       labels=None if self.labels is None else self.labels[rows])


def find_counterparts(src: Path, dst: Path, layout: str = "auto", subset: str | None = None) -> PhotoPairs:
    """Match two folders of photographs by path, or by path without the file's ending.

    Raises:
        UsageError: one is no folder, they have no photograph in common, or it is not clear which belongs to which.
    """
    dataset = open_dataset(src, layout, subset).in_files()
    there, found = _by_stem(dst), dataset.names()
    if not found:
        raise UsageError(f"there are no photographs in {src}", "give the folder of the originals first")
    if not dst.is_dir():
        raise UsageError(f"{dst} is no folder", "give the folder of the anonymized photographs second")
    others = {dst / name for name in found}  # results of originals that differ in their endings alone
    names, new, missing = [], [], []
    for name in found:
        same = [path for path in (dst / name, dst / f"{name}.png") if path.is_file()]
        alike = same or [path for path in there.get(_stem(name), []) if path not in others]
        if len(alike) > 1 and not same:
            raise UsageError(f"{dst} has several photographs that {name} may have become: "
                             f"{', '.join(path.name for path in alike)}", "only one of them may be there")
        if alike:
            names.append(name)
            new.append(alike[0])
        else:
            missing.append(name)
    if not names:
        raise UsageError(f"{dst} has none of the {plural(len(missing), 'photograph')} of {src} ({missing[0]}, ...)",
                         "the two folders must hold the same photographs under the same names")
    whose = [dataset.people.get(name, "") for name in names]
    labels, unlabeled = _labels(dataset, names)
    return PhotoPairs(dataset.root, names, new, _numbered(whose), whose, labels, dst, missing, unlabeled)


def sample(pairs: PhotoPairs, count: int | None, seed: int, least: int = 1) -> PhotoPairs:
    """At most `count` photographs: whole people of at least `least` each, in random order, until no other one fits.

    Where the first person alone has more, that person's first `count`.

    Raises:
        UsageError: nobody has so many photographs.
    """
    people, photos = np.unique(pairs.people, return_counts=True)
    if least > photos.max():
        raise UsageError(f"nobody is on {least} photographs", f"the most of one person are {photos.max()}")
    count = len(pairs.names) if count is None else count
    if least <= 1 and len(pairs.names) <= count:
        return pairs
    taken: list[int] = []
    drawn = np.random.default_rng(seed).permutation(people[photos >= least])
    for person in drawn:
        own = np.flatnonzero(pairs.people == person).tolist()
        if len(taken) + len(own) <= count:
            taken += own
    return pairs.at(np.sort(np.array(taken or np.flatnonzero(pairs.people == drawn[0])[:count])))


def _numbered(whose: list[str]) -> People:
    """One number a name, and for each "" a negative one of its own."""
    people = np.arange(-len(whose), 0, dtype=np.int64)
    somebody = np.array([bool(name) for name in whose], dtype=bool)
    people[somebody] = np.unique([name for name in whose if name], return_inverse=True)[1]
    return people


def _labels(dataset: Dataset, names: list[str]) -> tuple[np.ndarray | None, int]:
    """[N, 40] of all, or None; of how many there are none while others have some."""
    from mien.models.features.attribute_network import ATTRIBUTES

    if tuple(dataset.attribute_names) != ATTRIBUTES:
        return None, 0
    absent = sum(name not in dataset.attributes for name in names)
    if absent:
        return None, absent
    return np.stack([np.asarray(dataset.attributes[name]) > 0 for name in names]).astype(np.int8), 0


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file():
            found.setdefault(_stem(path.relative_to(folder).as_posix()), []).append(path)
    return found


def _stem(name: str) -> str:
    head, _, last = name.rpartition("/")
    return f"{head}/{last.rpartition('.')[0] or last}"
