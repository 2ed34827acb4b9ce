from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from helpers import fake_run
from helpers.fake_run import (
    ANNA,
    BERT,
    CLEO,
    STUBBORN,
    TINY,
    album,
    changed,
    photos_in,
    pixels_of,
    rows_in,
    save,
    squares,
)
from mien.anonymizer.blend import Patch
from mien.anonymizer.pipeline import Pipeline
from mien.errors import FaceError, OutputError, UsageError
from mien.jobs.task import Task
from mien.jobs.worker import Worker
from mien.types import Pixels

Paint = Callable[[Pixels, list[Patch]], tuple[Pixels, npt.NDArray[np.bool_]]]

def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_every_face_is_changed_and_nothing_else(brush: None, tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 15), tmp_path / "dst"
    summary = fake_run.run(src, dst)
    assert summary.photos == 15 and summary.faces == 21 == len(rows_in(dst))
    assert summary.statuses == {"anonymized": 18, "blurred": 3}
    for name in photos_in(dst):
        before, after = pixels_of(src / name), pixels_of(dst / name)
        far = np.ones(before.shape[:2], bool)
        for row in [row for row in rows_in(dst) if row["file"] == name]:
            box = (row["x"], row["y"], row["width"], row["height"])
            assert changed(before, after, box)
            far[:, max(int(box[0]) - 24, 0) : int(box[0]) + 72] = False
        assert (before[far] == after[far]).all()


