"""Reads Labeled Faces in the Wild: a folder for each person, with its lists of people and pairs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from mien.datasets.annotation_table import bare_name
from mien.datasets.dataset import Dataset, plural
from mien.datasets.layouts.lfw_lists import PAIR, PERSON, PeopleList, Shot, parse_attributes, parse_pairs, parse_people
from mien.datasets.tree import ExpectedPath, Tree, expected_table
from mien.errors import UsageError

PHOTOS = ExpectedPath("data", "a folder for each person: First_Last/First_Last_0001.jpg",
                      ("lfw", "lfw_funneled", "lfw-deepfunneled", "lfw-funneled", "lfwa", "lfw2"))
NAMES = expected_table("lfw-names.txt", PERSON, required=False)
PEOPLE = expected_table("people.txt", f"the number of sets, then for each its size and {PERSON}", required=False)
DEV = {expected_table(name, f"the number of people, then {PERSON}", required=False): split
       for name, split in (("peopleDevTrain.txt", "train"), ("peopleDevTest.txt", "test"))}
PAIRS = tuple(expected_table(name, PAIR, required=False)
              for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"))
ATTRIBUTES = expected_table("lfw_attributes.txt", "a person, a number and scores", required=False)

EXPECTED = (PHOTOS, NAMES, PEOPLE, *DEV, *PAIRS, ATTRIBUTES)
TRACEABLE = "the folders and files keep the names of the people, as LFW's layout wants it: they still say who it was"
SAMPLED = 20  # folders that are looked into, to see whether they are people's
List = TypeVar("List")
_SHOT = re.compile(r"(.+)_(\d{1,9})")


def is_lfw(tree: Tree) -> bool:
    """Tells whether a folder has LFW's lists, or folders of people whose photos bear their names."""
    lists = (path for one in (NAMES, *DEV, ATTRIBUTES) for path in one.all_paths)
    return tree.has(lists) or bool(_folders_of_people(tree))


def _folders_of_people(tree: Tree) -> list[str]:
    """Returns the photo folders; a folder of LFW's name that holds something else, as another download, is none."""
    there = [path for path in map(tree.real, PHOTOS.all_paths) if path is not None]
    inside = [f"{path}/{path}" for path in there]  # as some archives unpack
    return [path for path in ("", *there, *inside) if _is_folder_of_people(tree, path)]


def _is_folder_of_people(tree: Tree, folder: str) -> bool:
    folders = tree.folders(folder)[:SAMPLED]
    people = [name for name in folders
              if any(bare_name(photo).startswith(f"{name}_") and _SHOT.fullmatch(bare_name(photo))
                     for photo in tree.names(f"{folder}/{name}".lstrip("/")))]
    return len(people) * 2 > len(folders)


def read_lfw(tree: Tree) -> Dataset:
    """Reads photos and lists; whatever is missing or wrong is added to `tree.problems`."""
    dataset = Dataset("lfw", tree.root, _photos(tree), notes=[TRACEABLE])
    shots: dict[str, Shot] = {}
    for photo in dataset.photos:
        person = photo.split("/")[-2] if photo.count("/") else ""
        match = _SHOT.fullmatch(bare_name(photo))
        if match and match[1] == person:
            shots[photo] = (person, int(match[2]))
    dataset.people = {photo: person for photo, (person, _) in shots.items()}
    strange = len(dataset.photos) - len(shots)
    if strange:
        dataset.notes.append(f"{plural(strange, 'photograph')} not named First_Last/First_Last_0001.jpg: person not "
                             "known")
    _read_lists(tree, dataset, shots)
    return dataset.finish(tree)


def _photos(tree: Tree) -> list[str]:
    folders = _folders_of_people(tree)
    if len(folders) > 1:
        names = " and ".join(path or "the folder itself" for path in folders)
        tree.problems.append(f"{names} hold people's folders: give one of them alone")
    folder = folders[0] if folders else tree.find(PHOTOS, folder=True)
    return [] if folder is None else tree.photos(folder)


def _read_lists(tree: Tree, dataset: Dataset, shots: dict[str, Shot]) -> None:
    for expected, counted, sets in ((NAMES, False, False), (PEOPLE, True, True), *((one, True, False) for one in DEV)):
        people = _parsed(tree, expected, partial(parse_people, shots=shots, counted=counted, sets=sets))
        if people is None:
            continue
        dataset.annotations.append(people)
        _note_people(dataset, people)
        if expected in DEV:
            _split(tree, dataset, people, DEV[expected])
    for expected in PAIRS:
        pairs = _parsed(tree, expected, partial(parse_pairs, shots=shots))
        dataset.annotations += [pairs] if pairs else []
    scores = _parsed(tree, ATTRIBUTES, partial(parse_attributes, shots=shots))
    dataset.annotations += [scores] if scores else []


def _parsed(tree: Tree, expected: ExpectedPath, parse: Callable[[str, bytes], List]) -> List | None:
    file = tree.read(expected)
    try:
        return parse(*file) if file else None
    except UsageError as error:
        tree.problems.append(error.message)
        return None


def _note_people(dataset: Dataset, people: PeopleList) -> None:
    here = Counter(dataset.people.values())
    fewer = sum(here[person] < number for person, number in people.numbers.items())
    more = sum(here[person] > number for person, number in people.numbers.items())
    for number, words in ((fewer, "fewer photographs than it says"), (more, "more photographs than it says")):
        if number:
            dataset.notes.append(f"{people.name}: {plural(number, 'person', 'people')} with {words}")


def _split(tree: Tree, dataset: Dataset, people: PeopleList, split: str) -> None:
    for photo, person in dataset.people.items():
        if person in people.numbers:
            other = dataset.splits.setdefault(photo, split)
            if other != split:
                tree.problems.append(f"{people.name}: {person} is in the list of {other} too")
                return
