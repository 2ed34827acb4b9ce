"""Runs that end before their time, and go on as if they had not."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from helpers import fake_run
from helpers.fake_run import TINY_TOML, album, call, photos_in, rows_in, save, start
from helpers.killed_runs import in_a_process, run_and_die, run_in_shards_of_two
from mien.anonymizer.load import Loaded
from mien.types import Pixels


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_may_die_at_any_moment(tmp_path: Path, every: int) -> None:
    src, whole = album(tmp_path / "src", 5), tmp_path / "whole"
    assert in_a_process(run_in_shards_of_two, src, whole) == 0
    photos, rows = photos_in(whole), rows_in(whole)
    for moment in range(1, 300, every):
        dst = tmp_path / "dst"
        code = in_a_process(run_and_die, moment, src, dst)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        _nothing_half_done(dst, photos)
        assert in_a_process(run_in_shards_of_two, src, dst) == 0
        assert photos_in(dst) == photos and rows_in(dst) == rows, moment
        shutil.rmtree(dst)
        shutil.rmtree(tmp_path / "dst.work")
    assert moment > 30, "there are three syncs a photo, and more"


def _nothing_half_done(dst: Path, photos: dict[str, bytes]) -> None:
    """Whatever bears a photo's name is that photo, and what a marker promises is there."""
    for name, data in photos_in(dst).items() if dst.exists() else ():
        assert name.rpartition("/")[2].startswith(".") or data == photos[name]
    for marker in (dst.with_name("dst.work") / "shards").glob("0*.json"):
        for name in json.loads(marker.read_text())["outputs"].values():
            assert (dst / name).read_bytes() == photos[name]


def test_a_run_may_die_twice_and_grow_in_between(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 4), tmp_path / "dst"
    assert in_a_process(run_and_die, 14, src, dst) == -signal.SIGKILL
    save(src / "0" / "0.png", fake_run.squares(fake_run.CLEO))
    assert in_a_process(run_and_die, 18, src, dst) == -signal.SIGKILL
    assert in_a_process(run_in_shards_of_two, src, dst) == 0
    assert set(photos_in(dst)) == {"0/0.png", "0/000.png", "0/003.png", "1/001.png", "2/002.png"}


def _wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f"ended before {path.name}: {process.communicate()}"
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    process = start("anonymize", src, dst, pause=0.4)
    _wait_for(tmp_path / "dst.work" / "shards" / "000000.json", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, err
    assert err.rstrip().endswith("mien: stopped; run the same command again to go on")
    assert "Traceback" not in err and out == ""
    assert not (dst / "mien.parquet").exists() and not (dst / "report.html").exists()
    again = call("anonymize", src, dst)
    assert again.returncode == 0, again.stderr
    names = list(photos_in(dst))
    assert len(names) == 20 and not [name for name in names if "/." in name or name[0] == "."]


def test_one_work_takes_one_run_until_that_dies(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    first = start("anonymize", src, dst, pause=3)
    try:
        _wait_for(tmp_path / "dst.work" / "files.json", first)
        second = call("anonymize", src, dst)
        assert second.returncode == 4
        assert f"mien: another run is at work in {dst}.work" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    third = call("anonymize", src, dst)
    assert third.returncode == 0, third.stderr
    assert len(photos_in(dst)) == 20


@pytest.mark.slow
def test_the_real_program_goes_on_after_it_was_killed(ready: Loaded, portraits: list[Pixels],
                                                      tmp_path: Path) -> None:
    src, recipe = tmp_path / "src", tmp_path / "tiny.toml"
    recipe.write_text(TINY_TOML)
    for i in range(10):
        save(src / f"{i}.png", portraits[i % 4] if i in (1, 4, 8, 9) else fake_run.ground(120, 160, i))

    def command(dst: str) -> tuple[str | Path, ...]:
        return "anonymize", src, tmp_path / dst, "--recipe", recipe

    whole = call(*command("whole"), quick=False)
    assert whole.returncode == 0, whole.stderr
    for marker in ("run.json", "shards/000000.json"):
        process = start(*command("broken"), quick=False)
        _wait_for(tmp_path / "broken.work" / marker, process)
        process.kill()
        process.communicate()
    assert not (tmp_path / "broken" / "mien.json").exists()
    again = call(*command("broken"), quick=False)
    assert again.returncode == 0, again.stderr
    assert photos_in(tmp_path / "broken") == photos_in(tmp_path / "whole")
    assert rows_in(tmp_path / "broken") == rows_in(tmp_path / "whole")
    for dst in ("whole", "broken"):
        names = {path.name for path in (tmp_path / dst).iterdir()}
        assert names == {f"{i}.png" for i in range(10)} | {"mien.parquet", "mien.json", "report.html"}
        assert stat.S_IMODE((tmp_path / f"{dst}.work").stat().st_mode) == 0o700
    reports = [(tmp_path / dst / "report.html").read_text() for dst in ("whole", "broken")]
    assert all(str(tmp_path) not in report for report in reports)
