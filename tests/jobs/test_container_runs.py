"""Whole runs on photographs that lie in tars and in tables: what comes out has the same form, and no original in it."""

from __future__ import annotations

import gc
import gzip
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import containers, fake_run
from helpers.containers import decoded, in_tar, photo
from helpers.fake_run import ANNA, CLEO, STUBBORN, TINY, call, photos_in, rows_in
from helpers.killed_runs import in_a_process, run_and_die, run_in_shards_of_two
from mien.anonymizer.pipeline import Pipeline
from mien.datasets.registry import open_dataset
from mien.datasets.storage.base import photo_of
from mien.datasets.storage.parquet import RowWriter
from mien.datasets.storage.tar import TarWriter
from mien.errors import OutputError, UsageError
from mien.evaluation.pairs import find_pairs
from mien.jobs.executors.workers import Workers
from mien.report.run_page import report_from_folder

DROP = TINY.with_changes({"on_failure": "drop"})
TARS = {"train-000000.tar": 5, "train-000001.tar": 2, "val-000000.tar": 3}
DRAW: dict[str, Callable[[Path], Path]] = {"webdataset": lambda root: containers.tars(root, TARS),
                                           "huggingface": containers.parquets}


def images(dst: Path) -> dict[str, bytes]:
    """File and number of every photo in a result -> its bytes."""
    found = {f"{path.name}/{name}": data for path in sorted(dst.glob("*.tar")) for name, data in in_tar(path).items()}
    for path in sorted(dst.glob("data/*.parquet")):
        for row, value in enumerate(pq.read_table(path).column("image").to_pylist()):
            found |= {f"data/{path.name}/{row}": value["bytes"]} if value else {}
    return found


@pytest.mark.parametrize("layout", DRAW)
def test_a_dataset_comes_back_in_the_same_form(brush: None, tmp_path: Path, layout: str) -> None:
    src, dst = DRAW[layout](tmp_path / "src"), tmp_path / "dst"
    before = open_dataset(src)
    summary = fake_run.run(src, dst)
    after = open_dataset(dst)
    assert summary.layout == layout and summary.photos == len(before.photos)
    assert (after.layout, after.photos, after.splits, after.classes) == (
        layout, before.photos, before.splits, before.classes)
    assert set(photos_in(dst)) == set(photos_in(src))
    statuses = {row["file"]: row["status"] for row in rows_in(dst)}
    for name in before.photos:
        same = np.array_equal(photo_of(before.reader, name).pixels, photo_of(after.reader, name).pixels)
        assert same == (name not in statuses), "faces are changed, and nothing where there is none"
    assert str(tmp_path) not in (dst / "mien.json").read_text()


