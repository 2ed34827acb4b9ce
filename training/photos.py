"""Aligns CelebA-HQ's train and val photographs once, and keeps these real faces for the trainings.

    python training/photos.py --data FOLDER --work FOLDER

FOLDER of --data holds CelebA-HQ as FALCO arranges it (data/, annotations/, identity_CelebA.txt among them). It is for
non-commercial research and has to be asked for: see CelebAMask-HQ's and CelebA's pages.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mien.anonymizer.align import SIZE, align, from_photo, map_points
from mien.anonymizer.losses import view_matrix
from mien.datasets.registry import open_dataset
from mien.errors import MienError, PhotoError
from mien.images.decode import read_photo
from mien.models.detection.yunet import YuNet
from mien.models.hub.fetch import ensure
from mien.types import Face
from mien.util.image_tensors import to_tensor

SPLITS = ("train", "val")
WHERE = ("--data must hold CelebA-HQ: data/{index}.jpg and annotations/ with the attribute file, the mapping to "
         "CelebA, the partition and the identities. Photographs and attributes are CelebAMask-HQ's, identities and "
         "partition CelebA's; both are given out by their authors for non-commercial research.")


@dataclass(frozen=True)
class Photos:
    """Holds N aligned faces, those of the train split first.

    Attributes:
        pixels: crops [N, 256, 256, 3] uint8 RGB, memory-mapped.
        inside: masks [N, 256, 256] bool of the pixels within the photo, memory-mapped.
        points: five points [N, 5, 2] in crop pixels.
        views: affines [N, 2, 3] from crop pixels to the recognizer's view.
        attributes: labels [N, 40], 0 or 1. people: number of each face's person [N], from 0.
        train: number of faces of the train split.
    """

    pixels: npt.NDArray[np.uint8]
    inside: npt.NDArray[np.bool_]
    points: Tensor
    views: Tensor
    attributes: Tensor
    people: Tensor
    train: int
    attribute_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def val(self) -> range:
        """Rows of the val split."""
        return range(self.train, len(self))

    def images(self, rows: npt.ArrayLike) -> Tensor:
        """Converts the faces of these rows to [B, 3, 256, 256] in -1..1."""
        return to_tensor(self.pixels[np.asarray(rows)])


def load_photos(work: Path) -> Photos:
    """Loads what `prepare_photos` wrote.

    Raises:
        SystemExit: nothing is there; the message says what to run.
    """
    if not (work / "photos.safetensors").exists():
        sys.exit(f"{work} holds no aligned photographs yet; run: python training/photos.py --data FOLDER --work {work}")
    state = load_file(work / "photos.safetensors")
    names = tuple((work / "attributes.txt").read_text().split())
    count = len(state["points"])
    pixels = np.memmap(work / "photos.u8", np.uint8, "r", shape=(count, SIZE, SIZE, 3))
    inside = np.memmap(work / "inside.u8", np.bool_, "r", shape=(count, SIZE, SIZE))
    return Photos(pixels, inside, state["points"], state["views"], state["attributes"], state["people"],
                  int(state["train"]), names)


def prepare_photos(data: Path, work: Path) -> None:
    """Aligns the largest face of every photograph of train and val; photos without a face are left out."""
    datasets = {split: open_dataset(data / "CelebA-HQ", "celebahq", split) for split in SPLITS}
    detector = YuNet(ensure(["yunet"])["yunet"], score_threshold=0.6)
    names = [(split, name) for split, dataset in datasets.items() for name in dataset.names()]
    pixels = np.memmap(work / "photos.u8", np.uint8, "w+", shape=(len(names), SIZE, SIZE, 3))
    inside = np.memmap(work / "inside.u8", np.bool_, "w+", shape=(len(names), SIZE, SIZE))
    points, attributes, people, train = [], [], [], 0
    for split, name in names:
        dataset = datasets[split]
        try:
            photo = read_photo(dataset.root / name, name)
        except PhotoError:
            continue
        found: list[Face] = detector.detect(photo.pixels)
        if not found:
            continue
        face = max(found, key=lambda one: one.area)
        crop = align(photo.pixels, face)
        pixels[len(points)], inside[len(points)] = crop.pixels, crop.inside
        points.append(map_points(from_photo(crop.quad, SIZE), face.points))
        attributes.append(dataset.attributes[name] > 0)
        people.append(dataset.people[name])
        train += split == SPLITS[0]
        if len(points) % 1000 == 0:
            print(f"{len(points)} faces of {len(names)} photographs", flush=True)
    for path, size in ((work / "photos.u8", 3), (work / "inside.u8", 1)):
        with path.open("r+b") as handle:
            handle.truncate(len(points) * SIZE * SIZE * size)
    numbers = {person: number for number, person in enumerate(sorted(set(people)))}
    (work / "attributes.txt").write_text("\n".join(datasets[SPLITS[0]].attribute_names))
    save_file({"points": torch.from_numpy(np.stack(points)), "views": torch.cat([view_matrix(p) for p in points]),
               "attributes": torch.from_numpy(np.stack(attributes)).to(torch.uint8), "train": torch.tensor(train),
               "people": torch.tensor([numbers[person] for person in people])}, work / "photos.safetensors")
    print(f"{train} faces of train, {len(points) - train} of val, of {len(names)} photographs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    try:
        prepare_photos(arguments.data, arguments.work)
    except MienError as error:
        sys.exit(f"{error}\n{WHERE}")


if __name__ == "__main__":
    main()
