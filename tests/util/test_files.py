from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mien
from mien.errors import OutputError
from mien.util.files import replace_file, write_errors


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    for text in ("one", "two"):
        replace_file(path, lambda target, text=text: target.write_text(text) and None)
        assert path.read_text() == text
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    replace_file(path, lambda target: target.write_text("one"))
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_while_it_is_written_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(target: Path) -> None:
        target.write_text("new")
        assert path.read_text() == "old"
        assert target.parent == tmp_path  # renaming across disks is no renaming
        assert target.name.startswith(".")  # nobody's listing takes it for a photo

    replace_file(path, write)
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_one_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(target: Path) -> None:
        target.write_text("half")
        raise error

    with pytest.raises(type(error)):
        replace_file(path, write)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        replace_file(tmp_path / "file.txt", lambda target: None)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        replace_file(tmp_path / "missing" / "file.txt", lambda target: target.write_text("x") and None)


def test_killed_in_the_middle_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = f"""
import os, signal
from pathlib import Path
from mien.errors import OutputError
from mien.util.files import replace_file, write_errors
def write(target):
    target.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
replace_file(Path({str(path)!r}), write)
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=120,
                          env=os.environ | {"PYTHONPATH": str(Path(mien.__file__).parents[1])})
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    replace_file(path, lambda target: target.write_text("new") and None)
    assert path.read_text() == "new"


def test_what_the_disk_says_becomes_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left") as caught, write_errors(tmp_path):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))
    assert "space" in caught.value.hint and str(tmp_path / "x") in caught.value.message


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write") as caught, write_errors(tmp_path):
        (tmp_path / "file" / "folder").mkdir()
    assert "a file is where a folder is needed" in caught.value.hint
