"""Checkpoint files by hand: the honest ones as torch reads them, the others refused at no cost."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from helpers.fake_run import environment
from helpers.nvidia_pickles import write_snapshot
from mien.errors import ModelError
from mien.models.formats.torch_file import read_checkpoint, tensors_of
from mien.models.hub.imported import import_file, published_folder

EMPTY = b"\x80\x02}"  # a dict
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"


def content() -> dict[str, Any]:
    base = torch.arange(12.0)
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    return {"state": state, "turned": base.reshape(3, 4).T, "part": base[2:5], "same": base, "half": base.half(),
            "bf16": base.bfloat16(), "double": base.double(), "flag": base > 3, "none": torch.zeros(0, 3),
            "scalar": torch.tensor(7), "parameter": nn.Parameter(base.clone()), "wide": torch.ones(1).expand(3),
            "opts": argparse.Namespace(device=torch.device("cpu"), size=torch.Size([1, 2])), "epoch": 3, "list": [1]}


def saved(value: Any, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def number(value: int) -> bytes:
    """A pickle's code for a whole number."""
    return b"\x8a\x08" + struct.pack("<q", value)


def archive(listing: bytes, stored: bytes = bytes(16), packing: int = zipfile.ZIP_STORED, root: str = "a/") -> bytes:
    """What torch writes since 1.6, with this pickle and one storage."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{root}data.pkl", listing)
        made.writestr(f"{root}data/0", stored, packing)
    return file.getvalue()


def tensor(size: tuple[int, ...], stride: tuple[int, ...], count: int = 4, offset: int = 0) -> bytes:
    """A pickle's codes for a tensor of storage 0."""
    numbers = [b"(" + b"".join(map(number, row)) + b"t" for row in (size, stride)]
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + number(count) + b"tQ" + number(offset)
            + numbers[0] + numbers[1] + b"\x89}tR")


def named(code: bytes) -> bytes:
    return EMPTY + b"X\x01\x00\x00\x00x" + code + b"s."


def nested(storage: bytes, times: int) -> bytes:
    """The same pickled storage, unpacked again and again."""
    first = b"B" + struct.pack("<I", len(storage)) + storage + b"q\x01\x85R"
    again = b"ctorch.storage\n_load_from_bytes\nh\x01\x85R"
    return b"\x80\x02]ctorch.storage\n_load_from_bytes\n" + first + b"a" + (again + b"a") * times + b"."


def doubled(code: bytes, times: int = 60) -> bytes:
    """Codes that make two of one, over and over."""
    return b"".join(code.replace(b"#", bytes([i])).replace(b"$", bytes([i + 1])) for i in range(times))


