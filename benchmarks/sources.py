"""The photographs that recipes are evaluated on: CelebA-HQ's val split, UTKFace's faces, and ordinary photographs."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mien.evaluation.pairs import PhotoPairs, find_pairs, sample

# What UTKFace's file names tell, and which of its faces no estimator was trained on, is defined there.
sys.path.append(str(Path(__file__).parents[1] / "training"))
from utkface import Labels, part_of

LEAST = 3  # photographs of a person
BANDS = (13, 30, 61)  # years: where a new age band begins


@dataclass(frozen=True)
class Source:
    """Photographs to anonymize, and how they are read.

    Attributes:
        src: folder of the originals. layout, subset: of the dataset. sample: the most photographs, whole people, or
            None for all. least: only people with so many.
    """

    name: str
    title: str
    src: Path
    layout: str = "folder"
    subset: str | None = None
    sample: int | None = None
    least: int = 1

    def pairs(self, dst: Path | None = None) -> PhotoPairs:
        """The photographs, each paired with itself; or those of `dst` with their originals."""
        return sample(find_pairs(self.src, dst or self.src, self.layout, self.subset), self.sample, 0, self.least)


def celebahq(data: Path, count: int) -> Source:
    """Whole people of val with at least three photographs, in a seeded order."""
    return Source("celebahq", "CelebA-HQ val", data / "CelebA-HQ", "celebahq", "val", count, LEAST)


def utkface(data: Path, work: Path, count: int) -> Source:
    """Faces that no estimator learned from, as many as can be of each age band, sex and ethnic group, copied once."""
    folder = work / "photographs" / "utkface"  # the evaluation's own folder, work / "utkface", may not hold originals
    chosen = stratified(sorted(path.name for path in (data / "UTKFace").iterdir()), count)
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        if not (folder / name).exists():
            shutil.copy2(data / "UTKFace" / name, folder / name)
    return Source("utkface", "UTKFace, held back from all training", folder)


def ordinary(data: Path) -> Source:
    """All ordinary photographs, damaged and odd ones too."""
    return Source("photos", "ordinary photographs", data / "photos" / "images")


def stratified(names: Sequence[str], count: int) -> list[str]:
    """Chooses so many of UTKFace's held-back files, in turns from every stratum, in the order of their hashes."""
    strata: dict[tuple[int, bool, int], list[str]] = defaultdict(list)
    for name in sorted(names, key=lambda one: hashlib.sha256(f"chosen {one}".encode()).digest()):
        labels = Labels.of(name)
        if labels and part_of(name) == "held back":
            strata[sum(labels.age >= start for start in BANDS), labels.woman, labels.group].append(name)
    turns = [name for turn in zip_longest(*(strata[key] for key in sorted(strata))) for name in turn if name]
    return sorted(turns[:count])
