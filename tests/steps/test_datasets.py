"""Whole datasets through the stage commands: align, collect, compare."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers import drawn_datasets
from helpers.face_folders import Networks, face_at, kit, shown, waves
from mien.datasets.registry import open_dataset
from mien.errors import OutputError, UsageError
from mien.models.hub.cache import sha256_of
from mien.recipe import Recipe
from mien.steps.align import align_dataset
from mien.steps.collect import collect_dataset
from mien.steps.compare import compare_tray
from mien.steps.face_folder import CROP, RESULT, RESULT_PICTURE, FaceFolder, write_picture
from mien.types import Face, Pixels


class Looking(Networks):
    """Finds the faces in photographs, and `later` ones in pictures of crops."""

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        return self.later if photo.shape[0] == 256 else self.faces if photo.shape[1] >= 300 else []


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A dataset with folders, a broken photo, one without a face and two of one stem."""
    for name in ("a/one.png", "a/two.png", "b/one.png"):
        write_picture(_made(tmp_path / "src" / name), waves(200, 300))
    write_picture(tmp_path / "src" / "empty.png", waves(100, 100))
    (tmp_path / "src" / "broken.jpg").write_bytes(b"rubbish")
    Image.fromarray(waves(200, 300)).save(tmp_path / "src" / "a" / "one.jpg")
    return tmp_path / "src"


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def draw(tray: FaceFolder, name: str, value: int | Pixels) -> None:
    """What `mien render` leaves of a result."""
    pixels = np.full((256, 256, 3), value, np.uint8) if isinstance(value, int) else value
    tray.path(name, RESULT).write_bytes(b"codes")
    write_picture(tray.path(name, RESULT_PICTURE), pixels)
    hashes = sha256_of(tray.path(name, RESULT)), sha256_of(tray.path(name, RESULT_PICTURE))
    tray.keep(name, tray.record(name).model_copy(update={"drawn": hashes}))


def align(src: Path, tray: FaceFolder, faces: list[Face], largest: bool = False, again: bool = False) -> None:
    align_dataset(src, tray.folder, kit(Looking(faces), quiet=False), again, largest, "auto", None)


