"""How far a run is, as `mien status` says it."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_run
from helpers.fake_run import album, call, start
from mien.errors import OutputError, UsageError
from mien.jobs.executors.workers import Workers
from mien.jobs.state import JobState, is_held
from mien.jobs.status import read_status
from mien.jobs.task import Task
from mien.jobs.worker import Worker
from mien.util.files import read_object
from mien.util.locks import locked


def test_a_finished_run(brush: None, tmp_path: Path) -> None:
    fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    status = read_status(tmp_path / "dst.work")
    assert (status.running, status.photos, status.done, status.faces) == (False, 20, 20, 28)
    assert status.statuses == {"anonymized": 24, "blurred": 4} and sum(status.workers.values()) == 3
    assert status.left is None and status.stages["read"] > 0


def test_a_shard_that_is_to_be_done_again_does_not_count(brush: None, tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    fake_run.run(src, dst)
    (tmp_path / "dst.work" / "shards" / "000001.json").unlink()
    assert read_status(tmp_path / "dst.work").done == 12
    fake_run.run(src, dst)
    status = read_status(tmp_path / "dst.work")
    assert (status.done, status.faces) == (20, 28)


def test_shards_that_no_event_tells_of_count_too(brush: None, tmp_path: Path) -> None:
    """Of a driver that was killed, or of ranks."""
    fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    events = tmp_path / "dst.work" / "events.jsonl"
    whole = read_status(tmp_path / "dst.work")
    lines = events.read_text().splitlines()
    for left in (lines[:1], []):
        events.write_text("".join(line + "\n" for line in left))
        status = read_status(tmp_path / "dst.work")
        assert (status.done, status.faces, status.statuses) == (20, 28, whole.statuses)
        assert status.workers == whole.workers and status.skipped == 0
        assert status.stages["read"] == pytest.approx(whole.stages["read"], abs=0.01)
    events.unlink()
    (tmp_path / "dst.work" / "shards" / "000000.json").write_text("{")
    assert read_status(tmp_path / "dst.work").done == 12


def test_the_share_of_a_rank_counts_while_others_have_done_nothing(brush: None, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    src, rank = album(tmp_path / "src", 8), Workers(rank=1, world_size=2)
    for asked in ({"passes": ("index",)}, {"passes": ("assign",), "workers": None}, {"passes": ("anonymize",)}):
        if asked["passes"] == ("assign",):
            fake_run.run(src, tmp_path / "dst", workers=Workers(rank=0, world_size=2), passes=("index",))
        fake_run.run(src, tmp_path / "dst", **{"workers": rank} | asked)
    assert read_status(tmp_path / "dst.work").done == 4


def test_results_are_read_only_where_no_event_is_as_new(brush: None, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred thousand shards this would take minutes."""
    fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    asked: list[str] = []
    monkeypatch.setattr("mien.jobs.status.read_object", lambda path: asked.append(path.name) or read_object(path))
    assert read_status(tmp_path / "dst.work").done == 20 and asked == ["run.json"]
    later = time.time() + 1000
    os.utime(tmp_path / "dst.work" / "shards" / "000001.json", (later, later))
    assert read_status(tmp_path / "dst.work").faces == 28 and asked[1:] == ["run.json", "000001.json"]


def test_to_ask_never_stops_a_run_that_starts(tmp_path: Path) -> None:
    """Whoever asks has the lock for a moment, and a run that starts then waits until it is free."""
    store = JobState(tmp_path / "dst", tmp_path / "work")
    with store.opened({"recipe": {}}):
        assert is_held(store.work)
    asking, free = threading.Event(), threading.Event()

    def ask() -> None:
        with locked(store.work / "lock"):
            asking.set()
            free.wait(0.3)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asking.wait(30)
    with store.opened({"recipe": {}}):
        assert is_held(store.work)
    thread.join()
    with store.opened({"recipe": {}}, rank=1):
        assert is_held(store.work)
    assert not is_held(store.work)


def test_two_who_ask_at_once_see_no_run(tmp_path: Path) -> None:
    store = JobState(tmp_path / "dst", tmp_path / "work")
    with store.opened({}):
        pass
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.extend(is_held(store.work) for _ in range(20))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [False] * 40


def test_events_that_were_cut_or_come_from_another_clock_are_borne(brush: None, tmp_path: Path) -> None:
    fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    events = tmp_path / "dst.work" / "events.jsonl"
    lines = events.read_text().splitlines()
    assert [sorted(json.loads(line)) for line in lines] == [sorted(json.loads(lines[0]))] * 3
    future = json.dumps(json.loads(lines[0]) | {"at": "2101-01-01T00:00:00+00:00"})
    events.write_text("\n".join([future, lines[1], lines[2][:40], "[]", "null"]))
    status = read_status(tmp_path / "dst.work")
    assert status.done == 20 and status.speed == 0


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    process = start("anonymize", album(tmp_path / "src", 20), tmp_path / "dst", pause=1.0)
    try:
        while not (tmp_path / "dst.work" / "events.jsonl").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        status = read_status(tmp_path / "dst.work")
        assert status.running and 0 < status.done < 20
        shown = call("status", tmp_path / "dst.work")
        assert "going on" in shown.stdout and "8 of 20" in shown.stdout.replace("16 of", "8 of")
    finally:
        process.kill()
        process.communicate()
    assert not read_status(tmp_path / "dst.work").running


def test_machines_read_it_too(brush: None, tmp_path: Path) -> None:
    fake_run.run(album(tmp_path / "src", 5), tmp_path / "dst")
    assert json.loads(read_status(tmp_path / "dst.work").as_json())["done"] == 5
    text = read_status(tmp_path / "dst.work").as_prometheus()
    assert 'mien_faces{status="anonymized"} 6\n' in text and "mien_photos_done 5\n" in text
    kinds = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds)) and text.endswith("\n")


def test_a_run_that_only_indexes_is_not_at_nothing(brush: None, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """All photos are indexed before the first is changed."""
    really = Worker.do

    def die(self: Worker, task: Task, *rest: Any) -> None:
        if task == Task("index", 2, task.names):
            raise OutputError("the disk is full")
        really(self, task, *rest)

    monkeypatch.setattr(Worker, "do", die)
    with pytest.raises(OutputError):
        fake_run.run(album(tmp_path / "src", 20), tmp_path / "dst")
    status = read_status(tmp_path / "dst.work")
    assert (status.photos, status.indexed, status.done) == (20, 16, 0)
    assert "mien_photos_indexed 16\n" in status.as_prometheus()
    assert "16 of 20 indexed" in call("status", tmp_path / "dst.work").stdout
    monkeypatch.undo()
    fake_run.use_brush(monkeypatch.setattr)
    fake_run.run(tmp_path / "src", tmp_path / "dst")
    assert read_status(tmp_path / "dst.work").indexed == 20
    assert "looked at" not in call("status", tmp_path / "dst.work").stdout


def test_a_folder_without_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read_status(tmp_path)
    done = call("status", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_run_of_another_version_is_not_misread(brush: None, tmp_path: Path) -> None:
    fake_run.run(album(tmp_path / "src", 2), tmp_path / "dst")
    asked = json.loads((tmp_path / "dst.work" / "run.json").read_text())
    del asked["format"]
    (tmp_path / "dst.work" / "run.json").write_text(json.dumps(asked))
    with pytest.raises(UsageError, match="written by another version of mien"):
        read_status(tmp_path / "dst.work")
    done = call("status", tmp_path / "dst.work")
    assert done.returncode == 2 and "Traceback" not in done.stderr
