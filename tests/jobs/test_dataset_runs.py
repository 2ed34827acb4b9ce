"""Whole runs on datasets: what comes out is the same dataset, for the photos that are in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers import drawn_datasets, fake_run
from helpers.drawn_datasets import known
from helpers.fake_run import ANNA, BERT, STUBBORN, TINY, call, photos_in, rows_in, save, squares
from mien.anonymizer.pipeline import Pipeline
from mien.api import anonymize_dataset
from mien.datasets.registry import open_dataset
from mien.errors import UsageError

DRAW: dict[str, Callable[..., Path]] = {"celebahq": drawn_datasets.celebahq, "celeba": drawn_datasets.celeba,
                                        "lfw": drawn_datasets.lfw,
                                        "imagefolder": drawn_datasets.image_folder}
HQ_TABLES = ("CelebA-HQ-to-CelebA-mapping.txt", "CelebAMask-HQ-attribute-anno.txt", "list_eval_partition.txt",
             "identity_CelebA.txt")


@pytest.mark.parametrize("layout", DRAW)
def test_a_dataset_comes_back_as_the_same_dataset(brush: None, tmp_path: Path, layout: str) -> None:
    src, dst = DRAW[layout](tmp_path / "src"), tmp_path / "dst"
    (src / "README.md").write_text("about the originals")
    before = open_dataset(src)
    summary = fake_run.run(src, dst)
    assert summary.layout == layout and summary.photos == len(before.photos)
    after = open_dataset(dst)
    assert known(after) == known(before) and not [note for note in after.notes if "mien.json" in note]
    assert set(photos_in(dst)) == set(photos_in(src)) - {"README.md"}
    for name, data in photos_in(src).items():
        if name.endswith(".txt"):
            assert photos_in(dst)[name] == data
    for row in rows_in(dst):
        assert row["status"] == "anonymized" and photos_in(dst)[row["file"]] != photos_in(src)[row["file"]]
    record = json.loads((dst / "mien.json").read_text())
    assert (record["layout"], record["subset"], record["splits"]) == (layout, "", before.count(before.photos))
    assert record["notes"] == summary.notes and set(record["annotations"]) == set(before.digests)
    assert str(tmp_path) not in json.dumps(record)


def test_a_photo_that_was_dropped_takes_its_rows_along(brush: None, tmp_path: Path) -> None:
    src, dst = drawn_datasets.celebahq(tmp_path / "src"), tmp_path / "dst"
    drawn_datasets.draw(src / "data" / "7.jpg", 7, STUBBORN)
    (src / "data" / "12.jpg").write_bytes(b"no picture")
    before = open_dataset(src)
    fake_run.run(src, dst, TINY.with_changes({"on_failure": "drop"}))
    after = open_dataset(dst)
    assert after.photos == [name for name in before.photos if name not in ("data/7.jpg", "data/12.jpg")]
    assert after.people == {name: before.people[name] for name in after.photos}
    assert not [note for note in after.notes if "without" in note]
    attributes = (dst / "annotations" / "CelebAMask-HQ-attribute-anno.txt").read_text().splitlines()
    assert attributes[0] == "3" and [line.split()[0] for line in attributes[2:]] == ["0.jpg", "3.jpg", "29999.jpg"]
    assert "100007" not in "".join((dst / "annotations" / name).read_text() for name in HQ_TABLES)


def test_a_subset_is_a_dataset(brush: None, tmp_path: Path) -> None:
    src, dst = drawn_datasets.celebahq(tmp_path / "src"), tmp_path / "dst"
    drawn_datasets.draw(src / "data" / "5.jpg", 5)  # in no table, so in no split
    summary = fake_run.run(src, dst, subset="val+train")
    after = open_dataset(dst)
    assert summary.photos == 4 and after.count(after.photos) == {"train": 2, "val": 2}
    assert json.loads((dst / "mien.json").read_text())["subset"] == "train+val"
    whole = fake_run.run(src, tmp_path / "whole")
    assert whole.photos == 6 and "data/5.jpg" in photos_in(tmp_path / "whole")


def test_a_photo_that_becomes_a_png_keeps_its_row(brush: None, tmp_path: Path) -> None:
    src, dst = drawn_datasets.celeba(tmp_path / "src"), tmp_path / "dst"
    save(src / "img_align_celeba" / "000002.jpg", squares(ANNA)[:96, :96], format="ICO", sizes=[(96, 96)])
    before = open_dataset(src)
    summary = fake_run.run(src, dst)
    new = summary.outputs["img_align_celeba/000002.jpg"]
    assert new == "img_align_celeba/000002.jpg.png"
    after = open_dataset(dst)
    assert after.people[new] == before.people["img_align_celeba/000002.jpg"]
    assert "000002.jpg.png" in (dst / "list_bbox_celeba.txt").read_text()


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_that_was_stopped_ends_as_the_same_dataset(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    src, whole, broken = drawn_datasets.celebahq(tmp_path / "src"), tmp_path / "whole", tmp_path / "broken"
    fake_run.run(src, whole)

    def stop(self: Pipeline, works: list[Any], really: Any = Pipeline.run) -> None:
        if len(list(broken.rglob("*.jpg"))) >= 2 * shards:
            raise KeyboardInterrupt
        really(self, works)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Pipeline, "run", stop)
        fake_run.run(src, broken)
    assert not (broken / "annotations").exists()
    fake_run.run(src, broken)
    assert photos_in(broken) == photos_in(whole) and rows_in(broken) == rows_in(whole)


@pytest.mark.parametrize(("change", "words"), [
    ({"layout": "folder"}, r"another layout \(celebahq before, folder now\); set of annotation files"),
    ({"subset": "train"}, "another subset"),
    ({}, "another set of annotation files"),
])
def test_another_table_layout_or_subset_is_another_question(brush: None, tmp_path: Path, change: dict[str, str],
                                                            words: str) -> None:
    src, dst = drawn_datasets.celebahq(tmp_path / "src"), tmp_path / "dst"
    fake_run.run(src, dst)
    if not change:
        path = src / "annotations" / "list_eval_partition.txt"
        path.write_text(path.read_text().replace("100003.jpg 1", "100003.jpg 2"))
    with pytest.raises(UsageError, match=words):
        fake_run.run(src, dst, **change)


def test_rows_of_a_photo_that_was_taken_away_go_too(brush: None, tmp_path: Path) -> None:
    src, dst = drawn_datasets.celebahq(tmp_path / "src", (0, 3)), tmp_path / "dst"
    (src / "annotations" / "identity_CelebA.txt").write_text("100003.jpg 1\n")
    fake_run.run(src, dst)
    assert open_dataset(dst).people == {"data/3.jpg": "1"}
    (src / "data" / "3.jpg").unlink()
    fake_run.run(src, dst)
    assert not (dst / "annotations" / "identity_CelebA.txt").exists()
    assert open_dataset(dst).photos == ["data/0.jpg"]


def test_a_dataset_knows_who_is_who(brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who look alike are two by the table, and one who looks like two people is one."""
    seen: dict[str, list[str]] = {}
    monkeypatch.setattr("mien.jobs.worker.faces_of", lambda networks, faces, crops: SimpleNamespace(
        identity=torch.eye(128)[:1].repeat(len(faces), 1)))

    def remember(self: Pipeline, works: list[Any], really: Any = Pipeline.run) -> None:
        for work in works:
            seen[work.photo.name] = [subject.outcome.person for subject in work.subjects]
        really(self, works)

    monkeypatch.setattr(Pipeline, "run", remember)
    src = drawn_datasets.celeba(tmp_path / "src", 3)
    for name, person in (("000001.jpg", ANNA), ("000002.jpg", BERT), ("000003.jpg", ANNA)):
        save(src / "img_align_celeba" / name, squares(person), format="PNG")
    recipe = TINY.with_changes({"identity": "per-person"})
    fake_run.run(src, tmp_path / "dst", recipe, key=b"k" * 16)
    first, second, third = (seen[f"img_align_celeba/00000{i}.jpg"] for i in (1, 2, 3))
    assert first == second == ["label:2880"] and third == ["label:2881"]
    (tmp_path / "who.csv").write_text("file,person\n000002.jpg,Bert\n")
    fake_run.run(src, tmp_path / "other", recipe, key=b"k" * 16, labels=tmp_path / "who.csv")
    assert seen["img_align_celeba/000002.jpg"] == ["label:Bert"], "the owner's own list goes before the dataset's"
    assert seen["img_align_celeba/000001.jpg"] == ["person-1"]


