"""Reads CelebA-HQ: as FALCO arranges it, or as CelebAMask-HQ is given out. A photo's name is its index."""

from __future__ import annotations

from collections.abc import Iterable

from mien.datasets.annotation_table import SPLITS, Form, Table, bare_name
from mien.datasets.dataset import Dataset
from mien.datasets.layouts.celeba import (
    ATTRIBUTE_FORM,
    IDENTITY,
    IDENTITY_FORM,
    PARTITION,
    PARTITION_FORM,
    take_attributes,
)
from mien.datasets.tree import ExpectedPath, Tree, expected_table

MAPPING_FORM = Form("idx, orig_idx and orig_file", "word", 2, titled=True, index=True)

PHOTOS = ExpectedPath("data", "the photographs: 0.jpg, 1.jpg, ...", ("CelebA-HQ-img",))
MAPPING = expected_table("CelebA-HQ-to-CelebA-mapping.txt", "a line of titles, then idx, orig_idx and orig_file")
ATTRIBUTES = expected_table("CelebAMask-HQ-attribute-anno.txt", "the count, 40 names, then 0.jpg and 1 or -1 a name")

EXPECTED = (PHOTOS, MAPPING, ATTRIBUTES, PARTITION, IDENTITY)
TRACEABLE = ("CelebA-HQ-to-CelebA-mapping.txt names each photograph's original in CelebA: whoever has CelebA can look "
             "up who it was")


def is_celebahq(tree: Tree) -> bool:
    """Tells whether a folder has CelebAMask-HQ's photo folder or one of its tables."""
    return tree.has((*PHOTOS.others, *MAPPING.all_paths, *ATTRIBUTES.all_paths))


def read_celebahq(tree: Tree) -> Dataset:
    """Reads photos and tables; whatever is missing or wrong is added to `tree.problems`."""
    folder = tree.find(PHOTOS, folder=True)
    dataset = Dataset("celebahq", tree.root, [] if folder is None else tree.photos(folder), notes=[TRACEABLE])
    mapping, attributes = tree.table(MAPPING, MAPPING_FORM), tree.table(ATTRIBUTES, ATTRIBUTE_FORM)
    partition, identity = tree.table(PARTITION, PARTITION_FORM), tree.table(IDENTITY, IDENTITY_FORM)
    originals: dict[str, str] = {}
    if mapping:
        keys = _by_index(dataset.photos, mapping.line_of)
        dataset.attach(mapping, keys, keys_are_names=False)
        originals = {photo: mapping.values[key].split()[1].decode() for photo, key in keys.items()}
    if attributes:
        keys = _by_index(dataset.photos, attributes.line_of)
        dataset.attach(attributes, keys)
        take_attributes(dataset, attributes, keys)
    if partition:
        keys = _by_original(dataset, partition, originals)
        dataset.splits = {photo: SPLITS[partition.values[key]] for photo, key in keys.items()}
    if identity:
        keys = _by_original(dataset, identity, originals)
        dataset.people = {photo: identity.values[key].decode() for photo, key in keys.items()}
    return dataset.finish(tree)


def _by_original(dataset: Dataset, table: Table, originals: dict[str, str]) -> dict[str, str]:
    keys = {photo: original for photo, original in originals.items() if original in table.line_of}
    if originals:
        dataset.attach(table, keys, keys_are_names=False)
    return keys


def _by_index(photos: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Returns photo -> the one of `names` with the same index, whatever its leading zeros."""
    index = {number: name for name in names if (number := _index(name))}
    return {photo: index[number] for photo in photos if (number := _index(photo)) in index}


def _index(name: str) -> str:
    """Returns the index in a photo's name, without leading zeros; "" if there is none."""
    stem = bare_name(name)
    return (stem.lstrip("0") or "0") if stem.isascii() and stem.isdigit() else ""
