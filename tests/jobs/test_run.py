from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

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
from helpers.generated_people import Generated
from mien.anonymizer.align import align as align_mirrored
from mien.anonymizer.align_ffhq import align_as_published
from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.detect import detect
from mien.anonymizer.load import Loaded
from mien.anonymizer.pipeline import Pipeline, _harder
from mien.errors import FaceError, OutputError, UsageError
from mien.jobs.run import Summary
from mien.jobs.worker import Task, Worker
from mien.recipe import OptimizeSettings, Recipe
from mien.report.run_sheets import write_sheets
from mien.types import Encoding, Face, Photo, Pixels

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


def test_faces_are_aligned_as_the_recipe_says() -> None:
    for alignment, align in (("mirrored", align_mirrored), ("published", align_as_published)):
        ready = fake_run.square_ready()
        pipeline = Pipeline(ready.networks, ready.pool, TINY.with_changes({"detect.alignment": alignment}))
        photo = Photo("a.png", squares(ANNA), Encoding("PNG", "RGB"))
        (subject,) = pipeline.prepare(photo, pipeline.networks.detector.detect(photo.pixels)).subjects
        assert np.array_equal(subject.crop.pixels, align(photo.pixels, subject.face).pixels)


def test_a_retry_that_changes_the_pool_face_takes_the_one_least_like_the_person(ready: Loaded,
                                                                                generated: Generated) -> None:
    recipe = Recipe().with_changes({"pair.k": len(ready.pool)})
    pipeline = Pipeline(ready.networks, ready.pool, recipe)
    photo = Photo("a.png", generated.photos[0], Encoding("PNG", "RGB"))
    (subject,) = pipeline.prepare(photo, [generated.found[0]]).subjects
    pipeline._pair([subject], another=False)
    assert subject.match is not None and subject.identity is not None
    first = subject.match.index
    pipeline._pair([subject], another=False)
    assert subject.match.index == first
    pipeline._pair([subject], another=True)
    alike = (ready.pool.identities @ subject.identity).tolist()
    assert subject.match.index == min(set(range(len(alike))) - {first}, key=lambda i: alike[i])


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


@pytest.mark.parametrize("option", ["only", "exclude"])
def test_the_owner_chooses_faces(brush: None, tmp_path: Path, option: str) -> None:
    photo = squares(ANNA, BERT, CLEO)
    save(tmp_path / "src" / "sub" / "a.png", photo)
    save(tmp_path / "src" / "b.png", photo)
    regions = tmp_path / "regions.csv"
    regions.write_text("file,x,y,width,height\nsub/a.png,150,20,50,60\n")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", **{option: regions})
    named, rest = ("anonymized", "excluded") if option == "only" else ("excluded", "anonymized")
    assert [row.status for row in summary.outcomes] == [rest, rest, rest, rest, named, rest]
    after = pixels_of(tmp_path / "dst" / "sub" / "a.png")
    for row in summary.outcomes[3:]:
        x, y, width, height = (int(v) for v in row.box)
        same = (photo[y : y + height, x : x + width] == after[y : y + height, x : x + width]).all()
        assert same == (row.status == "excluded")
        assert (row.reason == "left out by the owner's list") == (row.status == "excluded")


def test_a_named_region_without_a_face_is_concealed(brush: None, tmp_path: Path) -> None:
    photo = squares(ANNA, BERT, shy=1)
    save(tmp_path / "src" / "a.png", photo)
    regions = tmp_path / "regions.csv"
    regions.write_text("file,x,y,width,height\na.png,150,20,50,60\n")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", only=regions)
    assert [(row.status, row.reason) for row in summary.outcomes] == [
        ("excluded", "left out by the owner's list"), ("blurred", "named by the owner, no face found there")]
    assert changed(photo, pixels_of(tmp_path / "dst" / "a.png"), (150, 20, 50, 60))


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
    Image.fromarray(squares(ANNA)[:96, :96]).save(_made(tmp_path / "src" / "a.ico"), sizes=[(96, 96)])
    save(tmp_path / "src" / "a.ico.png", squares(BERT))
    with pytest.raises(OutputError, match=r"a\.ico\.png"):
        fake_run.run(tmp_path / "src", tmp_path / "dst")


def test_a_folder_without_photos_is_a_run_too(brush: None, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "notes.txt").write_text("nothing here")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst")
    assert summary.photos == 0 and photos_in(tmp_path / "dst") == {} and rows_in(tmp_path / "dst") == []


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# From here on with the real networks.

PLANTED = "Planted-Secret-4711"


@dataclass
class RealRun:
    src: Path
    dst: Path
    work: Path
    summary: Summary


