"""CelebA-HQ: as FALCO arranges it, or as CelebAMask-HQ is given out. A photo's name is its index."""

from __future__ import annotations

from collections.abc import Iterable

from mien.datasets.annotation_table import SPLITS, Form, Table, bare
from mien.datasets.dataset import Dataset
from mien.datasets.layouts.celeba import (
    ATTRIBUTE_FORM,
    IDENTITY,
    IDENTITY_FORM,
    PARTITION,
    PARTITION_FORM,
    take_attributes,
)
from mien.datasets.tree import Place, Tree, table_place

MAPPING_FORM = Form("idx, orig_idx and orig_file", "word", 2, titled=True, index=True)

PHOTOS = Place("data", "the photographs: 0.jpg, 1.jpg, ...", ("CelebA-HQ-img",))
MAPPING = table_place("CelebA-HQ-to-CelebA-mapping.txt", "a line of titles, then idx, orig_idx and orig_file")
ATTRIBUTES = table_place("CelebAMask-HQ-attribute-anno.txt", "the count, 40 names, then 0.jpg and 1 or -1 a name")

PLACES = (PHOTOS, MAPPING, ATTRIBUTES, PARTITION, IDENTITY)
LEADS_BACK = ("CelebA-HQ-to-CelebA-mapping.txt names each photograph's original in CelebA: whoever has CelebA can look "
              "up who it was")


def is_celebahq(tree: Tree) -> bool:
    """Whether a folder has CelebAMask-HQ's photo folder or one of its tables."""
    return tree.has((*PHOTOS.others, MAPPING.path, *MAPPING.others, ATTRIBUTES.path, *ATTRIBUTES.others))


def read_celebahq(tree: Tree) -> Dataset:
    """Read what is there; what is wrong is in `tree.problems`."""
    folder = tree.find(PHOTOS, folder=True)
    dataset = Dataset("celebahq", tree.root, [] if folder is None else tree.photos(folder), notes=[LEADS_BACK])
    mapping, attributes = tree.table(MAPPING, MAPPING_FORM), tree.table(ATTRIBUTES, ATTRIBUTE_FORM)
    partition, identity = tree.table(PARTITION, PARTITION_FORM), tree.table(IDENTITY, IDENTITY_FORM)
    originals: dict[str, str] = {}
    if mapping:
        keys = _by_index(dataset.photos, mapping.at)
        dataset.attach(mapping, keys, named=False)
        originals = {photo: mapping.values[key].split()[1].decode() for photo, key in keys.items()}
    if attributes:
        keys = _by_index(dataset.photos, attributes.at)
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
    keys = {photo: original for photo, original in originals.items() if original in table.at}
    if originals:
        dataset.attach(table, keys, named=False)
    return keys


def _by_index(photos: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Photo -> the one of `names` with the same index, however many zeros stand before it."""
    index = {number: name for name in names if (number := _index(name))}
    return {photo: index[number] for photo in photos if (number := _index(photo)) in index}


def _index(name: str) -> str:
    """The index in a photo's name, without leading zeros; "" where there is none."""
    stem = bare(name)
    return (stem.lstrip("0") or "0") if stem.isascii() and stem.isdigit() else ""
