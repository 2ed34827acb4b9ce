"""Blend as a command: no face leaves as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.face_folders import Networks, aligned, draw, face_at, lines, noise, shown, step_context, waves
from mien.errors import UsageError
from mien.steps.blend import blend_photo
from mien.steps.face_folder import RESULT_PICTURE, write_picture


def test_blend_changes_the_new_face_and_nothing_else(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = face_at(110, 60)
    photo, face_folder = aligned(tmp_path, [face])
    draw(face_folder, "photo.0", 255)
    blend_photo(photo, face_folder.folder, tmp_path / "out.png", step_context(Networks([face])))
    row = lines(capsys.readouterr().out)[0]
    assert (row["face"], row["status"]) == ("photo.0", "anonymized") and row["distance"] >= 0.6
    before, after = shown(photo), shown(tmp_path / "out.png")
    changed = (before != after).any(axis=2)
    assert changed[100, 150] and not changed[:, :60].any() and not changed[:, 240:].any()


def test_blend_blurs_what_the_judge_still_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = face_at(110, 60)
    photo, face_folder = aligned(tmp_path, [face])
    crop = face_folder.crop("photo.0", face_folder.record("photo.0"))
    write_picture(face_folder.path("photo.0", RESULT_PICTURE), crop.pixels)
    blend_photo(photo, face_folder.folder, tmp_path / "out.png", step_context(Networks([face])))
    row = lines(capsys.readouterr().out)[0]
    assert (row["status"], row["reason"]) == ("blurred", "verifies as the original in the finished photo")
    before, after = shown(photo), shown(tmp_path / "out.png")
    assert (before != after).any(axis=2)[60:140, 110:190].mean() > 0.9


def test_blend_leaves_no_face_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faces without a crop, without a picture, and found only at the end are blurred."""
    new, bare, stranger = face_at(20, 10, 60), face_at(110, 10, 60), face_at(200, 10, 60)
    late = face_at(20, 120, 60)
    photo, face_folder = aligned(tmp_path, [new, bare])
    draw(face_folder, "photo.0", 255)
    blend_photo(photo, face_folder.folder, tmp_path / "out.png", step_context(Networks([new, bare, stranger], [late])))
    rows = {(row["face"], row["reason"]): row["status"] for row in lines(capsys.readouterr().out)}
    assert rows == {("photo.0", ""): "anonymized", ("photo.1", "no rendered result"): "blurred",
                    ("", "no crop of it"): "blurred", ("", "found only in the finished photo"): "blurred"}
    before, after = shown(photo), shown(tmp_path / "out.png")
    for face in (new, bare, stranger, late):
        x, y = (int(value) + 30 for value in face.box[:2])
        assert (before != after).any(axis=2)[y - 10 : y + 10, x - 10 : x + 10].mean() > 0.9


def test_blend_wants_the_very_photo_that_was_aligned(tmp_path: Path) -> None:
    _, face_folder = aligned(tmp_path, [face_at(110, 60)])
    draw(face_folder, "photo.0", 255)
    write_picture(tmp_path / "new" / "photo.png", noise(5, 200, 300))
    context = step_context(Networks([]))
    with pytest.raises(UsageError, match="holds no faces of"):
        blend_photo(tmp_path / "new" / "photo.png", face_folder.folder, tmp_path / "out.png", context)


def test_blend_refuses_a_picture_that_is_no_square(tmp_path: Path) -> None:
    photo, face_folder = aligned(tmp_path, [face_at(110, 60)])
    write_picture(face_folder.path("photo.0", RESULT_PICTURE), waves(256, 300))
    with pytest.raises(UsageError, match="300 x 256"):
        blend_photo(photo, face_folder.folder, tmp_path / "out.png", step_context(Networks([])))
