from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mien
from mien.errors import OutputError
from mien.util.files import read_object, replace_file, write_errors, write_file, write_files


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


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "photo.png"
    write_file(target, b"one")
    write_file(target, b"two")
    assert target.read_bytes() == b"two"
    assert [entry.name for entry in target.parent.iterdir()] == ["photo.png"]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_write_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"original")
    (tmp_path / "photo.png").symlink_to(tmp_path / "original")
    write_file(tmp_path / "photo.png", b"new")
    assert (tmp_path / "original").read_bytes() == b"original" and not (tmp_path / "photo.png").is_symlink()


@pytest.mark.parametrize("name", ["with space.png", "line\nbreak.png", "ünï.png", os.fsdecode(b"\xff\xfe.png"),
                                  "n" * 255])
def test_write_takes_any_name(name: str, tmp_path: Path) -> None:
    write_file(tmp_path / name, b"data")
    assert (tmp_path / name).read_bytes() == b"data"


def test_write_tells_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path, word in ((tmp_path / "folder", "folder"), (tmp_path / "file" / "x.png", "file"),
                       (tmp_path / ("n" * 256), "name")):
        with pytest.raises(OutputError) as caught:
            write_file(path, b"data")
        assert word in caught.value.hint and str(path.name) in caught.value.message
    with pytest.raises(OutputError):
        write_file(tmp_path / "nul\0", b"data")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "photo.png", b"old")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError) as caught:
        write_file(tmp_path / "photo.png", b"new")
    assert "free some space" in caught.value.hint
    assert (tmp_path / "photo.png").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.png"]


def test_a_closed_folder_is_reported(tmp_path: Path) -> None:
    """In a process of an ordinary user, since root may write anywhere."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mien.errors import OutputError\n"
        "from mien.util.files import write_file\n"
        "closed = Path(sys.argv[1])\n"
        "os.chdir('/')\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: write_file(closed / 'photo.png', b'x')\n"
        "except OutputError as error: print(error.message, '|', error.hint)\n"
    )
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, str(closed)], capture_output=True, text=True, check=True)
    assert "Permission denied" in done.stdout and "no permission to write" in done.stdout


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_written_together_appear_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with write_files() as write:
        write(tmp_path / "a", b"new")
        write(tmp_path / "sub" / "b", b"b")
        assert (tmp_path / "a").read_bytes() == b"old" and not (tmp_path / "sub" / "b").exists()
    assert (tmp_path / "a").read_bytes() == b"new" and (tmp_path / "sub" / "b").read_bytes() == b"b"
    assert names_in(tmp_path) == ["a", "sub"] and names_in(tmp_path / "sub") == ["b"]


def test_files_written_together_are_all_dropped_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), write_files() as write:
        write(tmp_path / "a", b"new")
        raise KeyError("a")
    with pytest.raises(OutputError, match="impossible/b: File exists"), write_files() as write:
        (tmp_path / "impossible").write_bytes(b"")
        write(tmp_path / "a", b"new")
        write(tmp_path / "impossible" / "b", b"new")
    assert names_in(tmp_path) == ["impossible"]


def test_an_error_names_the_file_and_not_its_part(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError) as caught:
        write_file(tmp_path / "a", b"new")
    assert str(tmp_path / "a") in caught.value.message and ".mien-" not in caught.value.message


@pytest.mark.parametrize("text", [None, "", "[1]", "3", "{", "\xff"])
def test_no_object_is_an_empty_one(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "file.json").write_bytes(text.encode("latin-1"))
    assert read_object(tmp_path / "file.json") == {}


@pytest.mark.parametrize("name", ["no/folder/page.html", "file/page.html", "a folder"])
def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a folder" / "full").mkdir(parents=True)
    with pytest.raises(OutputError) as caught, write_errors(tmp_path):
        replace_file(tmp_path / name, lambda part: part.write_text("x"))
    assert ".mien-" not in caught.value.message and str(tmp_path / name) in caught.value.message
