"""SRC and DST by URL, in a store that fails now and then."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

import mien.datasets.storage.fsspec_url as module
from helpers import containers, fake_run
from helpers.fake_run import ANNA, BERT, album, call, photos_in, rows_in, save, squares
from mien.datasets.storage.fsspec_url import UrlFolder, UrlReader, UrlWriter, is_url, open_url_dataset
from mien.errors import OutputError, PhotoError, UsageError
from mien.jobs.executors.workers import Workers

OWN = {"mien.parquet", "mien.json", "report.html"}


class Shaky(MemoryFileSystem):
    """Every tenth request fails, or all of them."""

    protocol = "shaky"
    cachable = False
    asked, broken, failures = 0, False, 0

    def _ask(self, really: Callable[..., Any], *args: Any, **more: Any) -> Any:
        Shaky.asked += 1
        if Shaky.broken or Shaky.asked % 10 == 0:
            Shaky.failures += 1
            raise OSError(errno.EIO, "the store does not answer")
        return really(*args, **more)

    def cat_file(self, *args: Any, **more: Any) -> Any:
        return self._ask(super().cat_file, *args, **more)

    def pipe_file(self, *args: Any, **more: Any) -> Any:
        return self._ask(super().pipe_file, *args, **more)

    def info(self, *args: Any, **more: Any) -> Any:
        return self._ask(super().info, *args, **more)

    def find(self, *args: Any, **more: Any) -> Any:
        return self._ask(super().find, *args, **more)


@pytest.fixture
def shaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Shaky]]:
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    monkeypatch.setattr(module, "FIRST_WAIT", 0.0)
    Shaky.store, Shaky.pseudo_dirs = {}, [""]
    Shaky.asked, Shaky.broken, Shaky.failures = 0, False, 0
    yield Shaky
    Shaky.broken = False


def put(folder: Path, url: str) -> None:
    target = UrlFolder(url)
    for path in folder.rglob("*.png"):
        target.write(path.relative_to(folder).as_posix(), path.read_bytes())


def photos_at(url: str) -> dict[str, bytes]:
    folder = UrlFolder(url)
    return {name: folder.read(name) for name in folder.names() if name not in OWN}


def test_a_store_that_fails_every_tenth_request_serves_a_run(brush: None, shaky: type[Shaky], tmp_path: Path) -> None:
    fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    put(tmp_path / "src", "shaky://a/src")
    summary = fake_run.run("shaky://a/src", "shaky://a/dst", work=tmp_path / "work")
    assert summary.photos == 20 and shaky.failures > 10
    assert photos_at("shaky://a/dst") == photos_in(tmp_path / "dst")
    assert rows_in(tmp_path / "work" / "public") == rows_in(tmp_path / "dst")
    assert {"mien.json", "mien.parquet"} <= set(UrlFolder("shaky://a/dst").names())


def test_a_run_goes_on_when_the_store_is_back(brush: None, shaky: type[Shaky], tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    put(tmp_path / "src", "shaky://b/src")
    really, written = module.UrlWriter._write, list[str]()

    def fail(self: Any, name: str, data: bytes) -> None:
        written.append(name)
        shaky.broken = len(written) > 9
        really(self, name, data)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="cannot be written"):
        patch.setattr(module.UrlWriter, "_write", fail)
        fake_run.run("shaky://b/src", "shaky://b/dst", work=tmp_path / "work")
    shaky.broken = False
    assert len(photos_at("shaky://b/dst")) == 9
    fake_run.run("shaky://b/src", "shaky://b/dst", work=tmp_path / "work")
    assert photos_at("shaky://b/dst") == photos_in(tmp_path / "dst")


def test_a_changed_object_is_done_again_and_a_vanished_one_leaves(brush: None, shaky: type[Shaky],
                                                                  tmp_path: Path) -> None:
    put(album(tmp_path / "src", 4), "shaky://c/src")
    fake_run.run("shaky://c/src", "shaky://c/dst", work=tmp_path / "work")
    before = photos_at("shaky://c/dst")
    folder = UrlFolder("shaky://c/src")
    folder.write("1/001.png", save(tmp_path / "new.png", squares(BERT, ANNA)).read_bytes())
    folder.remove("2/002.png")
    fake_run.run("shaky://c/src", "shaky://c/dst", work=tmp_path / "work")
    after = photos_at("shaky://c/dst")
    assert set(before) - set(after) == {"2/002.png"} and after["1/001.png"] != before["1/001.png"]
    assert after["0/000.png"] == before["0/000.png"]


def test_several_processes_read_and_write_by_url(brush: None, tmp_path: Path) -> None:
    src = album(tmp_path / "src", 20)
    fake_run.run(src, tmp_path / "dst")
    fake_run.run(f"file://{src}", f"file://{tmp_path}/far", work=tmp_path / "work", workers=Workers(2))
    assert photos_in(tmp_path / "far") == photos_in(tmp_path / "dst")


def test_the_command_takes_urls(tmp_path: Path) -> None:
    src = album(tmp_path / "src", 5)
    done = call("anonymize", f"file://{src}", f"file://{tmp_path}/far", "--work", tmp_path / "work", "--forget")
    assert done.returncode == 0, done.stderr
    assert f"file://{tmp_path}/far" in done.stderr.replace("\n", "")
    names = {str(path.relative_to(tmp_path / "far")) for path in (tmp_path / "far").rglob("*") if path.is_file()}
    assert names == OWN | {str(path.relative_to(src)) for path in src.rglob("*.png")}
    assert not (tmp_path / "work").exists()
    other = f"file://{tmp_path}/other"
    without = call("anonymize", f"file://{src}", other, "--work", tmp_path / "w", "--with-originals")
    assert without.returncode == 2 and "on this machine" in without.stderr


def test_a_place_with_files_of_others_is_left_alone(brush: None, shaky: type[Shaky], tmp_path: Path) -> None:
    put(album(tmp_path / "src", 2), "shaky://d/src")
    UrlFolder("shaky://d/dst").write("mine.txt", b"mine")
    with pytest.raises(OutputError, match="holds no run"):
        fake_run.run("shaky://d/src", "shaky://d/dst", work=tmp_path / "work")


def test_names_that_lead_elsewhere_and_hidden_ones_are_not_taken(shaky: type[Shaky], tmp_path: Path) -> None:
    data = save(tmp_path / "a.png", squares(ANNA)).read_bytes()
    for name in ("a.png", "sub/../../b.png", ".hidden/c.png", "d.txt", "e.heic"):
        MemoryFile(Shaky(), f"{UrlFolder('shaky://e/src').root}/{name}", data).commit()
    dataset = open_url_dataset("shaky://e/src", "auto", None)
    assert dataset.photos == ["a.png"]
    assert sorted(item.file for item in dataset.skipped) == ["e.heic", "sub/../../b.png"]


def test_what_cannot_be_is_refused(shaky: type[Shaky], tmp_path: Path) -> None:
    put(album(tmp_path / "src", 2), "shaky://f/src")
    work = {"work": tmp_path / "w"}
    asked: list[tuple[str | Path, str | Path, dict[str, Any], str]] = [
        ("shaky://f/src", "shaky://f/dst", {}, "needs --work"),
        ("shaky://f/src", "shaky://f/src/out", work, "DST lies inside SRC"),
        ("shaky://f/src/", "shaky://f", work, "SRC lies inside DST"),
        ("shaky://f/src", "shaky://f/src/", work, "lies inside"),
        ("shaky://f/none", "shaky://f/dst", work, "no photograph"),
        ("nonsense://f/src", tmp_path / "dst", {}, "cannot open"),
        ("shaky://f/src", tmp_path / "dst", {"layout": "celeba"}, "only plain folders"),
        (tmp_path / "src", "shaky://f/dst", {"work": tmp_path / "src" / "w"}, "WORK lies inside SRC")]
    for src, dst, more, words in asked:
        with pytest.raises(UsageError, match=words):
            fake_run.run(src, dst, **more)


def test_originals_are_never_written_over(brush: None, tmp_path: Path) -> None:
    """Whichever way one folder is called."""
    src = album(tmp_path / "src", 2)
    before = photos_in(src)
    for one, other in ((src, f"file://{src}"), (f"file://{src}", f"file://{src}/out"), (f"file://{src}/0", src)):
        with pytest.raises(UsageError, match=r"inside SRC|inside DST"):
            fake_run.run(one, other, work=tmp_path / "w")
    containers.tars(tmp_path / "tars", {"a.tar": 2})
    with pytest.raises(UsageError, match="cannot be written to a URL"):
        fake_run.run(tmp_path / "tars", f"file://{tmp_path}/out", work=tmp_path / "w")
    assert photos_in(src) == before


class Kept(MemoryFileSystem):
    """Answers from what it has listed, as s3fs does, until it is told to forget."""

    protocol = "kept"
    cachable = False
    listed: ClassVar[dict[str, Any]] = {}

    def find(self, path: str, *args: Any, **more: Any) -> Any:
        if not Kept.listed:
            Kept.listed = super().find(path, detail=True)
        return sorted(Kept.listed)

    def info(self, path: str, **more: Any) -> Any:
        if not Kept.listed:
            return super().info(path, **more)
        if f"/{path.lstrip('/')}" not in Kept.listed:
            raise FileNotFoundError(path)
        return Kept.listed[f"/{path.lstrip('/')}"]

    def invalidate_cache(self, path: str | None = None) -> None:
        Kept.listed = {}


def test_listings_that_a_store_keeps_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("kept", Kept, clobber=True)
    Kept.store, Kept.pseudo_dirs, Kept.listed = {}, [""], {}
    folder, others = UrlFolder("kept://a"), Kept()
    writer = UrlWriter(folder)
    others.pipe_file(f"{folder.root}/1.png", b"1")
    assert folder.names() == ["1.png"] and writer.has(0, "1.png", 1)
    others.pipe_file(f"{folder.root}/2.png", b"22")  # of another rank, or another client
    assert writer.has(0, "2.png", 2) and not writer.has(0, "2.png", 3)
    assert folder.names() == ["1.png", "2.png"]
    others.pipe_file(f"{folder.root}/3.png", b"3")
    folder.remove("3.png")
    folder.remove("4.png")
    assert folder.names() == ["1.png", "2.png"]


def test_a_store_s_own_errors_are_told_as_a_disk_s(shaky: type[Shaky], monkeypatch: pytest.MonkeyPatch) -> None:
    class HttpError(Exception):
        """As gcsfs has it."""

    tried = list[str]()

    def fail(self: Shaky, path: str) -> bytes:
        tried.append(path)
        raise HttpError("503")

    monkeypatch.setattr(Shaky, "cat_file", fail)
    with pytest.raises(OutputError, match=r"a\.png cannot be fetched: 503"):
        UrlReader(UrlFolder("shaky://a")).data("a.png")
    assert len(tried) == module.TRIES


def test_a_remote_folder_can_be_sent_to_another_process(shaky: type[Shaky]) -> None:
    there = pickle.loads(pickle.dumps(UrlReader(UrlFolder("shaky://g/src/"))))
    assert there.folder.url == "shaky://g/src"
    with pytest.raises(PhotoError, match="it is not there any more"):
        there.data("none.png")


def test_paths_are_no_urls() -> None:
    assert is_url("s3://bucket/a") and not any(map(is_url, ("/a/b", "a:b", "C:\\a", "s3:/a")))
