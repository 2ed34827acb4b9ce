"""Whole datasets through the steps align, collect and compare."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers import drawn_datasets
from helpers.face_folders import Networks, face_at, shown, step_context, waves
from mien.datasets.registry import open_dataset
from mien.errors import OutputError, UsageError
from mien.models.hub.cache import sha256_of
from mien.recipe import Recipe
from mien.steps.align import align_dataset
from mien.steps.collect import collect_dataset
from mien.steps.compare import compare_folder
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


def draw(face_folder: FaceFolder, name: str, value: int | Pixels) -> None:
    """Writes what `mien steps render` leaves of a result."""
    pixels = np.full((256, 256, 3), value, np.uint8) if isinstance(value, int) else value
    face_folder.path(name, RESULT).write_bytes(b"codes")
    write_picture(face_folder.path(name, RESULT_PICTURE), pixels)
    hashes = sha256_of(face_folder.path(name, RESULT)), sha256_of(face_folder.path(name, RESULT_PICTURE))
    face_folder.keep(name, face_folder.record(name).model_copy(update={"drawn": hashes}))


def align(src: Path, face_folder: FaceFolder, faces: list[Face], largest: bool = False, again: bool = False) -> None:
    align_dataset(src, face_folder.folder, step_context(Looking(faces), quiet=False), again, largest, "auto", None)


def test_faces_lie_where_their_photos_do(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face_folder = FaceFolder(tmp_path / "faces")
    align(src, face_folder, [face_at(20, 20), face_at(150, 60)])
    assert face_folder.names() == ["a/one.0", "a/one.1", "a/two.0", "a/two.1", "b/one.0", "b/one.1"]
    for folder in (face_folder.folder, face_folder.folder / "a"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    said = capsys.readouterr().err
    assert "skipped broken.jpg" in said
    assert "skipped a/one.png: its faces would have the names of those of a/one.jpg" in said
    assert f"6 faces found, 6 crops written to {face_folder.folder}, " in said
    assert said.endswith("1 photos without a face, 2 skipped\n")
    before = {path: path.stat().st_mtime_ns for path in face_folder.folder.rglob("*.png")}
    align(src, face_folder, [face_at(20, 20), face_at(150, 60)])
    assert "0 crops written" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in face_folder.folder.rglob("*.png")}


def test_the_largest_face_alone(src: Path, tmp_path: Path) -> None:
    face_folder = FaceFolder(tmp_path / "faces")
    align(src, face_folder, [face_at(20, 20), face_at(150, 60, 100)], largest=True)
    assert face_folder.names() == ["a/one.1", "a/two.1", "b/one.1"]
    align(src, face_folder, [face_at(20, 20)], largest=True, again=True)
    assert face_folder.names() == ["a/one.0", "a/two.0", "b/one.0"]


def collect(src: Path, face_folder: FaceFolder, dst: Path, recipe: Recipe | None = None,
            later: list[Face] | None = None) -> None:
    collect_dataset(src, face_folder.folder, dst, step_context(Looking([], later or []), recipe=recipe), "auto", None)


def test_new_faces_become_a_dataset(src: Path, tmp_path: Path) -> None:
    face_folder, dst = FaceFolder(tmp_path / "faces"), tmp_path / "dst"
    align(src, face_folder, [face_at(20, 20), face_at(150, 60, 100)])
    with pytest.raises(UsageError, match="no rendered results"):
        collect(src, face_folder, dst)
    draw(face_folder, "a/one.1", 255)  # of the largest face
    draw(face_folder, "a/one.0", 0)
    draw(face_folder, "b/one.0", 0)  # not of the largest: left out
    draw(face_folder, "a/two.1", face_folder.crop("a/two.1", face_folder.record("a/two.1")).pixels)
    collect(src, face_folder, dst)
    record = json.loads((dst / "mien.json").read_text())
    files = sorted(path.relative_to(dst).as_posix() for path in dst.rglob("*") if path.is_file())
    assert files == ["a/one.jpg", "a/two.png", "mien.json", "mien.parquet"]
    rows = {row["file"]: row for row in pq.read_table(face_folder.folder / "faces.parquet").to_pylist()}
    assert rows["a/one.jpg"]["status"] == "anonymized" and rows["a/one.jpg"]["judge_distance"] > 0.6
    assert (rows["a/two.png"]["status"], rows["a/two.png"]["judge_distance"]) == ("blurred", None)
    assert shown(dst / "a/one.jpg").min() > 250  # the whole new picture
    assert record["statuses"] == {"anonymized": 1, "blurred": 1} and record["weights_sha256"]
    crop = face_folder.crop("a/two.1", face_folder.record("a/two.1")).pixels
    changed = (shown(dst / "a/two.png") != crop).any(axis=2)
    assert changed[100:156, 100:156].mean() > 0.9 and not changed[0].any()
    nothing, undrawn = "the face folder has no face of it", "its largest face has no rendered result"
    other = "its faces are another photo's, or it has changed since; run: mien steps align --again"
    assert {one["file"]: one["reason"] for one in record["skipped"]} == {
        "a/one.png": other, "broken.jpg": nothing, "b/one.png": undrawn, "empty.png": nothing}
    assert str(face_folder.folder) not in (dst / "mien.json").read_text()
    collect(src, face_folder, dst)  # its own again
    stranger = FaceFolder(tmp_path / "other")
    align(src, stranger, [face_at(20, 20)])
    draw(stranger, "a/one.0", 255)
    with pytest.raises(OutputError, match="is not empty"):
        collect(src, stranger, dst)
    with pytest.raises(UsageError, match="DST lies inside SRC"):
        collect(src, face_folder, src / "inside")


def test_what_changed_or_broke_since_is_taken_back_out(src: Path, tmp_path: Path) -> None:
    face_folder, dst = FaceFolder(tmp_path / "faces"), tmp_path / "dst"
    align(src, face_folder, [face_at(20, 20)])
    for name in face_folder.names():
        draw(face_folder, name, 255)
    collect(src, face_folder, dst)
    assert all((dst / name).exists() for name in ("a/one.jpg", "a/two.png", "b/one.png"))
    write_picture(src / "b" / "one.png", waves(200, 301))
    face_folder.path("a/two.0", RESULT_PICTURE).write_bytes(b"rubbish")
    collect(src, face_folder, dst)
    assert not (dst / "b/one.png").exists() and not (dst / "a/two.png").exists() and (dst / "a/one.jpg").exists()
    left = {one["file"]: one["reason"] for one in json.loads((dst / "mien.json").read_text())["skipped"]}
    assert "changed since" in left["b/one.png"] and "render --again" in left["a/two.png"]
    face_folder.path("a/one.0", ".json").write_text("{}")
    with pytest.raises(UsageError, match="no photograph of"):
        collect(src, face_folder, dst)
    assert not (dst / "a/one.jpg").exists()


def test_a_photograph_in_a_picture_s_place_stays_out(src: Path, tmp_path: Path) -> None:
    """Somebody's crop copied over a result, a result optimized anew but not drawn, a crop exchanged for another."""
    face_folder, dst = FaceFolder(tmp_path / "faces"), tmp_path / "dst"
    align(src, face_folder, [face_at(20, 20)])
    for name in face_folder.names():
        draw(face_folder, name, 255)
    crop = face_folder.crop("b/one.0", face_folder.record("b/one.0")).pixels
    write_picture(face_folder.path("a/one.0", RESULT_PICTURE), crop)
    face_folder.path("a/two.0", RESULT).write_bytes(b"other codes")
    draw(face_folder, "b/one.0", crop)
    write_picture(face_folder.path("b/one.0", CROP), np.full((256, 256, 3), 255, np.uint8))
    collect(src, face_folder, dst)
    assert not (dst / "a/one.jpg").exists() and not (dst / "a/two.png").exists()
    rows = pq.read_table(dst / "mien.parquet").to_pylist()
    assert [(row["file"], row["status"]) for row in rows] == [("b/one.png", "blurred")]
    with pytest.raises(UsageError, match="no photograph of"):  # even a blurred one, where a face is still found
        collect(src, face_folder, dst, later=[face_at(64, 64, 128)])
    assert not (dst / "b/one.png").exists()


