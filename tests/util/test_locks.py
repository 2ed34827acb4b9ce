from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.fake_run import environment
from mien.util.locks import is_locked, locked

HOLD = """
import os, sys, time
from pathlib import Path
from mien.util.locks import locked
with locked(Path(sys.argv[1])):
    os.write(1, b"held\\n")
    time.sleep(600)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def holder(file: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True,
                               env=environment())
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
    return process


def test_what_is_not_there_or_free_is_not_locked(file: Path, tmp_path: Path) -> None:
    assert not is_locked(file) and not file.exists()
    with locked(file):
        assert is_locked(file)
    assert not is_locked(file) and not is_locked(tmp_path / "no" / "lock")


def test_one_holder_at_a_time_in_a_process_too(file: Path) -> None:
    with locked(file):
        with pytest.raises(BlockingIOError, match="is locked by another process"), locked(file, 0.05):
            pytest.fail("two hold it")
        assert is_locked(file)  # to be refused costs the holder nothing


def test_a_holder_that_is_killed_lets_go(file: Path) -> None:
    process = holder(file)
    try:
        assert is_locked(file)
        with pytest.raises(BlockingIOError), locked(file, 0.05):
            pytest.fail("two hold it")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with locked(file, 5):
        pass


def test_whoever_waits_is_told_so_once(file: Path) -> None:
    process, said = holder(file), list[float]()

    def say() -> None:
        said.append(time.monotonic())
        process.kill()

    with locked(file, None, say):
        assert len(said) == 1
    process.wait()


def test_a_file_keeps_what_is_in_it(file: Path) -> None:
    file.write_text("mine")
    with locked(file):
        pass
    assert not is_locked(file) and (not file.exists() or file.read_text() == "mine")


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_holds_no_lock(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "lock").touch()
    (tmp_path / "closed").chmod(0o500)
    assert not is_locked(tmp_path / "closed" / "lock")
