"""Reads CelebA (aligned): as its authors give it out, with all tables in one folder, or with tables as CSV."""

from __future__ import annotations

from mien.datasets.annotation_table import SPLITS, Form, Table
from mien.datasets.dataset import Dataset, match_rows
from mien.datasets.tree import ExpectedPath, Tree, expected_table

ATTRIBUTE_FORM = Form("a photo's name, then 1 or -1 for every attribute", "sign", 0, counted=True, titled=True)
PARTITION_FORM = Form("a photo's name and 0 (train), 1 (val) or 2 (test)", "split")
IDENTITY_FORM = Form("a photo's name and the number of a person", "word")
LANDMARK_FORM = Form("a photo's name and ten numbers", "number", 10, counted=True, titled=True)
BOX_FORM = Form("a photo's name and x, y, width, height", "number", 4, counted=True, titled=True)

ATTRIBUTES = expected_table("list_attr_celeba.txt", "the count, 40 names, then a photo and 1 or -1 a name", csv=True)
PARTITION = expected_table("list_eval_partition.txt", PARTITION_FORM.row, csv=True)
IDENTITY = expected_table("identity_CelebA.txt", IDENTITY_FORM.row, required=False, csv=True)
LANDMARKS = expected_table("list_landmarks_align_celeba.txt", LANDMARK_FORM.row, required=False, csv=True)
BOXES = expected_table("list_bbox_celeba.txt", BOX_FORM.row, required=False, csv=True)
PHOTOS = ExpectedPath("img_align_celeba", "the photographs: 000001.jpg, ...",
                      ("Img/img_align_celeba", "img_align_celeba_png", "Img/img_align_celeba_png"))

EXPECTED = (PHOTOS, ATTRIBUTES, PARTITION, IDENTITY, LANDMARKS, BOXES)
TRACEABLE = ("the photographs keep CelebA's file names and, where there are any, its numbers of people: whoever has "
             "CelebA can look up the originals")


def is_celeba(tree: Tree) -> bool:
    """Tells whether a folder has CelebA's photo folder or its attribute table."""
    return tree.has((*PHOTOS.all_paths, *ATTRIBUTES.all_paths))


def read_celeba(tree: Tree) -> Dataset:
    """Reads photos and tables; whatever is missing or wrong is added to `tree.problems`."""
    folder = tree.find(PHOTOS, folder=True)
    dataset = Dataset("celeba", tree.root, [] if folder is None else tree.photos(folder), notes=[TRACEABLE])
    attributes = tree.table(ATTRIBUTES, ATTRIBUTE_FORM)
    if attributes:
        keys = match_rows(dataset.photos, attributes)
        dataset.attach(attributes, keys)
        take_attributes(dataset, attributes, keys)
    partition = tree.table(PARTITION, PARTITION_FORM)
    if partition:
        keys = match_rows(dataset.photos, partition)
        dataset.attach(partition, keys)
        dataset.splits = {photo: SPLITS[partition.values[key]] for photo, key in keys.items()}
    identity = tree.table(IDENTITY, IDENTITY_FORM)
    if identity:
        keys = match_rows(dataset.photos, identity)
        dataset.attach(identity, keys)
        dataset.people = {photo: identity.values[key].decode() for photo, key in keys.items()}
    for expected, form in ((LANDMARKS, LANDMARK_FORM), (BOXES, BOX_FORM)):
        table = tree.table(expected, form)
        if table:
            dataset.attach(table, match_rows(dataset.photos, table))
    return dataset.finish(tree)


def take_attributes(dataset: Dataset, table: Table, keys: dict[str, str]) -> None:
    """Gives each photo the attributes of its row."""
    rows = dict(zip(table.line_of, table.signs(), strict=True))
    dataset.attribute_names = table.titles
    dataset.attributes = {photo: rows[key] for photo, key in keys.items()}
