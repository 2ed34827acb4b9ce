"""A run with the real networks: what it changes, what it leaves, and what it lets out."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
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
    TINY,
    changed,
    photos_in,
    pixels_of,
    rows_in,
    save,
)
from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.detect import detect
from mien.anonymizer.load import Loaded
from mien.jobs.published import published_recipe
from mien.jobs.summary import Summary
from mien.report.run_sheets import write_sheets
from mien.types import Face, Photo, Pixels

Paint = Callable[[Pixels, list[Patch]], tuple[Pixels, npt.NDArray[np.bool_]]]

PLANTED = "Planted-Secret-4711"


@dataclass
class RealRun:
    src: Path
    dst: Path
    work: Path
    summary: Summary


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


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
        mine = [row for row in real.summary.outcomes if row.file == name and row.status == "anonymized"]
        places += [np.array(row.points, np.float32) for row in mine]
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
        "file", "face", "x", "y", "width", "height", "status", "reason", "attempts", "privacy_band", "recipe"}
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
    assert record["recipe_hash"] == published_recipe(TINY).hash and record["recipe"]["name"] == "tiny"
    assert (record["photos"], record["faces"], record["skipped"]) == (4, 5, [])
    assert sum(record["statuses"].values()) == 5
    assert set(record["versions"]) >= {"torch", "numpy", "pillow"}


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(real: RealRun, ready: Loaded, tmp_path: Path) -> None:
    fake_run.run(real.src, tmp_path / "dst", ready=ready)
    assert photos_in(tmp_path / "dst") == photos_in(real.dst)
    assert rows_in(tmp_path / "dst") == rows_in(real.dst)


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
    monkeypatch.setattr("mien.anonymizer.finish.blend", paint)
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
