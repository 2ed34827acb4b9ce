"""Reads torchvision's ImageFolder: a folder for each class, with or without a folder for each split around them."""

from __future__ import annotations

from mien.datasets.dataset import Dataset, plural
from mien.datasets.tree import ExpectedPath, Tree

SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                 "test": "test", "testing": "test"}

EXPECTED = (ExpectedPath("train/CLASS", "photographs of one class", required=False),
            ExpectedPath("val/CLASS", "the same for validation", required=False),
            ExpectedPath("test/CLASS", "the same for the test; or CLASS alone, without splits", required=False))


def is_image_folder(tree: Tree) -> bool:
    """Tells whether a folder has a train folder with folders in it. Classes without splits look like any folder."""
    return any(SPLIT_FOLDERS.get(name.casefold()) == "train" and tree.folders(name) for name in tree.folders())


def read_image_folder(tree: Tree) -> Dataset:
    """Reads photos, classes and splits; whatever is missing or wrong is added to `tree.problems`."""
    dataset = Dataset("imagefolder", tree.root, tree.photos(""))
    split_folders = {name for name in tree.folders() if name.casefold() in SPLIT_FOLDERS}
    outside = 0
    for photo in dataset.photos:
        parts = photo.split("/")[:-1]
        if split_folders:
            if not parts or parts[0] not in split_folders:
                outside += 1
                continue
            dataset.splits[photo] = SPLIT_FOLDERS[parts.pop(0).casefold()]
        if parts:
            dataset.classes[photo] = parts[0]
    if outside:
        dataset.notes.append(f"{plural(outside, 'photograph')} outside the folders of the splits")
    loose = len(dataset.photos) - outside - len(dataset.classes)
    if loose:
        dataset.notes.append(f"{plural(loose, 'photograph')} in no folder of a class")
    if dataset.photos and not dataset.classes:
        tree.problems.append("no photograph is in the folder of a class")
    dataset.note_other_files(tree.passed_over)
    dataset.skipped = tree.skipped
    return dataset