def test_two_photos_never_become_one(src: Path, tmp_path: Path) -> None:
    face_folder, dst = FaceFolder(tmp_path / "faces"), tmp_path / "dst"
    Image.fromarray(waves(200, 300)).save(src / "x.webp", lossless=True)
    write_picture(src / "x.webp.png", waves(200, 300))
    align(src, face_folder, [face_at(20, 20)])
    for name in face_folder.names():
        draw(face_folder, name, 255)
    collect(src, face_folder, dst)
    left = {one["file"]: one["reason"] for one in json.loads((dst / "mien.json").read_text())["skipped"]}
    assert "rename one" in left["x.webp"] and (dst / "x.webp.png").exists()


def test_a_moved_dataset_is_known_by_its_photos(src: Path, tmp_path: Path) -> None:
    face_folder = FaceFolder(tmp_path / "faces")
    align(src, face_folder, [face_at(20, 20)])
    draw(face_folder, "b/one.0", 255)
    src.rename(tmp_path / "moved")
    collect(tmp_path / "moved", face_folder, tmp_path / "dst")
    assert (tmp_path / "dst" / "b" / "one.png").exists()


def test_a_changed_photo_is_cut_out_again(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face_folder = FaceFolder(tmp_path / "faces")
    align(src, face_folder, [face_at(20, 20)])
    before = face_folder.record("b/one.0").sha256
    write_picture(src / "b" / "one.png", waves(200, 300)[:, ::-1].copy())
    align(src, face_folder, [face_at(20, 20)])
    assert "has changed since" in capsys.readouterr().err and face_folder.record("b/one.0").sha256 == before
    align(src, face_folder, [face_at(20, 20)], again=True)
    assert face_folder.record("b/one.0").sha256 == sha256_of(src / "b" / "one.png")


def test_crops_do_not_go_into_the_dataset(src: Path) -> None:
    for folder in (src, src / "faces"):
        with pytest.raises(UsageError, match="would be taken for photographs"):
            align(src, FaceFolder(folder), [face_at(20, 20)])


def test_the_reference_s_jpeg_is_smaller(src: Path, tmp_path: Path) -> None:
    face_folder, sizes = FaceFolder(tmp_path / "faces"), []
    align(src, face_folder, [face_at(20, 20)])
    draw(face_folder, "a/one.0", waves(256, 256)[::-1].copy() // 2 + 120)
    for name in ("default", "falco-reference"):
        collect(src, face_folder, tmp_path / name, Recipe.load(name))
        sizes.append((tmp_path / name / "a/one.jpg").stat().st_size)
        with Image.open(tmp_path / name / "a/one.jpg") as picture:
            assert "progressive" in picture.info and not picture.getexif()
    assert sizes[0] > sizes[1]


def test_labels_and_splits_come_along(tmp_path: Path) -> None:
    src, face_folder, dst = drawn_datasets.celebahq(tmp_path / "src"), FaceFolder(tmp_path / "faces"), tmp_path / "dst"
    for path in (src / "data").iterdir():
        write_picture(path, waves(200, 300))
    align(src, face_folder, [face_at(20, 20)])
    for name in face_folder.names()[1:]:
        draw(face_folder, name, 255)
    collect(src, face_folder, dst)
    old, new = open_dataset(src), open_dataset(dst)
    assert (new.layout, len(new.photos)) == ("celebahq", len(old.photos) - 1)
    for table in ("splits", "people"):
        assert getattr(new, table) == {name: getattr(old, table)[name] for name in new.photos}


def test_sheets_show_what_is_there(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face_folder = FaceFolder(tmp_path / "faces")
    align(src, face_folder, [face_at(20, 20)])
    with pytest.raises(UsageError, match="nothing in"):
        compare_folder(face_folder.folder, tmp_path / "sheets", 1)
    draw(face_folder, "a/one.0", 255)
    face_folder.path("a/two.0", CROP).unlink()
    compare_folder(face_folder.folder, tmp_path / "sheets", 1)
    assert capsys.readouterr().out == f"{tmp_path / 'sheets' / 'sheet-001.png'}\n"
    assert shown(tmp_path / "sheets" / "sheet-001.png").shape[1] == 4 * 264 + 8
    assert stat.S_IMODE((tmp_path / "sheets").stat().st_mode) == 0o700
    compare_folder(face_folder.folder, tmp_path / "sheets", 2)
    with pytest.raises(UsageError, match="other files than sheets"):
        compare_folder(face_folder.folder, src, 1)