def test_the_library_takes_layout_and_subset(brush: None, tmp_path: Path) -> None:
    src = drawn_datasets.lfw(tmp_path / "src")
    summary = anonymize_dataset(src, tmp_path / "dst", TINY, layout="lfw", subset="test")
    assert summary.photos == 3 and set(open_dataset(tmp_path / "dst").people.values()) == {"Cleo_Ma", "Dan_O'Neil"}
    with pytest.raises(UsageError, match="has no splits"):
        anonymize_dataset(src, tmp_path / "other", TINY, layout="folder", subset="test")


def test_the_command_takes_layout_and_subset(tmp_path: Path) -> None:
    src = drawn_datasets.celebahq(tmp_path / "src")
    done = call("anonymize", src, tmp_path / "dst", "--layout", "celebahq", "--subset", "train")
    assert done.returncode == 0, done.stderr
    lines = [[part.strip() for part in line.split("│")] for line in done.stderr.splitlines() if "│" in line]
    table = {line[1]: line[2] for line in lines}
    assert table["layout"] == "celebahq" and table["photos written"] == "2"
    assert "note: CelebA-HQ-to-CelebA-mapping.txt names each photograph's original" in done.stderr
    checked = call("datasets", "check", tmp_path / "dst")
    assert checked.returncode == 0 and "train 2" in checked.stdout


@pytest.mark.parametrize(("options", "words"), [
    (["--subset", "dev"], "there is no split 'dev'"), (["--layout", "mnist"], "there is no layout 'mnist'"),
    (["--layout", "celeba"], "read as CelebA: img_align_celeba is missing"),
    (["--layout", "folder", "--subset", "val"], "has no splits"),
    ([], "annotations/list_eval_partition.txt, line 1: expected"),
])
def test_a_dataset_that_is_wrong_ends_with_2_before_anything_is_loaded(tmp_path: Path, options: list[str],
                                                                       words: str) -> None:
    src = drawn_datasets.celebahq(tmp_path / "src")
    if not options:
        (src / "annotations" / "list_eval_partition.txt").write_text("train\n")
    done = call("anonymize", src, tmp_path / "dst", *options)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "dst").exists() and not (tmp_path / "dst.work").exists()
    assert done.stderr.splitlines()[-1].strip()
