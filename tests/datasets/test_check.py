"""`mien datasets check` and `list`: what a folder is, what is wrong with it, how to arrange it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from helpers import drawn_datasets, fake_run
from mien.cli.datasets import datasets_app
from mien.errors import UsageError


def check(root: Path, *options: str) -> Result:
    return CliRunner().invoke(datasets_app, ["check", str(root), *options])


@pytest.mark.parametrize(("draw", "words"), [
    (drawn_datasets.celebahq, ["CelebA-HQ (layout celebahq)", "photographs 5", "people 2",
                               "splits train 2, val 2, test 1",
                               "attributes 40", "files jpg 5", "can look up who it was"]),
    (drawn_datasets.celeba, ["CelebA (layout celeba)", "photographs 6", "people 3", "splits train 2, val 2, test 2"]),
    (drawn_datasets.lfw, ["LFW (layout lfw)", "photographs 8", "people 4", "splits train 5, test 3",
                          "still say who it was"]),
    (drawn_datasets.image_folder, ["ImageFolder (layout imagefolder)", "photographs 12", "classes 2", "files png 12"]),
    (lambda root: fake_run.album(root, 4), ["a folder of photographs (layout folder)", "photographs 4",
                                            "3 folders of photographs: if they are classes, say --layout imagefolder"]),
])
def test_a_usable_dataset_is_counted(tmp_path: Path, draw: object, words: list[str]) -> None:
    draw(tmp_path)  # type: ignore[operator]
    result = check(tmp_path)
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0, result.stdout
    assert all(word in said for word in words), said
    assert "usable: mien anonymize" in said and "wrong:" not in said and "expected" not in said


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    root = drawn_datasets.celeba(tmp_path, kind="official")
    (root / "old").mkdir()
    (root / "Eval" / "list_eval_partition.txt").rename(root / "old" / "list_eval_partition.txt")
    shutil.rmtree(root / "Img" / "img_align_celeba")
    (root / "Img" / "img_align_celeba.zip").touch()
    (root / "Anno" / "identity_CelebA.txt").write_text("000001.jpg 1\n000002.jpg\n")
    result = check(root)
    assert result.exit_code == 2
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "- img_align_celeba is missing: expected the photographs: 000001.jpg, ..." in lines
    assert any(line.startswith("- annotations/list_eval_partition.txt is missing: expected") for line in lines)
    assert any(line.startswith("- Anno/identity_CelebA.txt, line 2: expected") for line in lines)
    assert "[!] img_align_celeba the photographs: 000001.jpg, ..." in lines
    assert any(line.startswith("[!] list_eval_partition.txt") for line in lines)
    assert any(line.startswith("[x] list_attr_celeba.txt") and line.endswith("(here: Anno/list_attr_celeba.txt)")
               for line in lines)
    assert "- unpack Img/img_align_celeba.zip to img_align_celeba" in lines
    assert "- move old/list_eval_partition.txt to annotations/list_eval_partition.txt" in lines
    assert lines[-1] == "not usable as celeba: 3 problems"


def test_the_advice_makes_it_usable(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path)
    (root / "labels").mkdir()
    moved = "list_eval_partition.txt", "CelebA-HQ-to-CelebA-mapping.txt"
    for name in moved:
        (root / "annotations" / name).rename(root / "labels" / name.upper())
    result = check(root)
    assert result.exit_code == 2
    for name in moved:
        assert f"move labels/{name.upper()} to annotations/{name}" in result.stdout
        (root / "labels" / name.upper()).rename(root / "annotations" / name)
    assert check(root).exit_code == 0


def test_gaps_are_counted(tmp_path: Path) -> None:
    root = drawn_datasets.lfw(tmp_path)
    (root / "data" / "Bo_Li" / "Bo_Li_0002.jpg").unlink()
    drawn_datasets.draw(root / "data" / "Bo_Li" / "portrait.jpg", 1)
    said = check(root).stdout
    assert "annotations/lfw-names.txt: 1 person with fewer photographs than it says" in said
    assert "annotations/pairs.txt: 4 of 8 pairs (without a photograph: 1;" in said
    assert "1 photograph not named First_Last/First_Last_0001.jpg" in said


def test_pixels_are_read_only_when_asked_for(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path)
    (root / "data" / "7.jpg").write_bytes(b"rubbish")
    assert "rubbish" not in check(root).stdout and "damaged" not in check(root).stdout
    result = check(root, "--pictures")
    assert result.exit_code == 0, "a run skips it and goes on"
    assert "damaged:\n  - data/7.jpg: not an image" in result.stdout
    (root / "data" / "7.jpg").unlink()
    assert "damaged:\n  - none" in check(root, "--pictures").stdout


def test_what_is_told_counts(tmp_path: Path) -> None:
    drawn_datasets.lfw(tmp_path)
    assert check(tmp_path, "--layout", "folder").exit_code == 0
    result = check(tmp_path, "--layout", "celebahq")
    assert result.exit_code == 2 and "not usable as celebahq" in result.stdout


def test_an_empty_folder_is_not_usable(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.exit_code == 2 and "there is no photograph" in result.stdout


def test_no_folder_and_no_layout(tmp_path: Path) -> None:
    for options in ([str(tmp_path / "none")], [str(tmp_path), "--layout", "mnist"]):
        error = CliRunner().invoke(datasets_app, ["check", *options]).exception
        assert isinstance(error, UsageError) and error.hint


def test_the_layouts_are_listed() -> None:
    lines = CliRunner().invoke(datasets_app, ["list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["folder", "celebahq", "celeba", "lfw", "imagefolder",
                                                   "webdataset", "huggingface"]


@pytest.mark.parametrize(("place", "words"), [("", "in the top folder to data"), ("pics", "in pics to data")])
def test_photographs_in_the_wrong_place_are_sent_to_the_right_one(tmp_path: Path, place: str, words: str) -> None:
    root = drawn_datasets.celebahq(tmp_path)
    for path in sorted((root / "data").iterdir()):
        (root / place).mkdir(exist_ok=True)
        path.rename(root / place / path.name)
    (root / "data").rmdir()
    result = check(root)
    assert result.exit_code == 2 and f"move the 5 photographs {words}" in " ".join(result.stdout.split())


def test_photographs_of_celebahq_without_its_tables_are_recognized(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path)
    shutil.rmtree(root / "annotations")
    result = check(root)
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0 and "numbered like CelebA-HQ's, without its annotation files" in said
    assert "CelebA-HQ-to-CelebA-mapping.txt" in check(root, "--layout", "celebahq").stdout


def test_a_mapping_without_its_titles_is_refused(tmp_path: Path) -> None:
    root = drawn_datasets.celebahq(tmp_path)
    mapping = root / "annotations" / "CelebA-HQ-to-CelebA-mapping.txt"
    mapping.write_bytes(mapping.read_bytes().split(b"\n", 1)[1])
    result = check(root)
    assert result.exit_code == 2
    assert "CelebA-HQ-to-CelebA-mapping.txt, line 1: expected the names of 2 columns" in " ".join(result.stdout.split())
