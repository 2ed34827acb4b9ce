"""Pairs each original with its new photograph in another folder, and knows who is on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.datasets.dataset import Dataset, plural
from mien.datasets.registry import open_dataset
from mien.errors import UsageError
from mien.evaluation.people import People, is_named
from mien.images.formats import PHOTO_SUFFIXES


@dataclass(frozen=True)
class PhotoPairs:
    """N photographs that both folders have.

    Attributes:
        names: of the originals, relative to `root`. new: the files in the other folder, `published`.
        people: [N], a number from 0 for each person; each photograph that is not named has a negative one of its own.
        person_names: [N], who that is as the dataset names them; "" where it does not.
        labels: [N, 40] 0 or 1; None unless all photographs have them.
        missing: originals that `published` lacks.
        unlabeled: photographs without labels, where others have them.
    """

    root: Path
    names: list[str]
    new: list[Path]
    people: People
    person_names: list[str]
    labels: np.ndarray | None
    published: Path
    missing: list[str] = field(default_factory=list)
    unlabeled: int = 0

    @property
    def known(self) -> bool:
        """Whether anybody is named."""
        return bool(is_named(self.people).any())

    def at(self, rows: npt.NDArray[np.int64]) -> PhotoPairs:
        """Some of the photographs, in the order of the rows [M]."""
        return replace(self, names=[self.names[i] for i in rows], new=[self.new[i] for i in rows],
                       people=self.people[rows], person_names=[self.person_names[i] for i in rows],
                       labels=None if self.labels is None else self.labels[rows])


def find_pairs(src: Path, dst: Path, layout: str = "auto", subset: str | None = None) -> PhotoPairs:
    """Matches two folders of photographs by path, or by path without the file's ending.

    Raises:
        UsageError: one is no folder, they have no photograph in common, or an original matches several new ones.
    """
    dataset = open_dataset(src, layout, subset).require_files()
    files, originals = _by_stem(dst), dataset.names()
    if not originals:
        raise UsageError(f"there are no photographs in {src}", "give the folder of the originals first")
    if not dst.is_dir():
        raise UsageError(f"{dst} is no folder", "give the folder of the anonymized photographs second")
    others = {dst / name for name in originals}  # results of originals that differ in their endings alone
    names, new, missing = [], [], []
    for name in originals:
        same = [path for path in (dst / name, dst / f"{name}.png") if path.is_file()]
        alike = same or [path for path in files.get(_stem(name), []) if path not in others]
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
    people = [dataset.people.get(name, "") for name in names]
    labels, unlabeled = _labels(dataset, names)
    return PhotoPairs(dataset.root, names, new, _numbered(people), people, labels, dst, missing, unlabeled)


def sample(pairs: PhotoPairs, count: int | None, seed: int, least: int = 1) -> PhotoPairs:
    """Draws at most `count` photographs: people in random order, each with all of their photographs, if these fit.

    Where no person fits, the first one's first `count` photographs are taken.

    Args:
        count: None: all. least: only people with at least so many photographs.

    Raises:
        UsageError: no person has `least` photographs.
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


def _numbered(names: list[str]) -> People:
    """One number per person's name, and for each "" a negative one of its own."""
    people = np.arange(-len(names), 0, dtype=np.int64)
    named = np.array([bool(name) for name in names], dtype=bool)
    people[named] = np.unique([name for name in names if name], return_inverse=True)[1]
    return people


def _labels(dataset: Dataset, names: list[str]) -> tuple[np.ndarray | None, int]:
    """The labels [N, 40] of all, or None; and how many photographs have none while others have some."""
    from mien.models.features.attribute_network import ATTRIBUTES

    if tuple(dataset.attribute_names) != ATTRIBUTES:
        return None, 0
    absent = sum(name not in dataset.attributes for name in names)
    if absent:
        return None, absent
    return np.stack([np.asarray(dataset.attributes[name]) > 0 for name in names]).astype(np.int8), 0


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Path without the ending -> the photographs of that path."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file():
            found.setdefault(_stem(path.relative_to(folder).as_posix()), []).append(path)
    return found


def _stem(name: str) -> str:
    head, _, last = name.rpartition("/")
    return f"{head}/{last.rpartition('.')[0] or last}"