def test_faces_lie_where_their_photos_do(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tray = FaceFolder(tmp_path / "tray")
    align(src, tray, [face_at(20, 20), face_at(150, 60)])
    assert tray.names() == ["a/one.0", "a/one.1", "a/two.0", "a/two.1", "b/one.0", "b/one.1"]
    for folder in (tray.folder, tray.folder / "a"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    said = capsys.readouterr().err
    assert "skipped broken.jpg" in said
    assert "skipped a/one.png: its faces would lie where those of a/one.jpg do" in said
    assert said.endswith("6 faces found, 6 crops written to " + f"{tray.folder}, 1 photos without a face, 2 skipped\n")
    before = {path: path.stat().st_mtime_ns for path in tray.folder.rglob("*.png")}
    align(src, tray, [face_at(20, 20), face_at(150, 60)])
    assert "0 crops written" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in tray.folder.rglob("*.png")}


def test_the_largest_face_alone(src: Path, tmp_path: Path) -> None:
    tray = FaceFolder(tmp_path / "tray")
    align(src, tray, [face_at(20, 20), face_at(150, 60, 100)], largest=True)
    assert tray.names() == ["a/one.1", "a/two.1", "b/one.1"]
    align(src, tray, [face_at(20, 20)], largest=True, again=True)
    assert tray.names() == ["a/one.0", "a/two.0", "b/one.0"]


def collect(src: Path, tray: FaceFolder, dst: Path, recipe: Recipe | None = None,
            later: list[Face] | None = None) -> None:
    collect_dataset(src, tray.folder, dst, kit(Looking([], later or []), recipe=recipe), "auto", None)


def test_new_faces_become_a_dataset(src: Path, tmp_path: Path) -> None:
    tray, dst = FaceFolder(tmp_path / "tray"), tmp_path / "dst"
    align(src, tray, [face_at(20, 20), face_at(150, 60, 100)])
    with pytest.raises(UsageError, match="no rendered results"):
        collect(src, tray, dst)
    draw(tray, "a/one.1", 255)  # of the largest face
    draw(tray, "a/one.0", 0)
    draw(tray, "b/one.0", 0)  # not of the largest: left out
    draw(tray, "a/two.1", tray.crop("a/two.1", tray.record("a/two.1")).pixels)
    collect(src, tray, dst)
    record = json.loads((dst / "mien.json").read_text())
    files = sorted(path.relative_to(dst).as_posix() for path in dst.rglob("*") if path.is_file())
    assert files == ["a/one.jpg", "a/two.png", "mien.json", "mien.parquet"]
    rows = {row["file"]: row for row in pq.read_table(dst / "mien.parquet").to_pylist()}
    assert rows["a/one.jpg"]["status"] == "anonymized" and rows["a/one.jpg"]["judge_distance"] > 0.6
    assert (rows["a/two.png"]["status"], rows["a/two.png"]["judge_distance"]) == ("blurred", None)
    assert shown(dst / "a/one.jpg").min() > 250  # the whole new picture
    assert record["statuses"] == {"anonymized": 1, "blurred": 1} and record["weights_sha256"]
    crop = tray.crop("a/two.1", tray.record("a/two.1")).pixels
    changed = (shown(dst / "a/two.png") != crop).any(axis=2)
    assert changed[100:156, 100:156].mean() > 0.9 and not changed[0].any()
    nothing, undrawn = "no face of it in the folder", "its largest face has no rendered result"
    other = "the folder's faces are of another photo, or it has changed since: mien align --again"
    assert {one["file"]: one["reason"] for one in record["skipped"]} == {
        "a/one.png": other, "broken.jpg": nothing, "b/one.png": undrawn, "empty.png": nothing}
    assert str(tray.folder) not in (dst / "mien.json").read_text()
    collect(src, tray, dst)  # its own again
    stranger = FaceFolder(tmp_path / "other")
    align(src, stranger, [face_at(20, 20)])
    draw(stranger, "a/one.0", 255)
    with pytest.raises(OutputError, match="is not empty"):
        collect(src, stranger, dst)
    with pytest.raises(UsageError, match="DST lies inside SRC"):
        collect(src, tray, src / "inside")


def test_what_changed_or_broke_since_is_taken_back_out(src: Path, tmp_path: Path) -> None:
    tray, dst = FaceFolder(tmp_path / "tray"), tmp_path / "dst"
    align(src, tray, [face_at(20, 20)])
    for name in tray.names():
        draw(tray, name, 255)
    collect(src, tray, dst)
    assert all((dst / name).exists() for name in ("a/one.jpg", "a/two.png", "b/one.png"))
    write_picture(src / "b" / "one.png", waves(200, 301))
    tray.path("a/two.0", RESULT_PICTURE).write_bytes(b"rubbish")
    collect(src, tray, dst)
    assert not (dst / "b/one.png").exists() and not (dst / "a/two.png").exists() and (dst / "a/one.jpg").exists()
    left = {one["file"]: one["reason"] for one in json.loads((dst / "mien.json").read_text())["skipped"]}
    assert "changed since" in left["b/one.png"] and "render --again" in left["a/two.png"]
    tray.path("a/one.0", ".json").write_text("{}")
    with pytest.raises(UsageError, match="no photograph of"):
        collect(src, tray, dst)
    assert not (dst / "a/one.jpg").exists()


def test_a_photograph_in_a_picture_s_place_stays_out(src: Path, tmp_path: Path) -> None:
    """Somebody's crop copied over a result, a result optimized anew but not drawn, a crop exchanged for another."""
    tray, dst = FaceFolder(tmp_path / "tray"), tmp_path / "dst"
    align(src, tray, [face_at(20, 20)])
    for name in tray.names():
        draw(tray, name, 255)
    write_picture(tray.path("a/one.0", RESULT_PICTURE), tray.crop("b/one.0", tray.record("b/one.0")).pixels)
    tray.path("a/two.0", RESULT).write_bytes(b"other codes")
    draw(tray, "b/one.0", tray.crop("b/one.0", tray.record("b/one.0")).pixels)
    write_picture(tray.path("b/one.0", CROP), np.full((256, 256, 3), 255, np.uint8))
    collect(src, tray, dst)
    assert not (dst / "a/one.jpg").exists() and not (dst / "a/two.png").exists()
    rows = pq.read_table(dst / "mien.parquet").to_pylist()
    assert [(row["file"], row["status"]) for row in rows] == [("b/one.png", "blurred")]
    with pytest.raises(UsageError, match="no photograph of"):  # even a blurred one, where a face is still found
        collect(src, tray, dst, later=[face_at(64, 64, 128)])
    assert not (dst / "b/one.png").exists()


def test_two_photos_never_become_one(src: Path, tmp_path: Path) -> None:
    tray, dst = FaceFolder(tmp_path / "tray"), tmp_path / "dst"
    Image.fromarray(waves(200, 300)).save(src / "x.webp", lossless=True)
    write_picture(src / "x.webp.png", waves(200, 300))
    align(src, tray, [face_at(20, 20)])
    for name in tray.names():
        draw(tray, name, 255)
    collect(src, tray, dst)
    left = {one["file"]: one["reason"] for one in json.loads((dst / "mien.json").read_text())["skipped"]}
    assert "rename one" in left["x.webp"] and (dst / "x.webp.png").exists()


def test_a_moved_dataset_is_known_by_its_photos(src: Path, tmp_path: Path) -> None:
    tray = FaceFolder(tmp_path / "tray")
    align(src, tray, [face_at(20, 20)])
    draw(tray, "b/one.0", 255)
    src.rename(tmp_path / "moved")
    collect(tmp_path / "moved", tray, tmp_path / "dst")
    assert (tmp_path / "dst" / "b" / "one.png").exists()


def test_a_changed_photo_is_cut_out_again(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tray = FaceFolder(tmp_path / "tray")
    align(src, tray, [face_at(20, 20)])
    before = tray.record("b/one.0").sha256
    write_picture(src / "b" / "one.png", waves(200, 300)[:, ::-1].copy())
    align(src, tray, [face_at(20, 20)])
    assert "has changed since" in capsys.readouterr().err and tray.record("b/one.0").sha256 == before
    align(src, tray, [face_at(20, 20)], again=True)
    assert tray.record("b/one.0").sha256 == sha256_of(src / "b" / "one.png")


def test_crops_do_not_go_into_the_dataset(src: Path) -> None:
    for folder in (src, src / "faces"):
        with pytest.raises(UsageError, match="would be taken for photographs"):
            align(src, FaceFolder(folder), [face_at(20, 20)])


def test_the_reference_s_jpeg_is_smaller(src: Path, tmp_path: Path) -> None:
    tray, sizes = FaceFolder(tmp_path / "tray"), []
    align(src, tray, [face_at(20, 20)])
    draw(tray, "a/one.0", waves(256, 256)[::-1].copy() // 2 + 120)
    for name in ("default", "falco-reference"):
        collect(src, tray, tmp_path / name, Recipe.load(name))
        sizes.append((tmp_path / name / "a/one.jpg").stat().st_size)
        with Image.open(tmp_path / name / "a/one.jpg") as picture:
            assert "progressive" in picture.info and not picture.getexif()
    assert sizes[0] > sizes[1]


def test_labels_and_splits_come_along(tmp_path: Path) -> None:
    src, tray, dst = drawn_datasets.celebahq(tmp_path / "src"), FaceFolder(tmp_path / "tray"), tmp_path / "dst"
    for path in (src / "data").iterdir():
        write_picture(path, waves(200, 300))
    align(src, tray, [face_at(20, 20)])
    for name in tray.names()[1:]:
        draw(tray, name, 255)
    collect(src, tray, dst)
    old, new = open_dataset(src), open_dataset(dst)
    assert (new.layout, len(new.photos)) == ("celebahq", len(old.photos) - 1)
    for table in ("splits", "people"):
        assert getattr(new, table) == {name: getattr(old, table)[name] for name in new.photos}


def test_sheets_show_what_is_there(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tray = FaceFolder(tmp_path / "tray")
    align(src, tray, [face_at(20, 20)])
    with pytest.raises(UsageError, match="nothing in"):
        compare_tray(tray.folder, tmp_path / "sheets", 1)
    draw(tray, "a/one.0", 255)
    tray.path("a/two.0", CROP).unlink()
    compare_tray(tray.folder, tmp_path / "sheets", 1)
    assert capsys.readouterr().out == f"{tmp_path / 'sheets' / 'sheet-001.png'}\n"
    assert shown(tmp_path / "sheets" / "sheet-001.png").shape[1] == 4 * 264 + 8
    assert stat.S_IMODE((tmp_path / "sheets").stat().st_mode) == 0o700
    compare_tray(tray.folder, tmp_path / "sheets", 2)
    with pytest.raises(UsageError, match="other things than sheets"):
        compare_tray(tray.folder, src, 1)
