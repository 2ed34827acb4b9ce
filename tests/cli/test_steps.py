"""`mien steps` as a program: what each step refuses before any network is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.face_folders import aligned, face_at, refused, run, waves
from helpers.fake_wheels import FakeWheels
from mien.errors import PhotoError, UsageError
from mien.steps.face_folder import CROP, INVERSION, RECORD, Pairing, write_picture


@pytest.mark.parametrize("command", ["features", "invert", "pair", "optimize", "verify", "render", "blend"])
def test_a_folder_without_faces_says_how_to_make_some(
        fakes: FakeWheels, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    write_picture(tmp_path / "a.png", waves(20, 20))
    arguments = [tmp_path / "a.png", folder, tmp_path / "out.png"] if command == "blend" else [folder]
    error = refused(run(command, *arguments))
    assert error.message == f"no faces in {folder}"
    assert error.hint == f"run: mien steps align PHOTO {folder}"


@pytest.mark.parametrize("command", ["features", "invert", "pair", "optimize"])
def test_a_missing_folder_is_named(fakes: FakeWheels, tmp_path: Path, command: str) -> None:
    assert refused(run(command, tmp_path / "none")).message == f"{tmp_path / 'none'} is not a folder"


def test_each_command_names_the_one_before(fakes: FakeWheels, tmp_path: Path) -> None:
    photo, face_folder = aligned(tmp_path, [face_at(20, 20)])
    for command, what, before in (("optimize", "inversions", "invert"), ("render", "results", "optimize"),
                                  ("verify", "rendered results", "render")):
        error = refused(run(command, face_folder.folder))
        assert error.message == f"no {what} in {face_folder.folder}"
        assert error.hint == f"run: mien steps {before} {face_folder.folder}"
    assert "rendered results" in refused(run("blend", photo, face_folder.folder, tmp_path / "out.png")).message
    face_folder.path("photo.0", INVERSION).touch()
    error = refused(run("optimize", face_folder.folder))
    assert error.message == f"no pairs in {face_folder.folder}"
    assert error.hint == f"run: mien steps pair {face_folder.folder}"


def test_faces_that_lack_a_step_are_named(fakes: FakeWheels, tmp_path: Path) -> None:
    _, face_folder = aligned(tmp_path, [face_at(20, 20), face_at(150, 60)])
    face_folder.path("photo.0", INVERSION).touch()
    assert refused(run("optimize", face_folder.folder)).message == f"photo.1 in {face_folder.folder}: no inversions"
    face_folder.path("photo.1", INVERSION).touch()
    face_folder.keep("photo.0", face_folder.record("photo.0").model_copy(update={"pair": Pairing(index=1)}))
    assert refused(run("optimize", face_folder.folder)).message == "photo.1: no pairs"
    face_folder.path("photo.1", CROP).unlink()
    assert refused(run("pair", face_folder.folder)).message == f"photo.1 in {face_folder.folder}: no crop"


@pytest.mark.parametrize("text, reason", [
    ("rubbish", "Expecting value"), ("[]", "the whole"), ('{"file": "a"}', "sha256: Field required"),
])
def test_a_damaged_record_is_named(fakes: FakeWheels, tmp_path: Path, text: str, reason: str) -> None:
    _, face_folder = aligned(tmp_path, [face_at(20, 20)])
    face_folder.path("photo.0", RECORD).write_text(text)
    message = refused(run("pair", face_folder.folder)).message
    assert message.startswith(f"{face_folder.path('photo.0', RECORD)} is damaged: ") and reason in message


def test_points_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    _, face_folder = aligned(tmp_path, [face_at(20, 20)])
    data = json.loads(face_folder.path("photo.0", RECORD).read_text())
    data["points"][2][0] = float("nan")
    face_folder.path("photo.0", RECORD).write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"points\.2\.0"):
        face_folder.record("photo.0")


def test_a_swapped_crop_must_have_a_crops_size(tmp_path: Path) -> None:
    _, face_folder = aligned(tmp_path, [face_at(20, 20)])
    write_picture(face_folder.path("photo.0", CROP), waves(100, 120))
    with pytest.raises(UsageError, match="120 x 100 pixels, a crop has 256 x 256"):
        face_folder.crop("photo.0", face_folder.record("photo.0"))
    face_folder.path("photo.0", CROP).write_bytes(b"rubbish")
    with pytest.raises(PhotoError, match=r"photo\.0\.png"):
        face_folder.crop("photo.0", face_folder.record("photo.0"))


@pytest.mark.parametrize("command", ["pair", "optimize"])
def test_a_single_step_knows_no_persons(fakes: FakeWheels, tmp_path: Path, command: str) -> None:
    (tmp_path / "mine.toml").write_text('identity = "per-person"\n')
    _, face_folder = aligned(tmp_path, [face_at(20, 20)])
    assert "mien anonymize" in refused(run(command, face_folder.folder, "--recipe", tmp_path / "mine.toml")).hint


def test_render_and_verify_tell_a_file_from_a_folder(fakes: FakeWheels, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").touch()
    assert "OUT.png" in refused(run("render", tmp_path / "x.safetensors")).hint
    assert "leave OUT away" in refused(run("render", tmp_path, tmp_path / "out.png")).message
    assert "PHOTO" in refused(run("verify", tmp_path / "x.safetensors")).hint
    assert "by itself" in refused(run("verify", tmp_path, tmp_path / "x.safetensors")).message
    assert "there is no file" in refused(run("render", tmp_path / "none", tmp_path / "out.png")).message
