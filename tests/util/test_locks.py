from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from mien.util import locks
from mien.util.locks import ALONE, SHARED, is_locked, locked, take


def test_one_alone_or_several_who_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    path = tmp_path / "lock"
    for first, second in ((ALONE, ALONE), (ALONE, SHARED), (SHARED, ALONE)):
        with locked(path, first):
            with pytest.raises(BlockingIOError), locked(path, second):
                pytest.fail("it is held")
            assert is_locked(path) == (first == ALONE)
    with locked(path, SHARED) as one, locked(path, SHARED), pytest.raises(BlockingIOError):
        take(one, ALONE)
    with locked(path, SHARED) as one:
        take(one, ALONE)
        assert is_locked(path)
    assert not is_locked(path) and not is_locked(tmp_path / "none")


def test_who_only_looks_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        with locked(path, ALONE):
            timer.join()


def test_what_stands_in_a_lock_stays(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("said")
    with locked(tmp_path / "lock", SHARED):
        assert (tmp_path / "lock").read_text() == "said"