@pytest.mark.parametrize("layout", DRAW)
def test_several_processes_and_a_second_call_leave_the_same(brush: None, tmp_path: Path, layout: str,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    src = DRAW[layout](tmp_path / "src")
    fake_run.run(src, tmp_path / "one")
    fake_run.run(src, tmp_path / "two", workers=Workers(2))
    assert photos_in(tmp_path / "one") == photos_in(tmp_path / "two")
    assert rows_in(tmp_path / "one") == rows_in(tmp_path / "two")
    monkeypatch.setattr(Pipeline, "run", lambda *_: pytest.fail("nothing is missing"))
    for writer in ("tar.TarWriter", "parquet.RowWriter"):
        monkeypatch.setattr(f"mien.datasets.storage.{writer}.join", lambda *_: pytest.fail("nothing is to be joined"))
    fake_run.run(src, tmp_path / "one")
    assert photos_in(tmp_path / "one") == photos_in(tmp_path / "two")


@pytest.mark.parametrize("layout", DRAW)
def test_a_subset_is_written_alone(brush: None, tmp_path: Path, layout: str) -> None:
    src, dst = DRAW[layout](tmp_path / "src"), tmp_path / "dst"
    assert fake_run.run(src, dst, subset="val").photos == 3
    assert [Path(name).name for name in photos_in(dst)] == [
        "val-000000.tar" if layout == "webdataset" else "validation-00000-of-00001.parquet"]


@pytest.mark.parametrize("layout", DRAW)
def test_a_run_may_die_at_any_moment(tmp_path: Path, layout: str) -> None:
    """The last moments are those of the files that pieces are joined to. One run dies again and again."""
    src, whole, dst = DRAW[layout](tmp_path / "src"), tmp_path / "whole", tmp_path / "dst"
    assert in_a_process(run_and_die, 0, src, whole) == 0
    files, rows, moments = photos_in(whole), rows_in(whole), int((tmp_path / "moments").read_text())
    assert moments > 30
    for moment in (moments // 2, 7):
        assert in_a_process(run_and_die, moment, src, dst) == -signal.SIGKILL
        assert all(data == files[name] for name, data in photos_in(dst).items() if "/." not in f"/{name}")
    assert in_a_process(run_in_shards_of_two, src, dst) == 0
    assert photos_in(dst) == files and rows_in(dst) == rows


@pytest.mark.parametrize("layout", DRAW)
def test_the_joining_may_die_at_any_moment(brush: None, tmp_path: Path, layout: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors in place of a death, which would take longer: nothing that is left behind is looked at."""
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    src, dst = DRAW[layout](tmp_path / "src"), tmp_path / "dst"
    fake_run.run(src, dst)
    files = photos_in(dst)
    for moment in range(6):  # a file and its record, three times
        for path in (*dst.rglob("*.tar"), *dst.glob("data/*")):
            path.unlink()
        fatal = iter([None] * moment)

        def replace(*args: Any, really: Any = os.replace, left: Any = fatal) -> None:
            if next(left, "dead") == "dead":
                raise KeyboardInterrupt
            really(*args)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("os.replace", replace)
            fake_run.run(src, dst)
        assert all(data == files[name] for name, data in photos_in(dst).items())
        fake_run.run(src, dst)
        assert photos_in(dst) == files


def test_a_table_that_is_written_anew_during_the_run_is_not_joined(brush: None, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns were looked into before: what came since might show the originals."""
    src, dst, really = DRAW["huggingface"](tmp_path / "src"), tmp_path / "dst", RowWriter.join
    files = sorted(src.rglob("*.parquet"))

    def join(self: RowWriter, container: str, *args: Any) -> Any:
        table = pq.read_table(src / container)
        pq.write_table(table.append_column("thumbnail", pa.array([b"\xff\xd8\xff"] * len(table))), src / container)
        return really(self, container, *args)

    monkeypatch.setattr(RowWriter, "join", join)
    with pytest.raises(OutputError, match="was changed during the run"):
        fake_run.run(src, dst)
    assert files and not list(dst.rglob("*.parquet"))


def test_a_tar_that_gives_less_than_before_is_not_joined(brush: None, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst, really = DRAW["webdataset"](tmp_path / "src"), tmp_path / "dst", TarWriter.join

    def join(self: TarWriter, container: str, where: Any, path: Path) -> Any:
        return really(self, container, where | {f"{container}/other.png": (path, 0, 0)}, path)

    monkeypatch.setattr(TarWriter, "join", join)
    with pytest.raises(OutputError, match="is no longer the tar"):
        fake_run.run(src, dst)
    assert not list(dst.rglob("*.tar"))


def test_samples_leave_whole_and_keep_their_order(brush: None, tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    containers.tar(src / "a.tar", [
        ("1.json", b"{}"), ("1.png", photo(1, ANNA)), ("1.txt", b"one"),
        ("2.png", photo(2, STUBBORN)), ("2.json", b"{}"),
        ("3.left.png", photo(3, CLEO)), ("3.right.png", photo(4, ANNA)), ("3.cls", b"3"),
        ("4.a.png", photo(3, CLEO)), ("4.b.png", b"no picture"), ("4.cls", b"4"),
        ("5.ico", containers.icon()), ("6.ico", containers.icon()), ("6.PNG", photo(6, ANNA)),
        ("7.heic", b"\0\0\0\x18ftypheic" + bytes(40)), ("7.json", b"{}"), ("8.json", b"{}"), ("9.mp4", b"film"),
        ("README", b"about")])
    summary = fake_run.run(src, dst, DROP)
    assert list(in_tar(dst / "a.tar")) == ["1.json", "1.png", "1.txt", "3.left.png", "3.right.png", "3.cls", "5.png",
                                           "6.ico.png", "6.PNG", "8.json", "README"]
    reasons = {one.file: one.reason for one in summary.skipped}
    assert set(reasons) == {f"a.tar/{name}" for name in ("2.png", "4.a.png", "4.b.png", "7.heic", "9.mp4")}
    assert reasons["a.tar/4.a.png"] == "another photograph of its sample is missing"
    assert "HEIC" in reasons["a.tar/7.heic"] and "a film" in reasons["a.tar/9.mp4"]
    assert summary.photos == 6 == len(summary.outputs) and "a.tar/4.a.png" not in summary.outputs
    assert any("carried over byte for byte: .json 4" in note for note in summary.notes)
    again = fake_run.run(src, dst, DROP)
    assert (again.photos, again.skipped) == (summary.photos, summary.skipped)


def test_headers_say_nothing_of_owners_and_times(brush: None, tmp_path: Path) -> None:
    fake_run.run(containers.tars(tmp_path / "src", {"a.tar": 2}), tmp_path / "dst")
    data = (tmp_path / "dst" / "a.tar").read_bytes()
    assert b"anna" not in data and b"anna" in (tmp_path / "src" / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "dst" / "a.tar") as file:
        assert {(info.mtime, info.uid, info.gid, info.mode) for info in file} == {(0, 0, 0, 0o644)}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_webdataset_library_reads_the_result(brush: None, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    src, dst = containers.tars(tmp_path / "src", TARS), tmp_path / "dst"
    fake_run.run(src, dst)
    urls = [str(dst / name) for name in TARS]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    gc.collect()  # the library leaves its files open
    assert [sample["__key__"] for sample in samples] == [f"{i:06d}" for i in range(10)]
    assert [sample["json"]["n"] for sample in samples] == list(range(10))
    assert np.array_equal(np.asarray(samples[1]["png"]), decoded(in_tar(dst / "train-000000.tar")["000001.png"]))


def test_one_tar_is_a_dataset_and_a_changed_one_is_done_again(brush: None, tmp_path: Path) -> None:
    src, dst = containers.tars(tmp_path / "src", {"a.tar": 3}) / "a.tar", tmp_path / "dst"
    assert fake_run.run(src, dst).photos == 3
    before = photos_in(dst)
    containers.tar(src, [("000001.png", photo(1, CLEO)), ("000001.json", b"{}")])
    summary = fake_run.run(src, dst)
    assert list(in_tar(dst / "a.tar")) == ["000001.png", "000001.json"] and photos_in(dst) != before
    assert {one.file for one in summary.skipped} == {"a.tar/000000.png", "a.tar/000002.png"}


@pytest.mark.parametrize("layout", DRAW)
def test_what_was_taken_away_leaves_the_result_even_before_the_end(brush: None, tmp_path: Path, layout: str,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst = DRAW[layout](tmp_path / "src"), tmp_path / "dst"
    fake_run.run(src, dst)
    gone = next(path for path in src.rglob("val*"))
    gone.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mien.jobs.worker.Worker.do", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        fake_run.run(src, dst)
    assert not (dst / gone.relative_to(src)).exists()
    summary = fake_run.run(src, dst)
    assert set(photos_in(dst)) == set(photos_in(src)) and summary.photos == len(open_dataset(src).photos)


def test_rows_keep_all_but_the_photograph(brush: None, tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    rows = containers.table([
        {"bytes": photo(1, ANNA), "path": "/home/anna/1.png"}, None, {"bytes": photo(2, STUBBORN), "path": "2.png"},
        {"bytes": containers.icon(), "path": "zip://in/3.ico::hf://x.zip"}, {"bytes": b"no picture", "path": None},
        {"bytes": None, "path": "/home/anna/5.png"}, {"bytes": photo(6, CLEO), "path": None}])
    containers.parquet(src / "photos.parquet", rows)
    summary = fake_run.run(src, dst, DROP)
    new = pq.read_table(dst / "data" / "train-00000-of-00001.parquet")
    assert new.schema.equals(rows.schema, check_metadata=True)
    assert new.column("caption").to_pylist() == ["row 0", "row 1", "row 3", "row 6"]
    assert new.column("label").to_pylist() == [0, 1, 1, 0]
    values = new.column("image").to_pylist()
    assert [value and value["path"] for value in values] == ["1.png", None, "3.png", None]
    assert values[0]["bytes"] != photo(1, ANNA) and values[2]["bytes"].startswith(b"\x89PNG")
    reasons = {one.file.rpartition("/")[2]: one.reason for one in summary.skipped}
    assert set(reasons) == {"000002.png", "000004.bin", "000005.bin"} and "only its path" in reasons["000005.bin"]
    assert any("1 row without a photograph (null)" in note for note in summary.notes)
    assert any("as they are: label, caption" in note for note in summary.notes)
    assert b"/home/anna" not in (dst / "data" / "train-00000-of-00001.parquet").read_bytes()


def test_a_row_of_two_photographs_leaves_with_either(brush: None, tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    second = pa.array([{"bytes": photo(i, person)} for i, person in enumerate((CLEO, STUBBORN, ANNA))], kind)
    first = [{"bytes": photo(i, ANNA)} for i in range(3)]
    features = containers.FEATURES | {"other view": {"_type": "Image"}}
    containers.parquet(tmp_path / "src" / "a.parquet", containers.table(first, features, **{"other view": second}))
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", DROP)
    new = pq.read_table(tmp_path / "dst" / "data" / "train-00000-of-00001.parquet")
    assert new.column("caption").to_pylist() == ["row 0", "row 2"]
    assert not {value["bytes"] for value in new.column("other view").to_pylist()} & {photo(0, CLEO), photo(2, ANNA)}
    assert {one.file for one in summary.skipped} == {"a.parquet/000001.image.png", "a.parquet/000001.other_view.png"}
    assert summary.photos == 4


@pytest.mark.parametrize("form", ["dict", "dataset", "repository"])
def test_the_datasets_library_reads_the_result(brush: None, tmp_path: Path, form: str,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    src, dst = tmp_path / "src", tmp_path / "dst"
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    values = {"image": [{"bytes": photo(i), "path": None} for i in range(5)], "label": [0, 1, 0, 1, 1]}
    one = datasets.Dataset.from_dict(values, features=features)
    if form == "repository":
        containers.parquets(src)
    else:
        (datasets.DatasetDict(train=one, validation=one) if form == "dict" else one).save_to_disk(src)
    before = open_dataset(src)
    summary = fake_run.run(src, dst)
    found = datasets.load_dataset("parquet", data_dir=str(dst), cache_dir=str(tmp_path / "cache"))
    assert summary.photos == len(before.photos) == sum(map(len, found.values()))
    assert set(found) == ({"train"} if form == "dataset" else {"train", "validation"})
    if form != "repository":
        assert found["train"].features == features and found["train"]["label"] == values["label"]
        assert set(before.classes.values()) == {"a", "b"}
        assert found["train"][1]["image"].size == tuple(reversed(decoded(photo(1)).shape[:2]))
    pictures = [np.asarray(row["image"].convert("RGB")) for row in found["train"]]
    assert not np.array_equal(pictures[1], decoded(photo(1))) and np.array_equal(pictures[2], decoded(photo(2)))


@pytest.mark.parametrize("layout", DRAW)
def test_what_needs_files_says_so(brush: None, tmp_path: Path, layout: str) -> None:
    src, dst, words = DRAW[layout](tmp_path / "src"), tmp_path / "dst", "this needs photographs that are files"
    done = call("anonymize", src, dst, "--with-originals")
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    fake_run.run(src, dst)
    with pytest.raises(UsageError, match=words):
        find_pairs(src, dst)
    with pytest.raises(UsageError, match=words):
        report_from_folder(dst, src, None)
    assert report_from_folder(dst, None, None).exists()


def test_the_command_takes_tars(tmp_path: Path) -> None:
    src = containers.tars(tmp_path / "src", {"train-0.tar": 2, "val-0.tar": 1})
    done = call("anonymize", src, tmp_path / "dst", "--subset", "train")
    assert done.returncode == 0, done.stderr
    assert "webdataset" in done.stderr and "may lead to people" in done.stderr
    assert list(photos_in(tmp_path / "dst")) == ["train-0.tar"]
    assert json.loads((tmp_path / "dst" / "mien.json").read_text())["splits"] == {"train": 2}
    packed = gzip.compress((src / "val-0.tar").read_bytes())
    shutil.rmtree(src)
    src.mkdir()
    (src / "val-0.tar.gz").write_bytes(packed)
    done = call("anonymize", src, tmp_path / "other")
    assert done.returncode == 2 and "is compressed" in done.stderr
    with pytest.raises(UsageError, match="is compressed"):
        open_dataset(src / "val-0.tar.gz")