HUGE = 1 << 36
HOSTILE: dict[str, tuple[bytes, str]] = {
    "packed": (archive(named(tensor((4,), (1,))), bytes(10**7), zipfile.ZIP_DEFLATED), "compressed"),
    "stretched": (archive(named(tensor((10**6, 10**6), (0, 0)))), "more numbers than the file holds"),
    "overlapping": (archive(b"\x80\x02](" + tensor((10**5,), (1,), 10**5) * 9 + b"e.", bytes(4 * 10**5)),
                    "more numbers"),
    "beyond its storage": (archive(named(tensor((2,), (10**12,)))), "larger than its numbers"),
    "before its storage": (archive(named(tensor((4,), (1,), 4, -4))), "without numbers"),
    "backwards": (archive(named(tensor((4,), (-1,), 4, 3))), "without numbers"),
    "negative": (archive(named(tensor((-4,), (1,)))), "without numbers"),
    "longer storage": (archive(named(tensor((4,), (1,), HUGE))), "shorter than it says"),
    "negative storage": (archive(named(tensor((4,), (1,), -4))), "something else than a storage"),
    "attributes of a tensor": (archive(named(tensor((4,), (1,)) + b"(" + tensor((4,), (1,)) + number(0)
                                             + b"(" + number(HUGE) + b"t(" + number(0) + b"ttb")), "has none"),
    "attributes of a function": (b"\x80\x02ctorch._utils\n_rebuild_parameter\nN}X\x0c\x00\x00\x00__defaults__Ns\x86b.",
                                 "attributes for something that has none"),
    "sum of tensors": (archive(named(tensor((4,), (1,)) + b"(" + tensor((4,), (1,)) + b"\x90")), "has none"),
    "one into a tensor": (archive(named(tensor((4,), (1,)) + number(0) + number(1) + b"s")), "has none"),
    "another function": (b"\x80\x02cbuiltins\ngetattr\n.", "builtins.getattr"),
    "another of torch's": (b"\x80\x02ctorch\nload\n.", "torch.load"),
    "dotted": (b"\x80\x04\x8c\x05torch\x8c\x0cserializatio\x93.", "torch.serializatio"),
    "big memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "no published network"),
    "big bytes": (b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b".", ""),
    "big bytearray": (b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b".", "no pickle"),
    "big frame": (b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b".", ""),
    "big number": (b"\x80\x02\x8b\xff\xff\xff\x7f.", ""),
    "text": (b"<html>not found</html>", "no pickle"),
    "tuples of tuples as a key": (b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s.", "unhashable"),
    "dicts of dicts": (b"\x80\x02}q\x00" + doubled(b"}q$X\x01\x00\x00\x00ah#sX\x01\x00\x00\x00bh#s") + b".",
                       "more values"),
    "in a circle": (EMPTY + b"q\x00X\x01\x00\x00\x00ah\x00s.", "more values"),
    "lists of lists": (b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", "no published network"),
    "unpacked again and again": (nested(saved(torch.zeros(10**5)._typed_storage(), legacy=True), 10**3),
                                 "more numbers"),
    "storage within storage": (nested(nested(b"", 1), 1), "_load_from_bytes"),
    "no pickle where torch has it": (archive(named(b"N"), root="a/b/"), "not of torch's making"),
    "nothing": (b"", "too early"),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_torch_saves_is_read_as_torch_reads_it(tmp_path: Path, legacy: bool) -> None:
    wanted = content()
    (tmp_path / "file.pth").write_bytes(saved(wanted, legacy))
    found = read_checkpoint(tmp_path / "file.pth")
    for key, value in wanted.items():
        if isinstance(value, Tensor):
            assert found[key].dtype == value.dtype and torch.equal(found[key], value), key
    assert found["state"].keys() == wanted["state"].keys()
    assert all(torch.equal(found["state"][key], value) for key, value in wanted["state"].items())
    assert (found["epoch"], found["list"]) == (3, [1])
    assert found["same"].untyped_storage().data_ptr() == found["part"].untyped_storage().data_ptr()


def test_the_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """Text of one byte a letter, and dicts made of pairs."""
    listing = b"\x80\x02ccollections\nOrderedDict\n]]U\x01x" + tensor((4,), (1,)) + b"ea\x85R."
    listing = listing.replace(b"]]U\x01x", b"]](U\x01x").replace(b"X\x07\x00\x00\x00storage", b"U\x07storage")
    numbers = struct.pack("<4f", 1, 2, 3, 4)
    (tmp_path / "file.pth").write_bytes(archive(listing, numbers))
    assert read_checkpoint(tmp_path / "file.pth")["x"].tolist() == [1, 2, 3, 4]


def test_a_legacy_view_of_a_storage(tmp_path: Path) -> None:
    parts = [pickle.dumps(torch.serialization.MAGIC_NUMBER, 2), pickle.dumps(1001, 2), pickle.dumps({}, 2)]
    part = b"(X\x01\x00\x00\x00v" + number(1) + number(2) + b"t"
    view = tensor((2,), (1,)).replace(number(4) + b"tQ", number(4) + part + b"tQ")
    stored = struct.pack("<q4f", 4, 1, 2, 3, 4)
    (tmp_path / "file.pth").write_bytes(b"".join([*parts, named(view), pickle.dumps(["0"], 2), stored]))
    assert read_checkpoint(tmp_path / "file.pth")["x"].tolist() == [2, 3]


def test_a_legacy_storage_that_never_comes_is_missed(tmp_path: Path) -> None:
    parts = [pickle.dumps(torch.serialization.MAGIC_NUMBER, 2), pickle.dumps(1001, 2), pickle.dumps({}, 2)]
    end = tensor((2,), (1,)).replace(number(4) + b"tQ", number(4) + b"NtQ")
    (tmp_path / "file.pth").write_bytes(b"".join([*parts, named(end), pickle.dumps([], 2), bytes(100)]))
    with pytest.raises(ModelError, match="a storage is missing"):
        read_checkpoint(tmp_path / "file.pth")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, cache: Path, name: str) -> None:
    data, words = HOSTILE[name]
    (tmp_path / "file.pth").write_bytes(data)
    with pytest.raises(ModelError) as refused:
        import_file(tmp_path / "file.pth")
    assert "file.pth" in refused.value.message and words in refused.value.message
    assert not cache.exists()


def test_hostile_files_take_no_memory(tmp_path: Path) -> None:
    for name, (data, _) in HOSTILE.items():
        (tmp_path / name).write_bytes(data)
    script = """
import resource, sys
from pathlib import Path
from mien.errors import ModelError
from mien.models.hub.imported import import_file
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import mien.models.formats.torch_file
before = used()
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        import_file(path)
    except ModelError:
        print(path.name, used() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=100,
                          env=environment(MIEN_CACHE=str(tmp_path / "cache")))
    rows = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert {name for name, _ in rows} == HOSTILE.keys(), done.stderr
    assert max(int(kilobytes) for _, kilobytes in rows) < 200_000


def test_two_members_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.pth", "w") as made:
        made.writestr("a/data.pkl", named(tensor((4,), (1,))))
        made.writestr("a/data/0", bytes(16))
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a/data/0", b"x" * 16)
    with pytest.raises(ModelError, match="not of torch's making"):
        read_checkpoint(tmp_path / "file.pth")


def test_members_named_like_places_elsewhere_are_written_nowhere(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file.pth").write_bytes(archive(named(tensor((4,), (1,))), root="../"))
    assert read_checkpoint(tmp_path / "inner" / "file.pth")["x"].tolist() == [0, 0, 0, 0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file.pth", "inner"]


def test_what_is_no_file_is_told_so_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, words in (("pipe", "is not a file"), ("link", "No such file"), (".", "is a folder")):
        with pytest.raises(ModelError, match=words):
            read_checkpoint(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(saved(content()))
    (tmp_path / "file.pth").chmod(0)
    with pytest.raises(ModelError, match="Permission denied"):
        read_checkpoint(tmp_path / "file.pth")


def test_control_letters_in_names_reach_no_terminal(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "file.pth").write_bytes(saved({"\x1b[2J\n": torch.ones(2)}))
    with pytest.raises(ModelError) as refused:
        import_file(tmp_path / "file.pth")
    assert refused.value.message.isprintable() and r"\x1b[2J\n" in refused.value.message


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A small file of each kind."""
    folder = tmp_path_factory.mktemp("valid")
    torch.jit.script(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())).save(str(folder / "script.pt"))
    state = {"synthesis.b4.const": torch.ones(2, 4, 4), "mapping.w_avg": torch.ones(2)}
    write_snapshot(folder / "ffhq.pkl", state, folder / "executed")
    small = OrderedDict(a=torch.ones(3), b=[torch.zeros(2, 2)], c={"d": nn.Parameter(torch.ones(1))})
    files = [saved(small), saved(small, legacy=True), (folder / "script.pt").read_bytes(),
             (folder / "ffhq.pkl").read_bytes()]
    for data in files:
        (folder / "whole").write_bytes(data)
        assert len(tensors_of(read_checkpoint(folder / "whole"))) >= 2
    return files


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_and_changed_files_fail_in_words(tmp_path: Path, cache: Path, valid: list[bytes],
                                             data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(valid)))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "file.pth").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"file\.pth"):  # none of the small ones is a published network
        import_file(tmp_path / "file.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert not cache.exists() and not published_folder().exists()
