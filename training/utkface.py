"""Aligns UTKFace's faces once, and splits them into parts that no two networks share.

    python training/utkface.py --data FOLDER --work FOLDER

FOLDER of --data holds UTKFace/, a flat folder of files named age_sex_group_date (Zhang et al. 2017, arXiv 1702.08423);
it is for non-commercial research and has to be asked for. People are not named there, so that a person may be on two
photographs: parts are drawn by a hash of the file's name.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.anonymizer.align import SIZE, align, from_photo, map_points
from mien.anonymizer.losses import VIEW, view_matrix
from mien.errors import PhotoError
from mien.evaluation.evaluators import load_detector
from mien.evaluation.measure_face import largest_face
from mien.images.decode import read_photo
from mien.util.image_tensors import to_tensor, view

NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+.*\.jpg")
# Of ten faces, by the hash of their name: four teach what judges, four teach what may be in a loss, two are held back.
PARTS = {"judge": range(4), "loss": range(4, 8), "held back": range(8, 10)}


@dataclass(frozen=True)
class Labels:
    """What a file's name tells: age in years, whether it is a woman, the group's number in `look_judge.GROUPS`."""

    age: int
    woman: bool
    group: int

    @classmethod
    def of(cls, name: str) -> Labels | None:
        """Reads a file's name; None where it does not tell all three."""
        told = NAME.fullmatch(name)
        return cls(int(told[1]), told[2] == "1", int(told[3])) if told else None


def part_of(name: str) -> str:
    """The part, one of `PARTS`, that a file belongs to."""
    tenth = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % 10
    return next(part for part, tenths in PARTS.items() if tenth in tenths)


@dataclass(frozen=True)
class Faces:
    """N aligned faces.

    Attributes:
        pixels: crops [N, 256, 256, 3] uint8 RGB, mapped. chips: recognizers' views [N, 112, 112, 3] uint8 RGB, mapped.
        age: [N] years. woman: [N]. group: [N], number in `look_judge.GROUPS`. part: [N], one of `PARTS`.
    """

    names: list[str]
    pixels: npt.NDArray[np.uint8]
    chips: npt.NDArray[np.uint8]
    age: Tensor
    woman: Tensor
    group: Tensor
    part: npt.NDArray[np.str_]

    def of(self, part: str) -> npt.NDArray[np.int64]:
        """Rows of a part."""
        return np.flatnonzero(self.part == part)


def load_faces(work: Path) -> Faces:
    """Loads what `prepare_faces` wrote.

    Raises:
        SystemExit: nothing is there; the message says what to run.
    """
    listed = work / "utkface.txt"
    if not listed.exists():
        sys.exit(f"{work} holds no aligned faces yet; run: python training/utkface.py --data FOLDER --work {work}")
    names = listed.read_text().split()
    labels = [one for name in names if (one := Labels.of(name))]
    pixels = np.memmap(work / "utkface.u8", np.uint8, "r", shape=(len(names), SIZE, SIZE, 3))
    chips = np.memmap(work / "utkface_chips.u8", np.uint8, "r", shape=(len(names), VIEW, VIEW, 3))
    return Faces(names, pixels, chips, torch.tensor([float(one.age) for one in labels]),
                 torch.tensor([one.woman for one in labels]), torch.tensor([one.group for one in labels]),
                 np.array([part_of(name) for name in names]))


def prepare_faces(root: Path, work: Path) -> None:
    """Aligns the largest face of every file; files without labels or a face are left out."""
    detector, kept = load_detector(), []
    names = sorted(path.name for path in root.iterdir() if Labels.of(path.name))
    with (work / "utkface.u8").open("wb") as crops, (work / "utkface_chips.u8").open("wb") as chips:
        for name in names:
            try:
                photo = read_photo(root / name, name).pixels
            except PhotoError:
                continue
            face = largest_face(detector, photo)
            if face is None:
                continue
            crop = align(photo, face)
            matrix = view_matrix(map_points(from_photo(crop.quad, SIZE), face.points))
            chip = view(to_tensor(crop.pixels), matrix, VIEW)[0].permute(1, 2, 0)
            crops.write(crop.pixels.tobytes())
            chips.write(((chip + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy().tobytes())
            kept.append(name)
            if len(kept) % 1000 == 0:
                print(f"{len(kept)} faces of {len(names)} files", flush=True)
    (work / "utkface.txt").write_text("\n".join(kept))
    print(f"{len(kept)} faces of {len(names)} files")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    prepare_faces(arguments.data / "UTKFace", arguments.work)


if __name__ == "__main__":
    main()
