"""Tars of samples: what is a photograph, what goes along, and what is refused."""

from __future__ import annotations

import base64
import errno
import gzip
import io
import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers import containers
from helpers.containers import photo
from helpers.fake_run import save, squares
from mien.cli.datasets import datasets_app
from mien.datasets.dataset import Dataset
from mien.datasets.layouts.webdataset import split_of
from mien.datasets.registry import open_dataset
from mien.datasets.storage.base import photo_of, state_of
from mien.datasets.storage.tar import index_tar
from mien.errors import OutputError, PhotoError, UsageError


def opened(root: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> Dataset:
    containers.tar(root / "a.tar", [("ok.png", photo(1)), *members])
    return open_dataset(root)


def reasons(dataset: Dataset) -> dict[str, str]:
    return {one.file: one.reason for one in dataset.skipped}


def test_photos_are_read_where_they_lie(tmp_path: Path) -> None:
    photos = {"train-0.tar": 3, "validation-0.tar": 1, "Test_1.tar": 1}
    dataset = open_dataset(containers.tars(tmp_path / "src", photos))
    assert dataset.layout == "webdataset" and len(dataset.photos) == 5
    assert dataset.splits["train-0.tar/000001.png"] == "train"
    assert dataset.count(dataset.photos) == {"train": 3, "val": 1, "test": 1}
    again = pickle.loads(pickle.dumps(dataset)).reader
    for number in range(3):
        name = f"train-0.tar/{number:06d}.png"
        assert np.array_equal(photo_of(again, name).pixels, containers.decoded(photo(number)))
        assert again.stamp(name) == dataset.reader.stamp(name) is not None
    assert again.stamp("train-0.tar/9.png") is again.stamp("b.tar/1.png") is None
    with pytest.raises(PhotoError, match=r"train-0\.tar/9\.png: the tar has no such member, or it is refused"):
        photo_of(again, "train-0.tar/9.png")


@pytest.mark.parametrize(("name", "split"), [("train-000.tar", "train"), ("val_1.tar", "val"), ("trainer.tar", ""),
                                             ("validation.tar", "val"), ("00001.tar", ""), ("testing-1.tar", "test")])
def test_splits_stand_in_the_names(name: str, split: str) -> None:
    assert split_of(name) == split


def test_a_photograph_beside_the_tars_makes_it_a_folder(tmp_path: Path) -> None:
    containers.tars(tmp_path, {"a.tar": 1})
    save(tmp_path / "pics" / "1.png", squares())
    assert open_dataset(tmp_path).layout == "folder"
    assert open_dataset(tmp_path, "webdataset").photos == ["a.tar/000000.png"]


def test_pictures_are_known_whatever_they_are_called(tmp_path: Path) -> None:
    dataset = opened(tmp_path, ("1.data", photo(1)), ("2", photo(2)), ("3.svg", b"<svg>"), ("4.txt", b"BMW, II, RIFF"),
                     ("5.mov", b""))
    assert dataset.photos == [f"a.tar/{name}" for name in ("ok.png", "1.data", "2", "3.svg", "5.mov")]
    with pytest.raises(PhotoError, match="a film"):
        photo_of(dataset.reader, "a.tar/5.mov")


def test_members_that_lead_out_or_are_no_files_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    folder = tarfile.TarInfo()
    folder.type = tarfile.DIRTYPE
    dataset = opened(tmp_path, ("../1.png", photo(1)), ("/2.png", photo(2)), ("a/../../3.json", b"{}"), ("a", folder),
                     ("a/4.png", link), ("a/4.json", b"{}"), ("5.png", photo(5)), ("5.json", link), ("a/._6.png", b""))
    assert dataset.photos == ["a.tar/ok.png"]
    found = reasons(dataset)
    assert set(found) == {f"a.tar/{name}" for name in
                          ("../1.png", "/2.png", "a/../../3.json", "a/4.png", "5.png", "5.json")}
    assert found["a.tar/../1.png"] == found["a.tar//2.png"] == "a name that leads out of the tar"
    assert found["a.tar/5.png"] == "its sample leaves with 5.json"
    assert list(index_tar(tmp_path / "a.tar").members) == ["ok.png"]
    assert "1 hidden members are not carried over" in dataset.notes


def test_names_that_come_twice(tmp_path: Path) -> None:
    dataset = opened(tmp_path, ("1.png", photo(1)), ("1.png", photo(2)), ("1.PNG", photo(3)))
    assert dataset.photos == ["a.tar/ok.png", "a.tar/1.png", "a.tar/1.PNG"]
    assert reasons(dataset) == {"a.tar/1.png": "another member of this name: only the first is taken"}
    assert np.array_equal(photo_of(dataset.reader, "a.tar/1.png").pixels, containers.decoded(photo(1)))
    assert any("1 members differ from others in case only" in note for note in dataset.notes)


@pytest.mark.parametrize("cut", ["content", "header", "garbage"])
def test_a_damaged_tar_gives_what_is_whole(tmp_path: Path, cut: str) -> None:
    path = containers.tar(tmp_path / "a.tar",
                          [("1.png", photo(1)), ("1.txt", b"one"), ("2.txt", b"two"), ("2.png", photo(2))])
    with tarfile.open(path) as file:
        last = file.getmember("2.png")
    data = path.read_bytes()
    end = {"content": last.offset_data + 100, "header": last.offset + 100, "garbage": last.offset}[cut]
    path.write_bytes(data[:end] + (b"x" * 2000 if cut == "garbage" else b""))
    dataset = open_dataset(tmp_path)
    assert dataset.photos == ["a.tar/1.png"]
    assert "damaged or cut short" in reasons(dataset)["a.tar"]
    if cut == "content":
        assert reasons(dataset)["a.tar/2.png"] == "cut short"
        assert list(index_tar(path).members) == ["1.png", "1.txt"]


@pytest.mark.parametrize("size", [b"-0001000\0\0\0\0", b"\xff" * 10 + b"\xfe\0"], ids=["octal", "binary"])
def test_a_member_with_a_size_below_zero_ends_the_tar(tmp_path: Path, size: bytes) -> None:
    """Python's own reading would begin again at the same header, for ever (CVE-2025-8194)."""
    opened(tmp_path, ("1.png", photo(1)), ("1.txt", b"text"), ("2.png", photo(2)))
    data = bytearray((tmp_path / "a.tar").read_bytes())
    at = data.index(b"1.txt\0")
    data[at + 124 : at + 136] = size
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    (tmp_path / "a.tar").write_bytes(data)
    index = index_tar(tmp_path / "a.tar")
    assert "1.png" in index.members and "2.png" not in index.members
    assert [one.file for one in index.skipped] == [""] and "is lost" in index.skipped[0].reason


def test_a_disk_that_does_not_answer_is_no_damaged_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(tmp_path, ("1.png", photo(1)))
    reader, really = dataset.reader, Path.open

    def fail(self: Path, *args: Any, **more: Any) -> Any:
        if self.suffix == ".tar":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return really(self, *args, **more)

    (tmp_path / "a.tar").touch()  # known by its state, it would not be opened again
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OutputError, match="cannot be looked at: Input/output error"):
        state_of(reader, "a.tar/1.png")
    with pytest.raises(OutputError, match="cannot be looked at: Input/output error"):
        reader.as_png("a.tar/1.png")
    with pytest.raises(PhotoError, match="cannot be read"):
        reader.data("a.tar/1.png")
    with pytest.raises(UsageError, match=r"a\.tar cannot be read: Input/output error"):
        open_dataset(tmp_path, "webdataset")


