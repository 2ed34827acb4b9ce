"""Read, detect, align and export as commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from helpers.face_folders import (
    Networks,
    aligned,
    draw,
    face_at,
    lines,
    noise,
    refused,
    run,
    shown,
    step_context,
    waves,
)
from mien.anonymizer.align import align
from mien.anonymizer.align_ffhq import align_as_published
from mien.errors import PhotoError, UsageError
from mien.models.hub.cache import sha256_of
from mien.recipe import Recipe
from mien.steps.align import align_photo, detect_photos
from mien.steps.face_folder import CROP, RECORD, RESULT_PICTURE, FaceFolder, Pairing, write_picture


def test_read_turns_a_photo_upright_and_drops_its_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "a camera"
    pixels = noise(1, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert run("read", tmp_path / "a.png", tmp_path / "out.png").exit_code == 0
    with Image.open(tmp_path / "out.png") as out:
        assert (out.size, out.mode, dict(out.getexif())) == ((20, 30), "RGB", {})
        assert np.array_equal(np.asarray(out), np.rot90(pixels, -1))


def test_read_writes_only_png(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", noise(1, 20, 30))
    assert ".png" in refused(run("read", tmp_path / "a.png", tmp_path / "out.jpg")).message


@pytest.mark.parametrize("command", ["read", "export"])
def test_a_photo_is_never_written_over(tmp_path: Path, command: str) -> None:
    write_picture(tmp_path / "a.png", noise(1, 20, 30))
    before = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert "the photo itself" in refused(run(command, tmp_path / "a.png", tmp_path / "b.png")).message
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize("command", ["read", "export"])
def test_a_damaged_photo_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    result = run(command, tmp_path / "a.png", tmp_path / "out.png")
    assert isinstance(result.exception, PhotoError)
    assert "a.png" in result.exception.message
    assert not (tmp_path / "out.png").exists()


def test_export_keeps_pixels_and_drops_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(waves(40, 60)).save(tmp_path / "a.jpg", exif=exif, comment=b"somebody", quality=80)
    assert run("export", tmp_path / "a.jpg", tmp_path / "deep" / "out.jpeg").exit_code == 0
    data = (tmp_path / "deep" / "out.jpeg").read_bytes()
    assert b"camera" not in data and b"somebody" not in data
    assert np.array_equal(shown(tmp_path / "a.jpg"), shown(tmp_path / "deep" / "out.jpeg"))


def test_export_refuses_a_name_of_another_format(tmp_path: Path) -> None:
    Image.fromarray(waves(40, 60)).save(tmp_path / "a.jpg")
    error = refused(run("export", tmp_path / "a.jpg", tmp_path / "out.png"))
    assert "JPEG" in error.message and ".jpg" in error.hint
    assert not (tmp_path / "out.png").exists()


def test_detect_prints_a_line_a_face_and_goes_on_after_a_bad_photo(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "a.png", waves(200, 300))
    (tmp_path / "bad.png").write_bytes(b"rubbish")
    faces = [face_at(20, 20), face_at(150, 60)]
    with pytest.raises(PhotoError, match="1 of 2 photos"):
        detect_photos([tmp_path / "bad.png", tmp_path / "a.png"], step_context(Networks(faces), quiet=False))
    out, err = capsys.readouterr()
    rows = lines(out)
    assert [(row["file"], row["face"]) for row in rows] == [(str(tmp_path / "a.png"), i) for i in range(2)]
    assert rows[1]["box"] == [150, 60, 80, 80] and np.array(rows[1]["points"]).shape == (5, 2)
    assert "bad.png" in err


def test_align_takes_the_recipe_s_alignment(tmp_path: Path) -> None:
    write_picture(tmp_path / "photo.png", waves(200, 300))
    face = face_at(-20, 30)
    recipe = Recipe().with_changes({"detect.alignment": "published"})
    align_photo(tmp_path / "photo.png", tmp_path / "faces", step_context(Networks([face]), recipe=recipe), again=False)
    face_folder = FaceFolder(tmp_path / "faces")
    crop = face_folder.crop("photo.0", face_folder.record("photo.0"))
    expected = align_as_published(waves(200, 300), face)
    assert np.array_equal(crop.pixels, expected.pixels) and np.array_equal(crop.quad, expected.quad)
    assert not np.array_equal(crop.pixels, align(waves(200, 300), face).pixels)


def test_align_writes_what_the_function_cuts(tmp_path: Path) -> None:
    face = face_at(-20, 30)  # reaches over the edge
    photo, face_folder = aligned(tmp_path, [face])
    crop = align(shown(photo), face)
    record = face_folder.record("photo.0")
    again = face_folder.crop("photo.0", record)
    assert face_folder.names() == ["photo.0"]
    assert record.file == str(photo) and record.sha256 == sha256_of(photo)
    assert np.array_equal(again.pixels, crop.pixels) and np.array_equal(again.quad, crop.quad)
    assert np.array_equal(again.inside, crop.inside) and not crop.inside.all()
    assert again.turn == crop.turn
    assert again.pixels.flags.writeable
    assert np.array_equal(record.as_face().points, face.points)
    assert face_folder.folder.stat().st_mode & 0o777 == 0o700


def test_align_keeps_what_is_there_and_mends_what_is_missing(tmp_path: Path) -> None:
    faces = [face_at(20, 20), face_at(150, 60)]
    photo, face_folder = aligned(tmp_path, faces)
    record = face_folder.record("photo.1").model_copy(update={"pair": Pairing(index=7), "note": "mine"})
    face_folder.keep("photo.1", record)
    write_picture(face_folder.path("photo.0", CROP), np.zeros((256, 256, 3), np.uint8))
    face_folder.path("photo.1", CROP).unlink()
    align_photo(photo, face_folder.folder, step_context(Networks(faces)), again=False)
    assert not face_folder.crop("photo.0", record).pixels.any()
    assert face_folder.crop("photo.1", record).pixels.any()
    kept = face_folder.record("photo.1")
    assert kept.pair == Pairing(index=7)
    assert cast(Any, kept).note == "mine"


def test_align_again_forgets_the_photo_and_no_other(tmp_path: Path) -> None:
    faces = [face_at(20, 20), face_at(150, 60)]
    aligned(tmp_path, faces, "photo.1.png")
    photo, face_folder = aligned(tmp_path, faces)
    draw(face_folder, "photo.1", 9)
    draw(face_folder, "photo.1.1", 9)
    face_folder.path("photo.0", RECORD).write_text("rubbish")
    align_photo(photo, face_folder.folder, step_context(Networks(faces[:1])), again=True)
    assert face_folder.names() == ["photo.0", "photo.1.0", "photo.1.1"]
    assert not face_folder.has("photo.1", RESULT_PICTURE)
    assert face_folder.has("photo.1.1", RESULT_PICTURE)


def test_align_refuses_another_photo_of_the_same_name(tmp_path: Path) -> None:
    _, face_folder = aligned(tmp_path, [face_at(20, 20)])
    other = tmp_path / "other" / "photo.png"
    write_picture(other, noise(3, 200, 300))
    with pytest.raises(UsageError, match="another photo named photo"):
        align_photo(other, face_folder.folder, step_context(Networks([face_at(20, 20)])), again=True)


def test_align_refuses_to_mix_two_detections(tmp_path: Path) -> None:
    photo, face_folder = aligned(tmp_path, [face_at(20, 20)])
    with pytest.raises(UsageError, match="another face") as caught:
        align_photo(photo, face_folder.folder, step_context(Networks([face_at(150, 60)])), again=False)
    assert "--again" in caught.value.hint


def test_align_leaves_out_faces_too_small_for_a_new_one(tmp_path: Path) -> None:
    _, face_folder = aligned(tmp_path, [face_at(20, 20, side=10), face_at(150, 60)])
    assert face_folder.names() == ["photo.1"]
