"""The owner's lists: a name that is no photo's is said, before anything is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import containers, drawn_datasets, fake_run
from helpers.fake_run import ANNA, BERT, TINY, photos_in, save, squares
from mien.errors import UsageError
from mien.jobs.owner_lists import list_people, list_regions

HEADER = "file,x,y,width,height\n"
PHOTOS = ["a.jpg", "sub/b.jpg", "back\\slash.png", "c d.tar/1.png"]
PER_PERSON = TINY.with_changes({"identity": "per-person"})
KEY = b"k" * 16


def regions(folder: Path, *names: str) -> Path:
    path = folder / "regions.csv"
    path.write_text(HEADER + "".join(f"{name},30,20,60,60\n" for name in names))
    return path


@pytest.mark.parametrize(("written", "photo"), [
    ("a.jpg", "a.jpg"), ("./a.jpg", "a.jpg"), (".\\a.jpg", "a.jpg"), ("sub\\b.jpg", "sub/b.jpg"),
    ("./sub//b.jpg", "sub/b.jpg"), ("sub/../a.jpg", "a.jpg"), ("back\\slash.png", "back\\slash.png"),
    ("c d.tar/1.png", "c d.tar/1.png")])
def test_names_are_taken_as_other_tools_write_them(tmp_path: Path, written: str, photo: str) -> None:
    assert list_regions(regions(tmp_path, written), PHOTOS).of == {photo: [(30, 20, 60, 60)]}
    labels = tmp_path / "labels.csv"
    labels.write_text(f"file,person\n{written},Anna\n")
    assert list_people(labels, PHOTOS).of == {photo: "Anna"}


def test_all_regions_of_a_photo_are_kept_together(tmp_path: Path) -> None:
    found = list_regions(regions(tmp_path, "a.jpg", "./a.jpg"), PHOTOS)
    assert len(found.of["a.jpg"]) == 2 and len(found.digest) == 64


def test_names_of_no_photo_are_counted_and_some_are_shown(tmp_path: Path) -> None:
    path = regions(tmp_path, "a.jpg", "1.jpg", "2.jpg", "2.jpg", "3.jpg", "b.jpg", "A.jpg")
    with pytest.raises(UsageError, match=r"5 photographs that are not there: 1\.jpg, 2\.jpg, 3\.jpg, \.\.\.") as caught:
        list_regions(path, PHOTOS)
    assert "as in a.jpg" in caught.value.hint
    with pytest.raises(UsageError, match="1 photograph that is not there: x"):
        list_regions(regions(tmp_path, "x"), [])


def test_other_photos_of_the_dataset_may_be_named(tmp_path: Path) -> None:
    path = regions(tmp_path, "a.jpg", "other.jpg")
    assert list(list_regions(path, PHOTOS, ["other.jpg"], needed=True).of) == ["a.jpg"]
    for names in ((), ("other.jpg",)):
        with pytest.raises(UsageError, match="all would leave as they are"):
            list_regions(regions(tmp_path, *names), PHOTOS, ["other.jpg"], needed=True)
        assert list_regions(regions(tmp_path, *names), PHOTOS, ["other.jpg"]).of == {}


def test_labels_may_name_all_of_celeba(tmp_path: Path) -> None:
    labels = tmp_path / "identity_CelebA.txt"
    labels.write_text("000001.jpg 7\n000002.jpg 8\n000003.jpg 9\n")
    assert list_people(labels, ["img_align_celeba/000002.jpg", "x.jpg"]).of == {"img_align_celeba/000002.jpg": "8"}
    with pytest.raises(UsageError, match=r"none of the photographs, but 3 photographs that are not there: 000001\.jpg"):
        list_people(labels, ["1.png"])
    labels.write_text("")
    assert list_people(labels, ["1.png"]).of == {}


@pytest.mark.parametrize("option", ["only", "exclude", "labels"])
def test_a_run_with_a_wrong_list_begins_nothing(brush: None, tmp_path: Path, option: str) -> None:
    save(tmp_path / "src" / "sub" / "a.png", squares(ANNA))
    path = regions(tmp_path, "a.png", "./sub/a.png")
    if option == "labels":
        path.write_text("file,person\nb.png,Anna\n")
    with pytest.raises(UsageError, match="not there"):
        fake_run.run(tmp_path / "src", tmp_path / "dst", **{option: path})
    assert {found.name for found in tmp_path.iterdir()} == {"src", "regions.csv"}


def test_a_photo_that_left_may_still_be_named(brush: None, tmp_path: Path) -> None:
    src = tmp_path / "src"
    for name in ("a.png", "b.png"):
        save(src / name, squares(ANNA))
    path = regions(tmp_path, "a.png", ".\\b.png")
    assert fake_run.run(src, tmp_path / "dst", only=path).statuses == {"anonymized": 2}
    (src / "b.png").unlink()
    assert fake_run.run(src, tmp_path / "dst", only=path).statuses == {"anonymized": 1}
    assert json.loads((tmp_path / "dst.work" / "files.json").read_text()) == ["a.png", "b.png"]


def test_only_names_photos_of_the_subset_or_nobody_s_face_is_changed(brush: None, tmp_path: Path) -> None:
    src = drawn_datasets.celeba(tmp_path / "src", 10)
    for path in (src / "img_align_celeba").iterdir():
        save(path, squares(ANNA), format="PNG")
    splits = dict(line.split() for line in (src / "list_eval_partition.txt").read_text().splitlines())
    train, val = (sorted(name for name, split in splits.items() if split == one) for one in "01")
    both = regions(tmp_path, f"img_align_celeba/{train[0]}", f"img_align_celeba/{val[0]}")
    done = fake_run.run(src, tmp_path / "dst", only=both, subset="val")
    assert done.statuses["anonymized"] == 1
    with pytest.raises(UsageError, match="all would leave as they are"):
        fake_run.run(src, tmp_path / "other", only=regions(tmp_path, f"img_align_celeba/{train[0]}"), subset="val")


@pytest.mark.parametrize("layout", ["tars", "rows"])
def test_photos_in_larger_files_are_named_by_both(brush: None, tmp_path: Path, layout: str) -> None:
    if layout == "tars":
        src, name = containers.tars(tmp_path / "src", {"a.tar": 2}), "a.tar/000001.png"
    else:
        src, name = containers.parquets(tmp_path / "src", 2), "data/train-00000-of-00002.parquet/000001.png"
    done = fake_run.run(src, tmp_path / "dst", only=regions(tmp_path, f"./{name}"))
    assert {row.status for row in done.outcomes if row.file != name} == {"excluded"}
    assert "anonymized" in {row.status for row in done.outcomes if row.file == name}
    with pytest.raises(UsageError, match=r"not there: 000001\.png") as caught:
        fake_run.run(src, tmp_path / "other", only=regions(tmp_path, "000001.png"))
    assert name.rpartition("/")[0] in caught.value.hint


def test_labels_with_odd_paths_say_who_is_who(brush: None, tmp_path: Path) -> None:
    for name, person in (("a.png", ANNA), ("b.png", BERT)):
        save(tmp_path / "src" / "sub" / name, squares(person))
    labels = tmp_path / "labels.csv"
    labels.write_text("file,person\n.\\sub\\a.png,Rosa\n./sub/b.png,Rosa\nelsewhere.png,Marie\n")
    done = fake_run.run(tmp_path / "src", tmp_path / "dst", PER_PERSON, key=KEY, labels=labels)
    assert {row.person for row in done.outcomes} == {"label:Rosa"}
    assert set(photos_in(tmp_path / "dst")) == {"sub/a.png", "sub/b.png"}
