"""Whoever does the work, the result is the same, and whoever is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_run
from helpers.fake_run import TINY, TINY_TOML, album, call, photos_in, rows_in, save, start
from mien.anonymizer.load import Loaded
from mien.errors import FaceError, MienError, UsageError
from mien.jobs.executors.workers import Workers
from mien.types import Pixels


@pytest.fixture
def many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)


@pytest.fixture(scope="module")
def src(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return album(tmp_path_factory.mktemp("album") / "src", 20)


def same(one: Path, other: Path) -> bool:
    return photos_in(one) == photos_in(other) and rows_in(one) == rows_in(other)


@pytest.mark.parametrize("workers", [Workers(2), Workers(5, threads=1)])
def test_several_processes_leave_what_one_leaves(brush: None, many_shards: None, src: Path, tmp_path: Path,
                                                 workers: Workers) -> None:
    alone = fake_run.run(src, tmp_path / "one")
    together = fake_run.run(src, tmp_path / "many", workers=workers)
    assert same(tmp_path / "one", tmp_path / "many")
    assert (together.photos, together.faces, together.statuses) == (alone.photos, alone.faces, alone.statuses)
    assert json.loads((tmp_path / "many" / "mien.json").read_text())["workers"] == workers.count


def test_a_run_may_go_on_with_other_workers(brush: None, many_shards: None, src: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run.run(src, tmp_path / "whole")
    for name in ("000003", "000007"):
        fake_run.run(src, tmp_path / "mixed")
        (tmp_path / "mixed.work" / "shards" / f"{name}.json").unlink()
    fake_run.run(src, tmp_path / "mixed", workers=Workers(2))
    assert same(tmp_path / "whole", tmp_path / "mixed")


def test_a_failed_face_stops_all_processes(brush: None, many_shards: None, src: Path, tmp_path: Path) -> None:
    with pytest.raises(FaceError, match="could not be anonymized"):
        fake_run.run(src, tmp_path / "dst", TINY.with_changes({"on_failure": "error"}), workers=Workers(2))


def children(pid: int) -> list[int]:
    """Processes that compute for another one."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    started = [int(child) for text in lists for child in text.split()]
    return [child for child in started if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.slow
def test_killed_workers_are_replaced(src: Path, tmp_path: Path) -> None:
    """While they look at photos and while they anonymize; what they were at is done again."""
    assert call("anonymize", src, tmp_path / "whole").returncode == 0
    process = start("anonymize", src, tmp_path / "dst", "--workers", "2", pause=0.3)
    work, killed = tmp_path / "dst.work", 0
    for kind in ("faces", "shards"):
        while not list((work / kind).glob("0*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
            killed += 1
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert killed >= 3 and same(tmp_path / "whole", tmp_path / "dst")


def test_workers_end_with_their_driver(src: Path, tmp_path: Path) -> None:
    process = start("anonymize", src, tmp_path / "dst", "--workers", "2", pause=5)
    while not (found := children(process.pid)):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    process.kill()
    process.communicate()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in found):
        assert time.monotonic() < end, "orphans"
        time.sleep(0.1)
    again = call("anonymize", src, tmp_path / "dst", "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert len(photos_in(tmp_path / "dst")) == 20


@pytest.mark.parametrize(("options", "words"), [
    (["--engine", "spark"], "there is no engine 'spark'"), (["--rank", "2", "--world-size", "2"], "ranks go from 0"),
    (["--workers", "-1"], "cannot be negative")])
def test_workers_that_cannot_be_is_refused(src: Path, tmp_path: Path, options: list[str], words: str) -> None:
    done = call("anonymize", src, tmp_path / "dst", *options)
    assert done.returncode == 2 and words in done.stderr
    assert not (tmp_path / "dst").exists()


def test_workers_is_checked_by_the_library_too() -> None:
    with pytest.raises(UsageError, match="engine"):
        Workers(engine="mpi").check()


@pytest.mark.slow
def test_ray_leaves_what_one_process_leaves(src: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    assert call("anonymize", src, tmp_path / "one").returncode == 0
    process = start("anonymize", src, tmp_path / "many", "--engine", "ray", "--workers", "2", pause=0.2)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert same(tmp_path / "one", tmp_path / "many")



@pytest.mark.slow
def test_a_cluster_that_was_started_elsewhere_finds_relative_folders(src: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # there is no home to keep a token in on every test machine
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # tmp_path is too long for its sockets
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus", "2", "--port",
               str(port), "--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", folder]
    cluster = subprocess.Popen(command, cwd="/", env=fake_run.environment(), start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        done = call("anonymize", src.name, "elsewhere", "--engine", "ray", "--workers", "2", cwd=src.parent)
        assert done.returncode == 0, done.stderr
        assert photos_in(src.parent / "elsewhere").keys() == {str(path.relative_to(src)) for path in src.rglob("*.png")}
    finally:
        os.killpg(cluster.pid, signal.SIGKILL)
        cluster.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("error", "address", "words"), [
    (ConnectionError("no such GCS"), "127.0.0.1:1", r"no Ray cluster answers at 127\.0\.0\.1:1: no such GCS"),
    (Exception("The node timed out\nsomewhere"), "", "Ray does not start: The node timed out$")])
def test_a_cluster_that_does_not_answer_or_start_is_said(
    brush: None, src: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, address: str, words: str
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")

    def init(**asked: Any) -> None:
        raise error  # as Ray itself does after some minutes

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(MienError, match=words):
        fake_run.run(src, tmp_path / "dst", workers=Workers(engine="ray"))


@pytest.mark.slow
def test_the_real_networks_give_the_same_bytes_in_several_processes(ready: Loaded, portraits: list[Pixels],
                                                                    tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_TOML)
    for i in range(12):
        save(tmp_path / "src" / f"{i:02d}.png", portraits[i % 4] if i % 3 else fake_run.ground(120, 160, i))
    for dst, options in (("one", ["--threads", "1"]), ("two", ["--workers", "2", "--threads", "1"])):
        done = call("anonymize", tmp_path / "src", tmp_path / dst, "--recipe", recipe, *options, quick=False)
        assert done.returncode == 0, done.stderr
    assert same(tmp_path / "one", tmp_path / "two")
