"""Photographs that were copied or fetched again: nothing is done anew that is the same."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers import containers, fake_run
from helpers.fake_run import ANNA, CLEO, TINY, album, photos_in, rows_in, save, squares
from mien.datasets.storage.base import FolderReader
from mien.datasets.storage.content_check import ContentCheck, content_digest
from mien.errors import OutputError, PhotoError
from mien.jobs.state import JobState
from mien.jobs.task import Task
from mien.jobs.worker import Worker

LATER = 4_000_000_000  # seconds since 1970
ASKED: dict[str, dict[str, Any]] = {
    "per photo": {},
    "per person": {"recipe": TINY.with_changes({"identity": "per-person"}), "key": b"k" * 16},
    "not unique": {"recipe": TINY.with_changes({"pair.unique": False})},
}


@pytest.fixture(params=ASKED)
def asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    return ASKED[request.param]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What workers did, in words."""
    really, what = Worker.do, list[str]()

    def do(self: Worker, task: Task, *rest: Any) -> None:
        what.append(f"{task.what} {task.shard}")
        really(self, task, *rest)

    monkeypatch.setattr(Worker, "do", do)
    return what


@contextmanager
def unreadable(name: str) -> Iterator[None]:
    """Without permission, or on a disk that fails."""
    really = FolderReader.data

    def data(self: FolderReader, asked_for: str) -> bytes:
        if asked_for == name:
            raise PhotoError(f"{name}: no permission to read the file")
        return really(self, asked_for)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderReader, "data", data)
        yield


def fetch_again(src: Path) -> None:
    """All files new, with other times and the same content."""
    copy = src.with_name("copy")
    shutil.copytree(src, copy, symlinks=True)
    shutil.rmtree(src)
    copy.rename(src)
    for number, path in enumerate(sorted(src.rglob("*"))):
        os.utime(path, (LATER + number, LATER + number), follow_symlinks=False)


def states(dst: Path) -> dict[str, tuple[int, int]]:
    return {name: ((dst / name).stat().st_ino, (dst / name).stat().st_mtime_ns) for name in photos_in(dst)}


def test_a_folder_fetched_again_costs_nothing(brush: None, tmp_path: Path, asked: dict[str, Any],
                                              done: list[str]) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    (src / "0" / "broken.png").write_bytes(b"no picture")
    (src / "1" / "empty.png").write_bytes(b"")
    (src / "2" / "lost.png").symlink_to("nowhere")
    fake_run.run(src, dst, **asked)
    before, rows = states(dst), rows_in(dst)
    marked = [path.stat().st_mtime_ns for path in sorted((tmp_path / "dst.work" / "shards").iterdir())]
    for _ in range(2):
        fetch_again(src)
        done.clear()
        summary = fake_run.run(src, dst, **asked)
        assert done == []
        assert states(dst) == before and rows_in(dst) == rows and len(summary.skipped) == 3
        assert marked == [path.stat().st_mtime_ns for path in sorted((tmp_path / "dst.work" / "shards").iterdir())]


def test_new_photos_in_a_folder_fetched_again_are_all_that_is_done(brush: None, tmp_path: Path, asked: dict[str, Any],
                                                                   done: list[str]) -> None:
    """The pool faces of those that are done stay theirs, and people keep their new faces."""
    src, dst, undisturbed = album(tmp_path / "src", 16), tmp_path / "dst", tmp_path / "undisturbed"
    for place in (dst, undisturbed):
        fake_run.run(src, place, **asked)
    save(src / "new.png", squares(ANNA, CLEO, seed=99))
    fake_run.run(src, undisturbed, **asked)
    fetch_again(src)
    done.clear()
    fake_run.run(src, dst, **asked)
    assert {word.split()[1] for word in done} == {"2"}, "two shards of eight were there"
    assert photos_in(dst) == photos_in(undisturbed) and rows_in(dst) == rows_in(undisturbed)