def test_a_finished_run_is_not_done_again(brush: None, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst = album(tmp_path / "src", 10), tmp_path / "dst"
    first, before = fake_run.run(src, dst), times(dst)
    rows = pq.read_table(dst / "mien.parquet").to_pylist()
    monkeypatch.setattr(Pipeline, "run", lambda *_: pytest.fail("nothing is missing"))
    second = fake_run.run(src, dst)
    assert times(dst) == before and pq.read_table(dst / "mien.parquet").to_pylist() == rows
    assert (second.photos, second.statuses, second.outputs) == (first.photos, first.statuses, first.outputs)


def test_a_missing_photo_brings_its_shard_back_and_no_other(brush: None, tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    fake_run.run(src, dst)
    before, dates, rows = photos_in(dst), times(dst), rows_in(dst)
    names = json.loads((dst.with_name("dst.work") / "files.json").read_text())
    (dst / names[9]).unlink()
    fake_run.run(src, dst)
    assert photos_in(dst) == before and rows_in(dst) == rows
    assert {name for name, date in times(dst).items() if dates[name] != date} == set(names[8:16])


def test_new_photos_are_done_and_old_ones_left(brush: None, tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 16), tmp_path / "dst"
    fake_run.run(src, dst)
    dates = times(dst)
    save(src / "0" / "0.png", squares(ANNA, BERT))
    assert fake_run.run(src, dst).photos == 17
    assert {name for name, date in times(dst).items() if dates.get(name) != date} == {"0/0.png"}


def test_a_photo_that_was_taken_away_leaves_the_result_too(brush: None, tmp_path: Path) -> None:
    """Somebody may have asked for it."""
    src, dst = album(tmp_path / "src", 10), tmp_path / "dst"
    fake_run.run(src, dst)
    (src / "1" / "001.png").unlink()
    summary = fake_run.run(src, dst)
    assert "1/001.png" not in photos_in(dst) and len(photos_in(dst)) == 9 == summary.photos
    assert "1/001.png" not in {row["file"] for row in rows_in(dst)}
    assert [skipped.file for skipped in summary.skipped] == ["1/001.png"]


def test_a_source_that_is_not_there_empties_nothing(brush: None, tmp_path: Path) -> None:
    """A disk that is not mounted is an empty folder."""
    src, dst = album(tmp_path / "src", 4), tmp_path / "dst"
    fake_run.run(src, dst)
    before = photos_in(dst)
    src.rename(tmp_path / "away")
    src.mkdir()
    with pytest.raises(OutputError, match="holds none of the photographs"):
        fake_run.run(src, dst)
    assert photos_in(dst) == before


@pytest.mark.parametrize("change", ["gone", "other format"])
def test_what_a_killed_run_left_of_a_photo_that_is_no_longer_the_same_leaves_too(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Killed when a shard's photos were in DST and its marker was not written: nobody knows of them."""
    src, dst = album(tmp_path / "src", 3), tmp_path / "dst"
    icon = save(src / "icon.ico", squares(ANNA)[:96, :96], format="ICO", sizes=[(96, 96)])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mien.jobs.state.JobState.finish_shard", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        fake_run.run(src, dst)
    assert set(photos_in(dst)) == {"0/000.png", "1/001.png", "2/002.png", "icon.ico.png"}
    for mine in ("mine.png", "0/mine.ico.png", "notes.txt"):
        (dst / mine).write_bytes(b"mine")
    if change == "gone":
        icon.unlink()
        (src / "1" / "001.png").unlink()
    else:
        save(icon, squares(BERT), format="PNG")
    fake_run.run(src, dst)
    left = {"0/000.png", "2/002.png"} if change == "gone" else {"0/000.png", "1/001.png", "2/002.png", "icon.ico"}
    assert set(photos_in(dst)) == left | {"mine.png", "0/mine.ico.png", "notes.txt"}


def test_a_photo_keeps_the_name_that_another_had(brush: None, tmp_path: Path) -> None:
    """The icon is written under the name of a photo that has left."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    icon = save(src / "a.ico", squares(ANNA)[:96, :96], format="ICO", sizes=[(96, 96)])
    icon.rename(tmp_path / "away")
    save(src / "a.ico.png", squares(BERT))
    fake_run.run(src, dst)
    (src / "a.ico.png").unlink()
    (tmp_path / "away").rename(icon)
    assert fake_run.run(src, dst).outputs == {"a.ico": "a.ico.png"}
    assert fake_run.run(src, dst).photos == 1 and list(photos_in(dst)) == ["a.ico.png"]


@pytest.mark.parametrize("taken", ["photo", "folder", "all"])
def test_a_result_that_vanishes_under_a_run_is_said_and_made_again(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    src, dst = album(tmp_path / "src", 20), tmp_path / "dst"
    fake_run.run(src, tmp_path / "whole")

    def take(self: Worker, task: Task, tell: Any, really: Any = Worker.do) -> None:
        if task.what == "anonymize" and task.shard == 2:
            if taken == "photo":
                (dst / "0" / "000.png").unlink()
            else:
                shutil.rmtree(dst / "0" if taken == "folder" else dst)
        really(self, task, tell)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "do", take)
        with pytest.raises(OutputError, match=r"\d+ photographs? of the result (is|are) gone from .*dst") as caught:
            fake_run.run(src, dst)
    assert "same command" in caught.value.hint and not (dst / "mien.parquet").exists()
    fake_run.run(src, dst)
    assert photos_in(dst) == photos_in(tmp_path / "whole") and rows_in(dst) == rows_in(tmp_path / "whole")


def test_a_photo_that_was_changed_is_done_again(brush: None, tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 3), tmp_path / "dst"
    fake_run.run(src, dst)
    save(src / "1" / "001.png", squares(BERT, CLEO))
    fake_run.run(src, dst)
    assert len([row for row in rows_in(dst) if row["file"] == "1/001.png"]) == 2
    after = pixels_of(dst / "1" / "001.png")
    assert changed(squares(BERT, CLEO), after, (40, 24, 48, 48))


@pytest.mark.parametrize("photos", [8, 16])
def test_a_run_that_was_stopped_between_shards_ends_as_if_it_never_was(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: int
) -> None:
    src, whole, broken = album(tmp_path / "src", 20), tmp_path / "whole", tmp_path / "broken"
    fake_run.run(src, whole)

    def stop(self: Pipeline, works: list[Any], really: Any = Pipeline.run) -> None:
        if len(list(broken.rglob("*.png"))) >= photos:
            raise KeyboardInterrupt
        really(self, works)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Pipeline, "run", stop)
        fake_run.run(src, broken)
    assert not (broken / "mien.parquet").exists()
    fake_run.run(src, broken)
    assert photos_in(broken) == photos_in(whole) and rows_in(broken) == rows_in(whole)


def test_the_face_that_cannot_be_changed_is_blurred(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(STUBBORN, ANNA))
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", TINY.with_changes({"verify.attempts": 3}))
    bad, good = summary.outcomes
    assert (bad.status, bad.attempts, bad.judge_distance) == ("blurred", 3, None)
    assert bad.reason == "still verifies as the original after every attempt"
    assert (good.status, good.attempts, good.reason) == ("anonymized", 1, "")
    assert good.judge_distance is not None and good.judge_distance > TINY.verify.threshold
    assert changed(squares(STUBBORN, ANNA), pixels_of(tmp_path / "dst" / "a.png"), bad.box)


def test_a_face_that_only_the_second_search_finds_is_concealed(brush: None, tmp_path: Path) -> None:
    photo = squares(ANNA, BERT, shy=1)
    save(tmp_path / "src" / "a.png", photo)
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst")
    assert [(row.status, row.reason) for row in summary.outcomes] == [
        ("anonymized", ""), ("blurred", "found only in the finished photo")]
    assert changed(photo, pixels_of(tmp_path / "dst" / "a.png"), summary.outcomes[1].box)


@pytest.mark.parametrize("more", [3, 4, 5, 100])
def test_a_photo_leaves_only_after_a_search_that_finds_nothing(brush: None, tmp_path: Path, more: int) -> None:
    """One look to find faces, one to judge the new ones (which see nothing here), then the searches."""
    save(tmp_path / "src" / "a.png", fake_run.ground(96, 128))
    networks: Any = fake_run.RestlessNetworks(more)
    ready = replace(fake_run.square_ready(), networks=networks)
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready)
    if more <= 4:
        assert summary.statuses == {"blurred": more} and list(photos_in(tmp_path / "dst")) == ["a.png"]
        return
    assert photos_in(tmp_path / "dst") == {} and summary.photos == 0
    assert set(summary.statuses) == {"dropped"}
    assert [(one.file, one.reason) for one in summary.skipped] == [
        ("a.png", "dropped: every search of the finished photo finds another face")]


@pytest.mark.parametrize(("second", "looks", "status"), [
    ((30, 55), (30, 4), "blurred"),  # far from this face, yet Anna to the judge, and this one is her double
    (BERT, ANNA, "anonymized"),  # resembles a neighbor, as strangers do
])
def test_a_new_face_must_not_look_like_any_picture_of_its_person(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: tuple[int, int], looks: tuple[int, int],
    status: str,
) -> None:
    really = fake_run.Painter._attempt

    def paint(self: fake_run.Painter, subjects: list[Any], attempt: int) -> None:
        really(self, subjects, attempt)
        subjects[1].picture = np.full((8, 8, 3), (*looks, fake_run.BLUE), np.uint8)

    monkeypatch.setattr(fake_run.Painter, "_attempt", paint)
    save(tmp_path / "src" / "a.png", squares(ANNA, second))
    first, other = fake_run.run(tmp_path / "src", tmp_path / "dst").outcomes
    assert (first.status, other.status) == ("anonymized", status)


@pytest.mark.parametrize("people", [(STUBBORN,), (ANNA, STUBBORN), (STUBBORN, ANNA, STUBBORN)])
def test_a_dropped_photo_is_not_written_and_listed(
    brush: None, tmp_path: Path, people: tuple[tuple[int, int], ...]
) -> None:
    save(tmp_path / "src" / "bad.png", squares(*people))
    save(tmp_path / "src" / "good.png", squares(ANNA))
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", TINY.with_changes({"on_failure": "drop"}))
    assert list(photos_in(tmp_path / "dst")) == ["good.png"]
    assert [(one.file, one.reason) for one in summary.skipped] == [
        ("bad.png", "dropped: a face could not be anonymized")]
    assert summary.statuses == {"dropped": len(people), "anonymized": 1}
    assert summary.photos == 1


def test_a_photo_with_a_face_found_late_is_dropped_too(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA, BERT, shy=1))
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", TINY.with_changes({"on_failure": "drop"}))
    assert photos_in(tmp_path / "dst") == {} and summary.statuses == {"dropped": 2}


def test_a_dropped_photo_does_not_come_back_on_resume(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "bad.png", squares(STUBBORN))
    recipe = TINY.with_changes({"on_failure": "drop"})
    fake_run.run(tmp_path / "src", tmp_path / "dst", recipe)
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", recipe)
    assert photos_in(tmp_path / "dst") == {} and len(summary.skipped) == 1


def test_the_owner_can_have_the_run_stopped_at_a_failure(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "bad.png", squares(ANNA, STUBBORN))
    recipe = TINY.with_changes({"on_failure": "error"})
    with pytest.raises(FaceError, match=r"bad\.png: face 1 could not be anonymized"):
        fake_run.run(tmp_path / "src", tmp_path / "dst", recipe)
    assert photos_in(tmp_path / "dst") == {}


def test_other_lists_are_another_question(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    regions = tmp_path / "regions.csv"
    regions.write_text("file,x,y,width,height\n")
    fake_run.run(tmp_path / "src", tmp_path / "dst", exclude=regions)
    regions.write_text("file,x,y,width,height\na.png,30,20,70,60\n")
    with pytest.raises(Exception, match="belongs to a run with another files"):
        fake_run.run(tmp_path / "src", tmp_path / "dst", exclude=regions)


def test_a_photo_never_takes_the_name_of_another(brush: None, tmp_path: Path) -> None:
    """An icon is written as PNG, under a name that is already another photo's."""
    save(tmp_path / "src" / "a.ico", squares(ANNA)[:96, :96], sizes=[(96, 96)])
    save(tmp_path / "src" / "a.ico.png", squares(BERT))
    with pytest.raises(OutputError, match=r"a\.ico\.png"):
        fake_run.run(tmp_path / "src", tmp_path / "dst")


def test_a_folder_without_photos_is_a_run_too(brush: None, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "notes.txt").write_text("nothing here")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst")
    assert summary.photos == 0 and photos_in(tmp_path / "dst") == {} and rows_in(tmp_path / "dst") == []


def test_large_batches_make_large_shards(brush: None, tmp_path: Path) -> None:
    """And a folder with shards of another size is not gone on with."""
    src, recipe = album(tmp_path / "src", 20), TINY.with_changes({"batch": 16})
    fake_run.run(src, tmp_path / "dst", recipe)
    work = tmp_path / "dst.work"
    assert sorted(path.name for path in (work / "shards").iterdir()) == ["000000.json", "000001.json"]
    assert photos_in(tmp_path / "dst").keys() == photos_in(src).keys()
    asked = json.loads((work / "run.json").read_text())
    assert asked.pop("number of photos in a shard") == 16
    (work / "run.json").write_text(json.dumps(asked))
    with pytest.raises(UsageError, match="another number of photos in a shard"):
        fake_run.run(src, tmp_path / "dst", recipe)


def test_a_pool_that_is_too_small_is_said(brush: None, tmp_path: Path) -> None:
    pool = fake_run.square_pool()
    small = fake_run.SquarePool(*(getattr(pool, one.name)[:8] for one in fields(pool)))
    ready = replace(fake_run.square_ready(), pool=small)
    src = album(tmp_path / "src", 5)
    assert fake_run.run(src, tmp_path / "dst", ready=ready).notes == []
    for i in range(6, 10):
        save(src / f"{i}.png", squares(ANNA, seed=i))
    (note,) = fake_run.run(src, tmp_path / "dst", ready=ready).notes
    assert "new faces began at a pool of 8" in note
    assert note in json.loads((tmp_path / "dst" / "mien.json").read_text())["notes"]
