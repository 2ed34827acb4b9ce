"""The stage commands as a program: what there is, and what each refuses before any network is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.face_folders import aligned, face_at, refused, run, waves
from helpers.fake_wheels import FakeCarriers
from mien.errors import PhotoError, UsageError
from mien.steps.face_folder import CROP, INVERSION, RECORD, Pairing, write_picture

COMMANDS = ("read", "detect", "align", "features", "invert", "pair", "optimize", "render", "verify", "blend", "collect",
            "compare", "export")


def test_every_stage_has_its_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f" {command} " in result.output for command in COMMANDS)


def test_the_commands_register_without_the_heavy_libraries() -> None:
    heavy = "{'torch', 'numpy', 'cv2', 'PIL', 'pydantic', 'pyarrow'}"
    script = ("import sys, typer; from mien.cli.steps import register; register(typer.Typer());"
              f"print(*{heavy} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("command", ["features", "invert", "pair", "optimize", "verify", "render", "blend"])
def test_a_folder_without_faces_says_how_to_make_some(
        fakes: FakeCarriers, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "tray"
    folder.mkdir()
    write_picture(tmp_path / "a.png", waves(20, 20))
    arguments = [tmp_path / "a.png", folder, tmp_path / "out.png"] if command == "blend" else [folder]
    error = refused(run(command, *arguments))
    assert error.message == f"no faces in {folder}"
    assert error.hint == f"run: mien align PHOTO {folder}"


@pytest.mark.parametrize("command", ["features", "invert", "pair", "optimize"])
def test_a_missing_folder_is_named(fakes: FakeCarriers, tmp_path: Path, command: str) -> None:
    assert refused(run(command, tmp_path / "none")).message == f"{tmp_path / 'none'} is not a folder"


def test_each_command_names_the_one_before(fakes: FakeCarriers, tmp_path: Path) -> None:
    photo, tray = aligned(tmp_path, [face_at(20, 20)])
    for command, what, before in (("optimize", "inversions", "invert"), ("render", "results", "optimize"),
                                  ("verify", "rendered results", "render")):
        error = refused(run(command, tray.folder))
        assert error.message == f"no {what} in {tray.folder}"
        assert error.hint == f"run: mien {before} {tray.folder}"
    assert "rendered results" in refused(run("blend", photo, tray.folder, tmp_path / "out.png")).message
    tray.path("photo.0", INVERSION).touch()
    error = refused(run("optimize", tray.folder))
    assert (error.message, error.hint) == (f"no pairs in {tray.folder}", f"run: mien pair {tray.folder}")


def test_faces_that_lack_a_step_are_named(fakes: FakeCarriers, tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20), face_at(150, 60)])
    tray.path("photo.0", INVERSION).touch()
    assert refused(run("optimize", tray.folder)).message == f"photo.1 in {tray.folder}: no inversions"
    tray.path("photo.1", INVERSION).touch()
    tray.keep("photo.0", tray.record("photo.0").model_copy(update={"pair": Pairing(index=1)}))
    assert refused(run("optimize", tray.folder)).message == "photo.1: no pairs"
    tray.path("photo.1", CROP).unlink()
    assert refused(run("pair", tray.folder)).message == f"photo.1 in {tray.folder}: no crop"


@pytest.mark.parametrize("text, reason", [
    ("rubbish", "Expecting value"), ("[]", "the whole"), ('{"file": "a"}', "sha256: Field required"),
])
def test_a_damaged_record_is_named(fakes: FakeCarriers, tmp_path: Path, text: str, reason: str) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20)])
    tray.path("photo.0", RECORD).write_text(text)
    message = refused(run("pair", tray.folder)).message
    assert message.startswith(f"{tray.path('photo.0', RECORD)} is damaged: ") and reason in message


def test_points_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20)])
    data = json.loads(tray.path("photo.0", RECORD).read_text())
    data["points"][2][0] = float("nan")
    tray.path("photo.0", RECORD).write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"points\.2\.0"):
        tray.record("photo.0")


def test_a_swapped_crop_must_have_a_crops_size(tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20)])
    write_picture(tray.path("photo.0", CROP), waves(100, 120))
    with pytest.raises(UsageError, match="120 x 100 pixels, a crop has 256 x 256"):
        tray.crop("photo.0", tray.record("photo.0"))
    tray.path("photo.0", CROP).write_bytes(b"rubbish")
    with pytest.raises(PhotoError, match=r"photo\.0\.png"):
        tray.crop("photo.0", tray.record("photo.0"))


@pytest.mark.parametrize("command", ["pair", "optimize"])
def test_one_stage_alone_knows_no_persons(fakes: FakeCarriers, tmp_path: Path, command: str) -> None:
    (tmp_path / "mine.toml").write_text('identity = "per-person"\n')
    _, tray = aligned(tmp_path, [face_at(20, 20)])
    assert "mien anonymize" in refused(run(command, tray.folder, "--recipe", tmp_path / "mine.toml")).hint


def test_render_and_verify_tell_a_file_from_a_folder(fakes: FakeCarriers, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").touch()
    assert "OUT.png" in refused(run("render", tmp_path / "x.safetensors")).hint
    assert "leave OUT away" in refused(run("render", tmp_path, tmp_path / "out.png")).message
    assert "PHOTO" in refused(run("verify", tmp_path / "x.safetensors")).hint
    assert "by itself" in refused(run("verify", tmp_path, tmp_path / "x.safetensors")).message
    assert "there is no file" in refused(run("render", tmp_path / "none", tmp_path / "out.png")).message
