"""Every layout is recognized and read in the variants that people have; what is wrong is named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import drawn_datasets, fake_run
from helpers.drawn_datasets import known, signs
from mien.datasets.dataset import Dataset
from mien.datasets.registry import open_dataset
from mien.errors import UsageError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def refused(root: Path, layout: str = "auto", **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        open_dataset(root, layout, **more)
    assert caught.value.hint
    return caught.value.message


def written(dataset: Dataset, dst: Path, dropped: tuple[str, ...] = (), **renamed: str) -> Path:
    """DST as a run leaves it."""
    outputs = {name: name + renamed.get(name.rpartition("/")[2].replace(".", "_"), "")
               for name in dataset.photos if name not in dropped}
    for name, new in outputs.items():
        (dst / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset.root / name, dst / new)
    dataset.write_annotations(dst, outputs)
    return dst


HQ = [{}, {"tables": "", "photos": "CelebA-HQ-img"}, {"suffix": "png"}, {"tables": "", "suffix": "webp"},
      {"others": 300}, {"identities": False}]


@pytest.mark.parametrize("variant", HQ)
def test_celebahq(tmp_path: Path, variant: dict[str, Any]) -> None:
    root = drawn_datasets.celebahq(tmp_path / "src", **variant)
    dataset = open_dataset(root)
    folder, suffix = variant.get("photos", "data"), variant.get("suffix", "jpg")
    assert dataset.layout == "celebahq"
    assert set(dataset.photos) == {f"{folder}/{i}.{suffix}" for i in (0, 3, 7, 12, 29999)}
    assert Counter(dataset.splits.values()) == {"train": 2, "val": 2, "test": 1}
    assert dataset.splits[f"{folder}/29999.{suffix}"] == "val"
    people = {} if variant.get("identities") is False else {f"{folder}/3.{suffix}": "41"}
    assert {name: who for name, who in dataset.people.items() if "/3." in name} == people
    assert dataset.attributes[f"{folder}/7.{suffix}"].tolist() == signs(2)
    assert dataset.attribute_names == drawn_datasets.NAMES
    gaps = [note for note in dataset.notes if "300 rows without a photograph" in note]
    assert len(gaps) == (4 if "others" in variant else 0)
    again = open_dataset(written(dataset, tmp_path / "dst"))
    assert known(again) == known(dataset)
    if "others" not in variant:
        assert tables(tmp_path / "dst") == tables(root)
    else:
        assert not [note for note in again.notes if "without" in note]


def tables(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*")
            if path.suffix in (".txt", ".csv")}


@pytest.mark.parametrize("kind", ["flat", "annotations", "official", "kaggle"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_celeba(tmp_path: Path, kind: str, end: str) -> None:
    root = drawn_datasets.celeba(tmp_path / "src", kind=kind, end=end)
    dataset = open_dataset(root)
    assert dataset.layout == "celeba" and len(dataset.photos) == 6
    assert Counter(dataset.splits.values()) == {"train": 2, "val": 2, "test": 2}
    assert len(set(dataset.people.values())) == (0 if kind == "kaggle" else 3)
    assert dataset.attributes[next(name for name in dataset.photos if "000002" in name)].tolist() == signs(1)
    again = open_dataset(written(dataset, tmp_path / "dst"))
    assert known(again) == known(dataset) and tables(tmp_path / "dst") == tables(root)


def test_png_copies_of_celeba_keep_their_rows(tmp_path: Path) -> None:
    dataset = open_dataset(drawn_datasets.celeba(tmp_path / "src", suffix="png"))
    assert len(dataset.splits) == len(dataset.people) == len(dataset.attributes) == 6
    assert tables(written(dataset, tmp_path / "dst")) == tables(tmp_path / "src")


@pytest.mark.parametrize(("photos", "tables_in"), [
    ("data", "annotations"), ("lfw", ""), ("lfw_funneled", ""), ("lfw-deepfunneled", "annotations"), ("", ""),
    ("lfw-deepfunneled/lfw-deepfunneled", ""), ("", "annotations"),
])
@pytest.mark.parametrize("lists", [True, False])
def test_lfw(tmp_path: Path, photos: str, tables_in: str, lists: bool) -> None:
    root = drawn_datasets.lfw(tmp_path / "src", photos, tables_in, lists)
    dataset = open_dataset(root)
    assert dataset.layout == "lfw" and Counter(dataset.people.values()) == drawn_datasets.CROWD
    assert Counter(dataset.splits.values()) == ({"train": 5, "test": 3} if lists else {})
    assert not [note for note in dataset.notes if "not carried over" in note]
    again = open_dataset(written(dataset, tmp_path / "dst"))
    assert known(again) == known(dataset) and tables(tmp_path / "dst") == tables(root)


def test_lfw_lists_lose_what_refers_to_a_photo_that_is_gone(tmp_path: Path) -> None:
    dataset = open_dataset(drawn_datasets.lfw(tmp_path / "src"))
    gone = ("data/Anna_Ek/Anna_Ek_0001.jpg", "data/Cleo_Ma/Cleo_Ma_0001.jpg")
    dst = written(dataset, tmp_path / "dst", gone)
    lists = {name.rpartition("/")[2]: data.decode() for name, data in tables(dst).items()}
    assert lists["lfw-names.txt"] == "Anna_Ek\t2\nBo_Li\t2\nDan_O'Neil\t2\n"
    assert lists["people.txt"] == "2\n2\nAnna_Ek\t2\nBo_Li\t2\n1\nDan_O'Neil\t2\n"
    assert lists["peopleDevTest.txt"] == "1\nDan_O'Neil\t2\n"
    # of the first fold one pair a half is left, of the second no pair of two people
    assert lists["pairs.txt"] == "1\t1\nAnna_Ek\t2\t3\nAnna_Ek\t3\tBo_Li\t2\n"
    assert "pairsDevTrain.txt" not in lists and "pairsDevTest.txt" not in lists
    assert "Anna Ek\t1" not in lists["lfw_attributes.txt"] and "Anna Ek\t2\t1.5\t-0.2\n" in lists["lfw_attributes.txt"]
    again = open_dataset(dst)
    assert known(again)[1:4] == tuple(
        value if isinstance(value, list) else {k: v for k, v in value.items() if k not in gone}
        for value in ([name for name in dataset.photos if name not in gone], dataset.splits, dataset.people))


def test_pairs_that_go_are_counted(tmp_path: Path) -> None:
    dataset = open_dataset(drawn_datasets.lfw(tmp_path / "src"))
    outputs = {name: name for name in dataset.photos if "Bo_Li_0001" not in name}
    notes = dataset.write_annotations(tmp_path / "dst", outputs)
    assert notes == ["annotations/pairs.txt: 4 of 8 pairs (without a photograph: 1; left out so that all folds stay "
                     "equally large: 3)"]


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("Train", "Valid"), ("training", "validation")])
def test_image_folders_with_splits(tmp_path: Path, splits: tuple[str, ...]) -> None:
    dataset = open_dataset(drawn_datasets.image_folder(tmp_path / "src", splits))
    assert dataset.layout == "imagefolder" and set(dataset.classes.values()) == {"cats", "old people"}
    assert dataset.splits[f"{splits[1]}/old people/1.png"] == "val"
    assert known(open_dataset(written(dataset, tmp_path / "dst"))) == known(dataset)


def test_classes_alone_are_a_folder_until_told(tmp_path: Path) -> None:
    root = drawn_datasets.image_folder(tmp_path / "src", ())
    assert open_dataset(root).layout == "folder"
    dataset = open_dataset(root, "imagefolder")
    assert dataset.classes["old people/0.png"] == "old people" and dataset.splits == {}


def test_a_class_that_is_lost_is_noted(tmp_path: Path) -> None:
    dataset = open_dataset(drawn_datasets.image_folder(tmp_path / "src", ()), "imagefolder")
    notes = dataset.write_annotations(tmp_path / "dst", {"old people/0.png": "old people/0.png"})
    assert notes == ["1 class lost every photograph, so that the numbers of those behind change: cats"]
    assert dataset.write_annotations(tmp_path / "dst", {name: name for name in dataset.photos}) == []


def test_photos_outside_classes_are_counted(tmp_path: Path) -> None:
    root = drawn_datasets.image_folder(tmp_path / "src")
    drawn_datasets.draw(root / "loose.png", 1)
    drawn_datasets.draw(root / "train" / "loose.png", 1)
    (root / "classes.json").write_text("{}")
    dataset = open_dataset(root)
    assert dataset.notes == ["1 photograph outside the folders of the splits", "1 photograph in no folder of a class",
                             "not carried over: 1 file besides photographs"]
    assert len(dataset.photos) == 14 and len(dataset.classes) == 12


def test_plain_folders_and_single_photos(tmp_path: Path) -> None:
    fake_run.album(tmp_path / "src", 3)
    dataset = open_dataset(tmp_path / "src")
    assert (dataset.layout, len(dataset.photos), dataset.splits, dataset.notes) == ("folder", 3, {}, [])
    one = open_dataset(tmp_path / "src" / "0" / "000.png")
    assert (one.layout, one.photos, one.root) == ("folder", ["000.png"], tmp_path / "src" / "0")
    assert "is no folder" in refused(tmp_path / "src" / "0" / "000.png", "lfw")


def test_a_dataset_one_folder_down_is_pointed_out(tmp_path: Path) -> None:
    drawn_datasets.celebahq(tmp_path / "hq")
    drawn_datasets.celeba(tmp_path / "celeba")
    drawn_datasets.lfw(tmp_path / "LFW")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folder" and len(dataset.photos) == 19, "the folder LFW does not make it LFW"
    assert [note.partition(":")[0] for note in dataset.notes if "looks like" in note] == [
        "LFW looks like LFW", "celeba looks like CelebA", "hq looks like CelebA-HQ"]


def test_two_layouts_at_once_have_to_be_told_apart(tmp_path: Path) -> None:
    drawn_datasets.celebahq(tmp_path)
    drawn_datasets.celeba(tmp_path, kind="annotations")
    assert "looks like celebahq and like celeba" in refused(tmp_path)
    assert "no layout 'celeb'" in refused(tmp_path, "celeb")
    assert len(open_dataset(tmp_path, "folder").photos) == 11


def test_names_in_other_cases_are_found(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path / "src")
    (root / "data").rename(root / "Data")
    (root / "annotations" / "list_eval_partition.txt").rename(root / "annotations" / "List_Eval_Partition.TXT")
    (root / "annotations").rename(root / "Annotations")
    dataset = open_dataset(root)
    assert dataset.photos[0] == "Data/0.jpg" and len(dataset.splits) == 5
    assert set(tables(written(dataset, tmp_path / "dst"))) == set(tables(root))


def test_zeros_before_an_index_do_not_matter(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path, (0, 3))
    for name in ("0.jpg", "3.jpg"):
        (root / "data" / name).rename(root / "data" / f"0000{name}")
    dataset = open_dataset(root)
    assert dataset.splits == {"data/00000.jpg": "train", "data/00003.jpg": "val"}


def test_byte_order_marks_and_line_ends_of_windows(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path / "src")
    for path in (root / "annotations").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    dataset = open_dataset(root)
    assert len(dataset.splits) == len(dataset.people) == len(dataset.attributes) == 5
    assert tables(written(dataset, tmp_path / "dst")) == tables(root)


def test_links_are_followed(tmp_path: Path) -> None:
    drawn_datasets.celebahq(tmp_path / "disk")
    root = tmp_path / "src"
    root.mkdir()
    (root / "data").symlink_to(tmp_path / "disk" / "data")
    (root / "annotations").mkdir()
    for path in (tmp_path / "disk" / "annotations").iterdir():
        (root / "annotations" / path.name).symlink_to(path)
    assert known(open_dataset(root)) == known(open_dataset(tmp_path / "disk"))


def test_photos_without_a_row_are_photos_all_the_same(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path / "src")
    drawn_datasets.draw(root / "data" / "77.jpg", 1)
    drawn_datasets.draw(root / "data" / "me at home.jpg", 1)
    (root / "README.md").write_text("mine")
    (root / "annotations" / "list_mine.txt").write_text("mine")
    dataset = open_dataset(root)
    assert {"data/77.jpg", "data/me at home.jpg"} < set(dataset.names())
    gap = "2 photographs without a row (data/77.jpg, data/me at home.jpg)"
    assert f"annotations/CelebA-HQ-to-CelebA-mapping.txt: {gap}" in dataset.notes
    assert dataset.notes[-1] == "not carried over: README.md, annotations/list_mine.txt"
    dataset.choose("train+val+test")
    assert len(dataset.names()) == 5


def test_a_photo_under_another_name_keeps_its_row(tmp_path: Path) -> None:
    dataset = open_dataset(drawn_datasets.celeba(tmp_path / "src"))
    dst = written(dataset, tmp_path / "dst", **{"000002_jpg": ".png"})
    assert "000002.jpg.png 1\n" in (dst / "list_eval_partition.txt").read_text()
    again = open_dataset(dst)
    assert list(again.splits.values()) == list(dataset.splits.values())
    assert again.people["img_align_celeba/000002.jpg.png"] == dataset.people["img_align_celeba/000002.jpg"]
    hq = open_dataset(drawn_datasets.celebahq(tmp_path / "hq"))
    again = open_dataset(written(hq, tmp_path / "hq dst", **{"3_jpg": ".png"}))
    assert again.splits["data/3.jpg.png"] == hq.splits["data/3.jpg"] and len(again.attributes) == 5


def test_subsets(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path / "src")
    dataset = open_dataset(root, subset="val + train")
    assert dataset.subset == "train+val" and len(dataset.names()) == 4
    assert "there is no split 'dev'" in refused(root, subset="train+dev")
    assert "there is no split ''" in refused(root, subset="")
    assert "has no splits" in refused(fake_run.album(tmp_path / "album", 2), subset="train")
    (root / "annotations" / "list_eval_partition.txt").write_text("100000.jpg 0\n")
    assert "no photograph is in it" in refused(root, subset="test")


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / "annotations" / name).unlink()


def folder_instead(name: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        (root / "annotations" / name).unlink()
        (root / "annotations" / name).mkdir()

    return change


def content(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / "annotations" / name).write_text(text)


@pytest.mark.parametrize(("change", "words"), [
    (remove("CelebA-HQ-to-CelebA-mapping.txt"), "annotations/CelebA-HQ-to-CelebA-mapping.txt is missing: expected"),
    (remove("list_eval_partition.txt"), "annotations/list_eval_partition.txt is missing: expected a photo's name"),
    (remove("CelebAMask-HQ-attribute-anno.txt"), "attribute-anno.txt is missing: expected the count, 40 names"),
    (folder_instead("list_eval_partition.txt"), "annotations/list_eval_partition.txt is a folder: expected a photo's"),
    (folder_instead("identity_CelebA.txt"), "annotations/identity_CelebA.txt is a folder"),
    (content("list_eval_partition.txt", "100000.jpg 0\n100003.jpg 9\n"), "list_eval_partition.txt, line 2: expected"),
    (content("identity_CelebA.txt", "100000.jpg\n"), "identity_CelebA.txt, line 1: expected"),
    (lambda root: (root / "annotations" / "list_eval_partition.txt").write_bytes(b"\xff\xd8"), "it is not text"),
    (lambda root: shutil.rmtree(root / "data"), "data is missing: expected the photographs"),
    (lambda root: [shutil.rmtree(root / "data"), (root / "data").write_text("")], "data is no folder: expected the"),
    (lambda root: [path.unlink() for path in (root / "data").iterdir()], "data holds no photograph"),
])
def test_what_is_wrong_with_celebahq_is_said(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    root = drawn_datasets.celebahq(tmp_path)
    change(root)
    message = refused(root)
    assert message.startswith(f"{root}, read as CelebA-HQ: ") and words in message


@pytest.mark.parametrize(("name", "text", "words"), [
    ("lfw-names.txt", "Anna_Ek\t3\nBo_Li\n", "lfw-names.txt, line 2: expected a person's name and the number"),
    ("lfw-names.txt", "Anna_Ek\tthree\n", "lfw-names.txt, line 1: expected"),
    ("lfw-names.txt", "Anna_Ek\t3\nAnna_Ek\t3\n", "line 2: 'Anna_Ek' is in the list already"),
    ("people.txt", "2\n1\nAnna_Ek\t3\n", "people.txt, line 3: the file ends early"),
    ("people.txt", "1\n3\nAnna_Ek\t3\n", "people.txt, line 2: it promises 3 people, there are 1"),
    ("peopleDevTrain.txt", "1\nAnna_Ek\t3\nBo_Li\t2\n", "peopleDevTrain.txt, line 3: 1 more lines"),
    ("peopleDevTest.txt", "1\nAnna_Ek\t3\n", "peopleDevTest.txt: Anna_Ek is in the list of train too"),
    ("pairs.txt", "ten\n", "pairs.txt, line 1: expected the number of folds"),
    ("pairs.txt", "2\t1\nAnna_Ek\t1\t2\n", "pairs.txt, line 1: it promises 4 pairs, there are 1"),
    ("pairs.txt", "1\nAnna_Ek\t1\tBo_Li\t2\nAnna_Ek\t1\t2\n", "line 2: expected one person's name and two numbers"),
    ("pairsDevTest.txt", "1\nAnna_Ek\t1\t2\nAnna_Ek\t1\t2\n", "line 3: expected two people's names, each with"),
    ("lfw_attributes.txt", "#\tx\nAnna Ek\t1\t0.5\nBo Li\t2\n", "lfw_attributes.txt, line 3: expected a person"),
    ("lfw_attributes.txt", "# nothing\n", "has no rows"),
])
def test_what_is_wrong_with_lfw_is_said(tmp_path: Path, name: str, text: str, words: str) -> None:
    root = drawn_datasets.lfw(tmp_path)
    (root / "annotations" / name).write_text(text)
    assert words in refused(root)


def test_two_folders_of_lfw_are_one_too_many(tmp_path: Path) -> None:
    drawn_datasets.lfw(tmp_path, "lfw")
    drawn_datasets.lfw(tmp_path, "lfw_funneled", lists=False)
    assert "lfw and lfw_funneled hold people's folders" in refused(tmp_path)


def test_a_table_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """In a process of an ordinary user, since root may read any file."""
    root = drawn_datasets.celebahq(tmp_path / "src")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (root / "annotations" / "list_eval_partition.txt").chmod(0)
    script = ("import os, sys\nfrom pathlib import Path\nfrom mien.datasets.registry import open_dataset\n"
              "from mien.errors import UsageError\nos.chdir('/')\n"
              "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
              "try: open_dataset(Path(sys.argv[1]))\nexcept UsageError as error: print(error.message)\n")
    done = subprocess.run([sys.executable, "-c", script, root], capture_output=True, text=True, check=True,
                          env=fake_run.environment())
    assert "annotations/list_eval_partition.txt cannot be read: Permission denied" in done.stdout


@pytest.mark.parametrize(("name", "photos", "people", "splits"), [
    ("CelebA-HQ", 9002, 1839, {"train": 8001, "val": 1001}), ("CelebA", 999, 921, {"train": 999}), ("LFW", 193, 60, {}),
])
def test_real_datasets(name: str, photos: int, people: int, splits: dict[str, int], tmp_path: Path) -> None:
    root = SHARED / name
    if not root.is_dir():
        pytest.skip(f"{name} is not at ../shared/data")
    dataset = open_dataset(root)
    assert dataset.layout == name.lower().replace("-", "")
    assert (len(dataset.photos), len(set(dataset.people.values())), dataset.count(dataset.photos)) == (
        photos, people, splits)
    assert len(dataset.attributes) == (0 if name == "LFW" else photos)
    assert len(dataset.attribute_names) == (0 if name == "LFW" else 40)
    assert not [note for note in dataset.notes if "without" in note or "not carried" in note]
    dataset.write_annotations(tmp_path, {name: name for name in dataset.photos})
    assert tables(tmp_path) == tables(root)
    half = {name: name for name in dataset.photos[::2]}
    dataset.write_annotations(tmp_path, half)
    for photo in half:
        (tmp_path / photo).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / photo).symlink_to(root / photo)
    again = open_dataset(tmp_path)
    assert again.photos == list(half) and not [note for note in again.notes if "without" in note]
    assert again.splits == {photo: dataset.splits[photo] for photo in half if photo in dataset.splits}
    assert again.people == {photo: dataset.people[photo] for photo in half}
    assert all((again.attributes[photo] == dataset.attributes[photo]).all() for photo in half if dataset.attributes)