def _jpeg_with_everything(path: Path, pixels: Pixels) -> None:
    exif = Image.Exif()
    exif[0x013B] = PLANTED  # artist
    exif[0x8769] = {0x9C9E: PLANTED, 0xA431: PLANTED}  # serial number of the camera
    exif[0x8825] = {1: "N", 2: (47.0, 11.0, 47.11), 3: "E", 4: (8.0, 15.0, 8.15), 29: PLANTED}
    save(path, pixels, quality=92, exif=exif, comment=PLANTED.encode(), xmp=f"<x>{PLANTED}</x>".encode())
    path.write_bytes(path.read_bytes() + PLANTED.encode())


@pytest.fixture(scope="module")
def real(ready: Loaded, portraits: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    """A JPEG full of metadata, a group, a small face in a nested folder, an empty room."""
    root = tmp_path_factory.mktemp("real")
    src, dst = root / "src", root / "dst"
    _jpeg_with_everything(_made(src / "portrait.jpg"), portraits[0])
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Author", PLANTED)
    save(src / "group.png", np.concatenate(portraits[1:4], axis=1), pnginfo=notes)
    room = fake_run.ground(300, 400)
    small = cv2.resize(portraits[4], (128, 128), interpolation=cv2.INTER_AREA)
    room[80:208, 200:328] = small
    save(src / "deep" / "er" / "small.png", room)
    save(src / "empty.png", fake_run.ground(200, 300))
    return RealRun(src, dst, root / "dst.work", fake_run.run(src, dst, ready=ready))


def test_real_faces_are_all_changed(real: RealRun) -> None:
    rows = rows_in(real.dst)
    assert sorted(row["file"] for row in rows) == ["deep/er/small.png", *["group.png"] * 3, "portrait.jpg"]
    assert {row["status"] for row in rows} <= {"anonymized", "blurred"}
    for row in rows:
        assert (row["reason"] == "") == (row["status"] == "anonymized")
        before, after = pixels_of(real.src / row["file"]), pixels_of(real.dst / row["file"])
        box = (row["x"], row["y"], row["width"], row["height"])
        rows_of, columns = fake_run.inside(box)
        difference = np.abs(before[rows_of, columns].astype(int) - after[rows_of, columns])
        assert changed(before, after, box) and difference.mean() > 4


def test_the_real_judge_takes_no_new_face_for_its_original(real: RealRun, ready: Loaded) -> None:
    """Independently of what the run says: every original against every face of the finished photo."""
    for name in {row["file"] for row in rows_in(real.dst)}:
        before, after = pixels_of(real.src / name), pixels_of(real.dst / name)
        old = ready.networks.detector.detect(before)
        vectors = ready.networks.judge.embed(before, np.stack([face.points for face in old]))
        places = [face.points for face in ready.networks.detector.detect(after)]
        mine = [row for row in rows_in(real.dst) if row["file"] == name and row["status"] == "anonymized"]
        places += [np.array(row["points"], np.float32) for row in mine]
        if not places:
            continue
        new = ready.networks.judge.embed(after, np.stack(places))
        assert np.linalg.norm(vectors[:, None] - new[None], axis=2).min() >= TINY.verify.threshold


def test_what_lies_outside_real_faces_stays_to_the_pixel(real: RealRun) -> None:
    name = "deep/er/small.png"
    before, after = pixels_of(real.src / name), pixels_of(real.dst / name)
    assert (before != after).any()
    assert (before[:, :150] == after[:, :150]).all() and (before[:40] == after[:40]).all()
    assert (pixels_of(real.src / "empty.png") == pixels_of(real.dst / "empty.png")).all()


def without_pixels(data: bytes) -> bytes:
    """A PNG or JPEG without its compressed picture, in which any three letters may stand by chance."""
    if data.startswith(b"\xff\xd8"):
        return data.partition(b"\xff\xda")[0]
    if not data.startswith(b"\x89PNG"):
        return data
    kept, place = b"", 8
    while place < len(data):
        size = 12 + int.from_bytes(data[place : place + 4], "big")
        kept += b"" if data[place + 4 : place + 8] == b"IDAT" else data[place : place + size]
        place += size
    return kept


def test_the_result_can_be_published(real: RealRun) -> None:
    files = {str(path.relative_to(real.dst)) for path in real.dst.rglob("*") if path.is_file()}
    photos = {"portrait.jpg", "group.png", "deep/er/small.png", "empty.png"}
    assert files == photos | {"mien.parquet", "mien.json"}
    columns = set(pq.read_table(real.dst / "mien.parquet").schema.names)
    assert columns == {
        "file", "face", "x", "y", "width", "height", "points", "score", "status", "reason", "attempts", "steps",
        "seconds", "similarity", "judge_distance", "attribute_distance", "recipe"}
    for name in files:
        data = (real.dst / name).read_bytes()
        assert PLANTED.encode() not in data and str(real.src).encode() not in data
        data = without_pixels(data)
        assert b"Exif" not in data and b"GPS" not in data and b"xmp" not in data.lower()
    with Image.open(real.dst / "portrait.jpg") as image:
        assert len(image.getexif()) == 0


def test_work_is_private_and_holds_what_research_needs(real: RealRun) -> None:
    assert stat.S_IMODE(real.work.stat().st_mode) == 0o700
    assert list((real.work / "latents").glob("*.safetensors"))


def test_sheets_show_every_face_from_its_original_to_its_photo(real: RealRun, ready: Loaded, tmp_path: Path) -> None:
    """With an inversion, though the run had no need of one."""
    (page,) = write_sheets(real.src, real.dst, real.dst.with_name("dst.work"), tmp_path / "sheets", ready,
                           TINY)
    drawn = pixels_of(page)
    changed_faces = sum(row["status"] == "anonymized" for row in rows_in(real.dst))
    assert drawn.shape[0] > 200 * changed_faces and drawn.shape[1] > 5 * 200
    latents = load_file(real.dst.with_name("dst.work") / "latents" / "000000.safetensors")
    assert {name.rpartition(".")[2] for name in latents} == {"result", "pair"}


def test_the_record_says_what_decided_the_result(real: RealRun) -> None:
    record = json.loads((real.dst / "mien.json").read_text())
    assert record["recipe_hash"] == TINY.hash and record["recipe"]["name"] == "tiny"
    assert (record["photos"], record["faces"], record["skipped"]) == (4, 5, [])
    assert sum(record["statuses"].values()) == 5
    assert set(record["versions"]) >= {"torch", "numpy", "pillow"}


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(real: RealRun, ready: Loaded, tmp_path: Path) -> None:
    fake_run.run(real.src, tmp_path / "dst", ready=ready)
    assert photos_in(tmp_path / "dst") == photos_in(real.dst)
    assert rows_in(tmp_path / "dst") == rows_in(real.dst)


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


@pytest.mark.slow
def test_a_real_run_does_only_what_is_missing(real: RealRun, ready: Loaded, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    dst = tmp_path / "dst"
    fake_run.run(real.src, dst, ready=ready)
    before, rows = photos_in(dst), rows_in(dst)
    dates = {name: (dst / name).stat().st_mtime_ns for name in before}
    names = json.loads((tmp_path / "dst.work" / "files.json").read_text())
    (dst / "portrait.jpg").unlink()
    fake_run.run(real.src, dst, ready=ready)
    assert photos_in(dst) == before and rows_in(dst) == rows
    first = names.index("portrait.jpg") // 2 * 2
    redone = {name for name, date in dates.items() if (dst / name).stat().st_mtime_ns != date}
    assert redone == set(names[first : first + 2])


def _with_original_faces(photo: Pixels, patches: list[Patch],
                         original: Pixels) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    pictures = [np.asarray(cv2.resize(patch.crop.pixels, (1024, 1024)), np.uint8) for patch in patches]
    return blend(photo, [Patch(patch.crop, new) for patch, new in zip(patches, pictures, strict=True)], original)


def _nothing(photo: Pixels, patches: list[Patch], original: Pixels) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    return photo.copy(), np.zeros(photo.shape[:2], dtype=bool)


@pytest.mark.parametrize("paint", [_with_original_faces, _nothing])
def test_a_pipeline_that_gives_the_face_back_ends_blurred(
    ready: Loaded, portraits: list[Pixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paint: Paint
) -> None:
    monkeypatch.setattr("mien.anonymizer.pipeline.blend", paint)
    save(tmp_path / "src" / "a.png", portraits[0])
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready)
    assert [row.status for row in summary.outcomes] == ["blurred"]
    after = pixels_of(tmp_path / "dst" / "a.png")
    assert changed(portraits[0], after, summary.outcomes[0].box)
    smooth = cv2.Laplacian(after[fake_run.inside(summary.outcomes[0].box)], cv2.CV_64F)
    assert np.abs(smooth).mean() < 1  # nothing but colors is left of it


def test_a_real_face_that_only_the_second_search_finds_is_concealed(
    ready: Loaded, portraits: list[Pixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(networks: Any, photo: Photo) -> list[Face]:
        return [face for face in detect(networks, photo) if face.box[0] + face.box[2] / 2 < 256]

    monkeypatch.setattr("mien.jobs.worker.detect", forgetful)
    photo = np.concatenate(portraits[:2], axis=1)
    save(tmp_path / "src" / "a.png", photo)
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready)
    late = summary.outcomes[1]
    assert (late.status, late.reason) == ("blurred", "found only in the finished photo")
    assert late.box[0] > 256 and changed(photo, pixels_of(tmp_path / "dst" / "a.png"), late.box)


def test_every_retry_is_harder_than_the_one_before() -> None:
    everything, middle = OptimizeSettings(), OptimizeSettings(layers=(3, 4, 5))
    margins = [_harder(everything, attempt, 16).margin for attempt in range(4)]
    assert margins == sorted(margins, reverse=True) and len(set(margins)) == 4
    wider = [_harder(middle, attempt, 16) for attempt in range(3)]
    assert wider[0] is middle and wider[1].layers == (2, 3, 4, 5, 6, 7) and wider[1].margin == middle.margin
    assert wider[2].margin < middle.margin