def test_what_was_looked_at_and_no_more_is_not_looked_at_again(brush: None, tmp_path: Path, done: list[str],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst, really = album(tmp_path / "src", 20), tmp_path / "dst", Worker.do

    def die(self: Worker, task: Task, *rest: Any) -> None:
        if task.what == "anonymize" and task.shard == 1:
            raise OutputError("the disk is full")
        really(self, task, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "do", die)
        with pytest.raises(OutputError, match="full"):
            fake_run.run(src, dst)
    fetch_again(src)
    done.clear()
    fake_run.run(src, dst)
    assert done == ["anonymize 1", "anonymize 2"]
    fake_run.run(src, tmp_path / "whole")
    assert photos_in(dst) == photos_in(tmp_path / "whole")


def test_only_a_shard_with_a_changed_photo_is_done_again(brush: None, tmp_path: Path, asked: dict[str, Any],
                                                         done: list[str]) -> None:
    """Of the same size, as a photograph without compression is."""
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    save(src / "1" / "plain.bmp", squares(ANNA, seed=5))
    fake_run.run(src, dst, **asked)
    before = states(dst)
    fetch_again(src)
    size = (src / "1" / "plain.bmp").stat().st_size
    save(src / "1" / "plain.bmp", squares(CLEO, seed=5))
    assert (src / "1" / "plain.bmp").stat().st_size == size
    done.clear()
    fake_run.run(src, dst, **asked)
    shards = {word.split()[1] for word in done}
    assert len(shards) == 1
    assert sum(before[name] == state for name, state in states(dst).items()) == len(before) - 8
    fake_run.run(src, tmp_path / "whole", **asked)
    assert set(photos_in(dst)) == set(photos_in(tmp_path / "whole"))


@pytest.mark.parametrize("layout", ["webdataset", "huggingface"])
def test_of_a_tar_or_table_written_anew_only_the_changed_photo_s_shard_is_done(
    brush: None, tmp_path: Path, layout: str, done: list[str]
) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    if layout == "webdataset":
        containers.tars(src, {"a.tar": 20, "b.tar": 4})
    else:
        containers.parquets(src)
    fake_run.run(src, dst)
    pictures = photos_in(dst)
    fetch_again(src)
    done.clear()
    fake_run.run(src, dst)
    assert done == [] and photos_in(dst) == pictures
    if layout == "webdataset":
        _replace(src / "a.tar", 3, containers.photo(3, ANNA, CLEO))
        fake_run.run(src, dst)
        assert {word.split()[1] for word in done} == {"0"}


def _replace(path: Path, number: int, data: bytes) -> None:
    """Another photo in place of a tar's."""
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    photos = [i for i, (member, _) in enumerate(members) if member.name.endswith(".png")]
    with tarfile.open(path, "w") as out:
        for i, (member, content) in enumerate(members):
            new = data if i == photos[number] else content
            member.size = len(new)
            out.addfile(member, io.BytesIO(new))


def test_a_work_of_before_there_were_digests_is_done_again(brush: None, tmp_path: Path, done: list[str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    with monkeypatch.context() as patch:
        patch.setattr("mien.datasets.storage.prefetch.content_digest", lambda data: "")
        fake_run.run(src, dst)
    done.clear()
    fake_run.run(src, dst)
    assert done == []
    fetch_again(src)
    fake_run.run(src, dst)
    assert done == ["index 0", "anonymize 0"]


def test_one_that_could_not_be_read_is_looked_at_again(brush: None, tmp_path: Path, asked: dict[str, Any]) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    name = sorted(photos_in(src))[1]

    with unreadable(name):
        assert len(fake_run.run(src, dst, **asked).skipped) == 1
    fetch_again(src)
    assert not fake_run.run(src, dst, **asked).skipped
    fake_run.run(src, tmp_path / "whole", **asked)
    assert set(photos_in(dst)) == set(photos_in(tmp_path / "whole"))


def test_asking_changes_nothing(brush: None, tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 8), tmp_path / "dst"
    fake_run.run(src, dst)
    state, names = JobState(dst, dst.with_name("dst.work")), sorted(photos_in(src))
    reader = FolderReader(src)
    fetch_again(src)
    marker, before = state.marker(0).read_bytes(), states(dst)
    order = state.files(names, state.known_files())
    now = {name: reader.stamp(name) for name in order}
    assert state.shard(0, now) is None
    assert state.marker(0).read_bytes() == marker and states(dst) == before
    assert state.shard(0, now, ContentCheck(reader)) is not None
    assert state.shard(0, now) is not None


def test_what_is_no_record_of_states_is_not_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    reader = FolderReader(tmp_path)
    check, now, digests = ContentCheck(reader), {"a": reader.stamp("a")}, {"a": content_digest(b"a")}
    assert check.unchanged({"a": [1, 2]}, digests, now)
    assert check.unchanged(now, {}, now)
    for before, of in ((None, digests), ([], digests), ({}, digests), ({"b": [1, 2]}, digests), ({"a": []}, digests),
                       ({"a": None}, digests), ({"a": [1, 2]}, None), ({"a": [1, 2]}, {}), ({"a": [1, 2]}, {"a": ""}),
                       ({"a": [1, 2]}, {"a": content_digest(b"b")})):
        assert not check.unchanged(before, of, now), (before, of)
    assert check.unchanged({"a": [1, 2]}, {"a": "x"}, now, known={"a": "x"})
    assert not check.unchanged({"a": [1, 2]}, digests, {"a": None})


def test_one_that_can_be_read_now_is_done_now(brush: None, tmp_path: Path, asked: dict[str, Any],
                                              done: list[str]) -> None:
    """Permissions, and disks that fail, are no part of a file's state; a broken file stays broken."""
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    (src / "0" / "broken.png").write_bytes(b"no picture")
    name = sorted(photos_in(src))[1]

    with unreadable(name):
        assert len(fake_run.run(src, dst, **asked).skipped) == 2
        done.clear()
        assert len(fake_run.run(src, dst, **asked).skipped) == 2
        assert done == []
    assert len(fake_run.run(src, dst, **asked).skipped) == 1
    assert {word.split()[1] for word in done} == {"0"}
    fake_run.run(src, tmp_path / "whole", **asked)
    assert photos_in(dst) == photos_in(tmp_path / "whole")


@pytest.mark.parametrize("torn", [True, False])
def test_a_photo_that_was_half_there_is_done_when_it_is_there(
    brush: None, tmp_path: Path, asked: dict[str, Any], torn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetched again while it is read; or for a moment another picture of the same size and time."""
    src, dst, really, reads = album(tmp_path / "src", 8), tmp_path / "dst", FolderReader.data, list[str]()
    name, last = sorted(photos_in(src))[1], 1 if asked.get("recipe") is ASKED["not unique"]["recipe"] else 2
    fake_run.run(src, tmp_path / "whole", **asked)

    def data(self: FolderReader, asked_for: str) -> bytes:
        reads.append(asked_for)
        whole = really(self, asked_for)
        if asked_for != name or reads.count(name) != last:
            return whole
        if torn:
            os.utime(src / name, (LATER, LATER))
            return whole[: len(whole) // 2]
        return containers.photo(1, ANNA, CLEO)

    with monkeypatch.context() as patch:
        patch.setattr(FolderReader, "data", data)
        skipped = fake_run.run(src, dst, **asked).skipped
        if torn or last == 2:
            assert [one.file for one in skipped] == [name]
    fetch_again(src)
    assert not fake_run.run(src, dst, **asked).skipped
    assert photos_in(dst) == photos_in(tmp_path / "whole")


def test_what_was_looked_at_since_it_can_be_read_is_kept(brush: None, tmp_path: Path, done: list[str],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two must not have it matched twice."""
    src, dst, do = album(tmp_path / "src", 8), tmp_path / "dst", Worker.do
    name = sorted(photos_in(src))[1]

    def die(self: Worker, task: Task, *rest: Any) -> None:
        if task.what == "anonymize":
            raise OutputError("the disk is full")
        do(self, task, *rest)

    with unreadable(name):
        fake_run.run(src, dst)
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "do", die)
        with pytest.raises(OutputError, match="full"):
            fake_run.run(src, dst)
    done.clear()
    assert not fake_run.run(src, dst).skipped
    assert done == ["anonymize 0"]


def test_a_disk_that_does_not_answer_ends_the_run_with_a_word(brush: None, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    src = album(tmp_path / "src", 3)

    def stamp(self: FolderReader, name: str) -> list[int] | None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(FolderReader, "stamp", stamp)
    with pytest.raises(OutputError, match="cannot be looked at: Input/output error"):
        fake_run.run(src, tmp_path / "dst")