def test_reasons_name_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in mien.json, which is published."""
    opened(tmp_path, ("1.png", photo(1)))
    (tmp_path / "b.tar").write_bytes((tmp_path / "a.tar").read_bytes())
    really = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **more: really(
        tmp_path if self.name == "b.tar" else self, *args, **more))  # an error that names a path
    dataset = open_dataset(tmp_path, "webdataset")
    assert "b.tar" in reasons(dataset) and str(tmp_path) not in str(reasons(dataset))


def test_tars_without_anything_are_noted(tmp_path: Path) -> None:
    containers.tars(tmp_path, {"a.tar": 1})
    containers.tar(tmp_path / "b.tar", [("1.json", b"{}")])
    containers.tar(tmp_path / "c.tar", [])
    (tmp_path / "d.tar").touch()
    (tmp_path / "e.tar").write_text("no tar" * 200)
    (tmp_path / "README.md").touch()
    dataset = open_dataset(tmp_path)
    assert "without a photograph: b.tar, c.tar, d.tar, ..." in dataset.notes
    assert "not carried over: README.md" in dataset.notes
    assert {name: reason.partition(" (")[0] for name, reason in reasons(dataset).items()} == {
        "d.tar": "no tar, or a damaged one", "e.tar": "no tar, or a damaged one"}
    (tmp_path / "a.tar").unlink()
    with pytest.raises(UsageError, match="no tar has a photograph"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_compressed_tars_are_refused(tmp_path: Path, name: str) -> None:
    path = containers.tar(tmp_path / name, [("1.png", photo(1))])
    path.write_bytes(gzip.compress(path.read_bytes()))
    for src in (tmp_path, path):
        with pytest.raises(UsageError, match=f"{name} is compressed"):
            open_dataset(src)


@pytest.mark.parametrize("name", ["1.jpg.gz", "1.pdf", "1.bin", "1.npy", "1.x"])
def test_what_is_no_text_and_no_picture_stays_behind(tmp_path: Path, name: str) -> None:
    """It could show the original."""
    data = {"1.jpg.gz": gzip.compress(photo(1)), "1.pdf": b"%PDF-1.4\n" + photo(1),
            "1.bin": b"P6\n1 1\n255\n" + photo(1), "1.npy": b"\x93NUMPY" + photo(1), "1.x": b"junk" + photo(1)}[name]
    index = index_tar(opened(tmp_path, ("1.png", photo(1)), (name, data), ("1.json", b"{}")).root / "a.tar")
    assert not [one for one in index.members.values() if one.name == name and not one.picture]
    assert "1.json" in index.members and "1.png" in index.members


def written(kind: str) -> str:
    """A picture (or what may hold one) as text."""
    buffer = io.BytesIO()
    of = kind.partition(" ")[0].upper()
    known = ("PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
    Image.fromarray(squares((60, 70))).save(buffer, of if of in known else "JPEG")
    data = buffer.getvalue()
    text = base64.b64encode(data).decode()
    return {
        "jpeg escaped": text.replace("/", "\\/"), "jpeg for urls": base64.urlsafe_b64encode(data).decode(),
        "jpeg of mail": base64.encodebytes(data).decode(), "jpeg after a break": "picture:\\n" + text,
        "jpeg in a url": "data:image/jpeg;base64%2C" + text.replace("/", "%2F"),
        "jpeg in html": text.replace("/", "&#x2F;"),
        "jpeg in json": text.replace("/", "\\u002f"), "jpeg hex": data.hex(), "png hex": data.hex(),
        "jpeg of postgres": "\\x" + data.hex(), "jpeg of sql": "0x" + data.hex().upper(), "jpeg dumped": data.hex(" "),
        "jpeg of python": str(data), "png of python": json.dumps(str(data)), "jpeg numbers": str(list(data)),
        "png numbers": json.dumps(list(data), separators=(",", ":")),
        "jpeg of java": str([byte - 256 if byte > 127 else byte for byte in data]),
        "pixels": " ".join(map(str, squares()[:40, :40, 0].flatten())),
        "pixels of numpy": str(squares()[:24, :24].tolist()),
        "pixels of a table": ",".join(map(str, squares()[:40, :40, 0].flatten())),
        "jpeg2000 box": base64.b64encode(b"\0\0\0\x0cjP  \r\n\x87\n" + data).decode(),
        "jpeg2000 stream": base64.b64encode(b"\xff\x4f\xff\x51\0" + data).decode(),
        "jpeg xl": base64.b64encode(b"\0\0\0\x0cJXL \r\n\x87\n" + data).decode(),
        "psd": base64.b64encode(b"8BPS\0\1" + data).decode(), "qoi": base64.b64encode(b"qoif\0\0" + data).decode(),
        "gzip": base64.b64encode(gzip.compress(data)).decode(),
        "numpy": base64.b64encode(b"\x93NUMPY\1\0" + data).decode()}.get(kind, text)


KINDS = ("jpeg", "jpeg escaped", "jpeg for urls", "jpeg of mail", "jpeg after a break", "jpeg in a url", "jpeg in html",
         "jpeg in json", "jpeg hex", "png hex", "jpeg of postgres", "jpeg of sql", "jpeg dumped", "jpeg of python",
         "png of python", "jpeg numbers", "png numbers", "jpeg of java", "png", "gif", "webp", "tiff", "bmp", "avif",
         "gzip", "numpy", "pixels", "pixels of numpy", "pixels of a table", "jpeg2000 box", "jpeg2000 stream",
         "jpeg xl", "psd", "qoi")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ahead", [0, 5000, 2**20 - 30], ids=["at once", "later", "across what is read together"])
def test_a_text_with_a_picture_in_it_stays_behind(tmp_path: Path, kind: str, ahead: int) -> None:
    """As in the annotations of LabelMe."""
    text = f'{{"label": "{"x" * ahead}", "imageData": "{written(kind)}"}}'.encode()
    dataset = opened(tmp_path, ("1.png", photo(1)), ("1.json", text), ("2.png", photo(2)), ("2.json", b"{}"))
    assert reasons(dataset) == {"a.tar/1.json": "left out: a picture is written in it, and might show the original"}
    assert list(index_tar(tmp_path / "a.tar").members) == ["ok.png", "1.png", "2.png", "2.json"]


def test_other_texts_go_along(tmp_path: Path) -> None:
    noise = base64.b64encode(np.random.default_rng(0).bytes(3_000_000))
    words = "/9j/ iVBORw0KGgo UklGR, ffd8ff: how pictures begin. ä".encode() * 30_000
    digest = "ffd8ff" + "0" * 122
    pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    program = r"if head.startswith(b'\xff\xd8\xff'): return 'JPEG'  # \x89PNG, \x00"
    dataset = opened(tmp_path, ("1.png", photo(1)), ("1.txt", noise), ("1.json", words), ("1.sha512", digest.encode()),
                     ("1.html", f'<img src="{pixel}"> hello'.encode()), ("1.py", program.encode() * 10),
                     ("1.csv", b"255, 216, 254, 12, 13\n" * 300), ("1.pts", b"12 34 " * 478 + b"\n"),
                     ("1.coco", str([[i % 640, i % 480] for i in range(5000)]).encode()),
                     ("1.vec", str([i / 7 for i in range(2000)]).encode()))
    assert not dataset.skipped and "1.txt" in index_tar(tmp_path / "a.tar").members


def test_a_text_that_turns_into_something_else_stays_behind(tmp_path: Path) -> None:
    for tail in (photo(1), b"\0" * 10):
        dataset = opened(tmp_path, ("1.png", photo(1)), ("1.txt", b"text" * 1000 + tail))
        assert "it is no text" in reasons(dataset)["a.tar/1.txt"]


def test_a_new_suffix_takes_nobody_elses_name(tmp_path: Path) -> None:
    reader = opened(tmp_path, ("1.ico", containers.icon()), ("2.ico", containers.icon()), ("2.json", b""),
                    ("2.Png", photo(2)), ("3.a.ico", containers.icon()), ("3.a.psd", b""), ("d/4.ico", b""),
                    ("4", containers.icon())).reader
    assert [reader.as_png(f"a.tar/{name}") for name in ("1.ico", "2.ico", "3.a.ico", "d/4.ico", "4")] == [
        f"a.tar/{name}" for name in ("1.png", "2.ico.png", "3.a.ico.png", "d/4.png", "4.png")]


def test_what_may_lead_to_people_or_hold_pictures_is_said(tmp_path: Path) -> None:
    notes = opened(tmp_path, ("ok.json", b"{}"), ("ok.npy", b"")).notes
    assert any(note.startswith("carried over byte for byte: .json 1, .npy 1. Captions") for note in notes)
    assert ".npy may hold pictures too, which stay as they are: look into them" in notes


def test_check_says_what_it_is(tmp_path: Path) -> None:
    containers.tars(tmp_path, {"train-0.tar": 2})
    result = CliRunner().invoke(datasets_app, ["check", str(tmp_path), "--pictures"])
    assert result.exit_code == 0 and "WebDataset (layout webdataset)" in result.stdout, result.stdout
    assert "damaged:\n  - none" in result.stdout
