"""Photos that change under a run, and shards that nobody matched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_run
from helpers.fake_run import ANNA, BERT, TINY, album, photos_in, rows_in, save, squares
from mien.datasets.storage.base import FolderReader
from mien.errors import OutputError, PhotoError
from mien.images.decode import read_photo_bytes
from mien.jobs.assignment.assignment import Assignment
from mien.jobs.task import Task
from mien.jobs.worker import Worker
from mien.types import Photo

RECIPES = {"unique": TINY, "not unique": TINY.with_changes({"pair.unique": False}),
           "per-person": TINY.with_changes({"identity": "per-person"})}
NAME = "1/001.png"


@pytest.fixture(params=RECIPES)
def asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"recipe": RECIPES[request.param], "key": b"k" * 16}


def before(monkeypatch: pytest.MonkeyPatch, act: Callable[[Task], None]) -> None:
    really = Worker.do

    def do(self: Worker, task: Task, *tell: Any) -> None:
        act(task)
        really(self, task, *tell)

    monkeypatch.setattr(Worker, "do", do)


def test_a_photo_that_changes_all_the_time_is_skipped(brush: None, tmp_path: Path, asked: dict[str, Any],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst = album(tmp_path / "src", 10), tmp_path / "dst"
    fake_run.run(src, tmp_path / "whole", **asked)
    really, looks = FolderReader.stamp, 0

    def stamp(self: FolderReader, name: str) -> list[int] | None:
        nonlocal looks
        looks += name == NAME
        return [looks, 0] if name == NAME else really(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(FolderReader, "stamp", stamp)
        for _ in range(2):
            summary = fake_run.run(src, dst, **asked)
            assert [(one.file, one.reason) for one in summary.skipped] == [(NAME, "it changes while it is read")]
            assert set(photos_in(dst)) == set(photos_in(tmp_path / "whole")) - {NAME}
    summary = fake_run.run(src, dst, **asked)
    assert not summary.skipped and set(photos_in(dst)) == set(photos_in(tmp_path / "whole"))
    assert len(rows_in(dst)) == len(rows_in(tmp_path / "whole"))


def test_a_photo_that_was_changed_while_it_was_looked_at_is_looked_at_again(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, looked = album(tmp_path / "src", 10), list[str]()

    def touch(task: Task) -> None:
        if task.what == "index" and len(looked) == 1:
            save(src / NAME, squares(BERT, ANNA))
        looked.append(f"{task.what} {task.shard}")

    before(monkeypatch, touch)
    summary = fake_run.run(src, tmp_path / "dst")
    assert looked[:3] == ["index 0", "index 1", "index 0"]
    assert not summary.skipped and len([row for row in summary.outcomes if row.file == NAME]) == 2


def test_pixels_that_nobody_looked_at_never_leave(brush: None, tmp_path: Path, asked: dict[str, Any],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces of the photo as it was would be looked for in the photo as it is."""
    src, dst, really = album(tmp_path / "src", 10), tmp_path / "dst", FolderReader.data
    reads = 0

    def data(self: FolderReader, name: str) -> bytes:
        nonlocal reads
        if name == NAME:
            reads += 1
            if reads == (1 if asked["recipe"] is RECIPES["not unique"] else 2):
                save(src / NAME, squares(BERT, BERT, ANNA))
        return really(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(FolderReader, "data", data)
        summary = fake_run.run(src, dst, **asked)
    assert [one.file for one in summary.skipped] == [NAME] and NAME not in photos_in(dst)
    again = fake_run.run(src, dst, **asked)
    assert not again.skipped and len([row for row in again.outcomes if row.file == NAME]) == 3


@pytest.mark.parametrize("what", ["the disk does not answer", "no memory to decode it"])
def test_a_photo_that_could_not_be_read_at_first_is_left_for_the_next_call(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Of one that could not be decoded the file was read all the same, and its digest is known."""
    src, dst, reads = album(tmp_path / "src", 10), tmp_path / "dst", list[str]()
    fake_run.run(src, tmp_path / "whole")
    data, decode = FolderReader.data, read_photo_bytes

    def fail(name: str, here: str) -> None:
        reads.extend([name] * (here == what))
        if name == NAME and here == what and reads.count(NAME) == 1:
            raise PhotoError(f"{NAME}: {what}")

    def failing_data(self: FolderReader, name: str) -> bytes:
        fail(name, "the disk does not answer")
        return data(self, name)

    def failing_decode(file: bytes, name: str) -> Photo:
        fail(name, "no memory to decode it")
        return decode(file, name)

    with monkeypatch.context() as patch:
        patch.setattr(FolderReader, "data", failing_data)
        patch.setattr("mien.datasets.storage.prefetch.read_photo_bytes", failing_decode)
        summary = fake_run.run(src, dst)
    assert [(one.file, one.reason) for one in summary.skipped] == [
        (NAME, "it could not be read at first: run the same command again")]
    assert not fake_run.run(src, dst).skipped
    assert set(photos_in(dst)) == set(photos_in(tmp_path / "whole")) and len(rows_in(dst)) == 14


@pytest.mark.parametrize("name", ["assignment.safetensors", "faces/000001.safetensors"])
@pytest.mark.parametrize("identity", ["per-photo", "per-person"])
def test_faces_that_nobody_matched_are_not_paired_by_themselves(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, identity: str
) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    asked = {"recipe": TINY.with_changes({"identity": identity}), "key": b"k" * 16}
    fake_run.run(src, tmp_path / "whole", **asked)

    def lose(task: Task) -> None:
        if task.what == "anonymize" and task.shard == 1:
            (tmp_path / "dst.work" / name).unlink()

    with monkeypatch.context() as patch:
        before(patch, lose)
        patch.setattr(Worker, "assignment", property(lambda self: Assignment.from_file(self.state.assignment)))
        with pytest.raises(OutputError, match="shard 1 have no pool faces") as caught:
            fake_run.run(src, dst, **asked)
    assert "same command" in caught.value.hint and len(photos_in(dst)) == 8
    fake_run.run(src, dst, **asked)
    assert photos_in(dst) == photos_in(tmp_path / "whole") and rows_in(dst) == rows_in(tmp_path / "whole")


def test_a_touched_photo_is_done_by_the_next_call(brush: None, tmp_path: Path, asked: dict[str, Any],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    touched: list[Task] = []

    def touch(task: Task) -> None:
        if task.what == "anonymize" and not touched:
            touched.append(task)
            os.utime(src / task.names[3])

    with monkeypatch.context() as patch:
        before(patch, touch)
        summary = fake_run.run(src, dst, **asked)
    expected = [] if asked["recipe"] is RECIPES["not unique"] else [touched[0].names[3]]
    assert [one.file for one in summary.skipped] == expected
    assert not fake_run.run(src, dst, **asked).skipped and len(photos_in(dst)) == 20
