"""The stages as commands: what lies between them, what they refuse, that together they are the pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from fakes import FakeCarriers
from mien.errors import PhotoError, UsageError, VerificationError
from mien.models.cache import sha256_of
from mien.models.mobilestylegan import MobileStyleGAN
from mien.recipe import Recipe
from mien.records import Face, Pixels
from mien.stage_commands import register
from mien.stage_commands.blending import blend_photo
from mien.stage_commands.codes_file import read_codes, write_codes
from mien.stage_commands.kit import Kit
from mien.stage_commands.photos import align_photo, detect_photos
from mien.stages.align import align
from mien.stages.read import read_photo
from mien.tray import CROP, INVERSION, RECORD, RESULT, RESULT_PICTURE, Pairing, Tray, write_picture

app = typer.Typer()
register(app)
COMMANDS = ("read", "detect", "align", "invert", "pair", "optimise", "render", "verify", "blend", "export")
PLACES = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])
SMALL = """
batch = 2
[pool]
size = 64
[invert]
steps = 2
shared_steps = 1
[optimise]
steps = 2
[verify]
attempts = 1
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> UsageError:
    assert isinstance(result.exception, UsageError), result.output
    return result.exception


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def waves(height: int, width: int) -> Pixels:
    """A smooth picture: unlike noise it survives JPEG."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 23 + i) + np.sin(y / (17 + 5 * i)) for i in range(3)]
    return (127 + 60 * np.stack(planes, axis=-1)).astype(np.uint8)


def face_at(x: float, y: float, side: float = 80) -> Face:
    points = (PLACES * side + [x, y]).astype(np.float32)
    return Face((float(x), float(y), float(side), float(side)), points, 0.9)


@dataclass
class Networks:
    """A detector that knows where the faces are, and a judge who goes by the colour between the eyes."""

    faces: list[Face]
    later: list[Face] = field(default_factory=list)  # found only from the second search on
    searches: int = 0

    @property
    def detector(self) -> Networks:
        return self

    @property
    def judge(self) -> Networks:
        return self

    def detect(self, photo: Pixels) -> list[Face]:
        self.searches += 1
        return self.faces + (self.later if self.searches > 1 else [])

    def embed(self, photo: Pixels, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        at = points.mean(axis=1).round().astype(int)  # [N, 2]
        colours = [photo[y - 4 : y + 5, x - 4 : x + 5].mean(axis=(0, 1)) / 100 for x, y in at]
        return np.pad(np.array(colours, np.float32).reshape(-1, 3), ((0, 0), (0, 125)))


def kit(networks: Networks, quiet: bool = True, recipe: Recipe | None = None) -> Kit:
    made = Kit(recipe or Recipe(), quiet)
    made.__dict__["networks"] = networks
    return made


def aligned(tmp_path: Path, faces: list[Face], name: str = "photo.png") -> tuple[Path, Tray]:
    """A photo and the tray of its faces."""
    photo = tmp_path / name
    write_picture(photo, waves(200, 300))
    align_photo(photo, tmp_path / "tray", kit(Networks(faces)), again=False)
    return photo, Tray(tmp_path / "tray")


def draw(tray: Tray, name: str, value: int) -> None:
    write_picture(tray.path(name, RESULT_PICTURE), np.full((256, 256, 3), value, np.uint8))


def shown(path: Path) -> Pixels:
    return read_photo(path, "a photo").pixels


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# the program


def test_every_stage_has_its_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f" {command} " in result.output for command in COMMANDS)


def test_the_commands_register_without_the_heavy_libraries() -> None:
    heavy = "{'torch', 'numpy', 'cv2', 'PIL', 'pydantic', 'pyarrow'}"
    script = ("import sys, typer; from mien.stage_commands import register; register(typer.Typer());"
              f"print(*{heavy} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == ""


# read and export


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


# detect and align


def test_detect_prints_a_line_a_face_and_goes_on_after_a_bad_photo(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "a.png", waves(200, 300))
    (tmp_path / "bad.png").write_bytes(b"rubbish")
    faces = [face_at(20, 20), face_at(150, 60)]
    with pytest.raises(PhotoError, match="1 of 2 photos"):
        detect_photos([tmp_path / "bad.png", tmp_path / "a.png"], kit(Networks(faces), quiet=False))
    out, err = capsys.readouterr()
    rows = lines(out)
    assert [(row["file"], row["face"]) for row in rows] == [(str(tmp_path / "a.png"), i) for i in range(2)]
    assert rows[1]["box"] == [150, 60, 80, 80] and np.array(rows[1]["points"]).shape == (5, 2)
    assert "bad.png" in err


def test_align_writes_what_the_function_cuts(tmp_path: Path) -> None:
    face = face_at(-20, 30)  # reaches over the edge
    photo, tray = aligned(tmp_path, [face])
    crop = align(shown(photo), face)
    record = tray.record("photo.0")
    again = tray.crop("photo.0", record)
    assert tray.names() == ["photo.0"]
    assert record.file == str(photo) and record.sha256 == sha256_of(photo)
    assert np.array_equal(again.pixels, crop.pixels) and np.array_equal(again.quad, crop.quad)
    assert np.array_equal(again.inside, crop.inside) and not crop.inside.all()
    assert np.array_equal(record.as_face().points, face.points)
    assert tray.folder.stat().st_mode & 0o777 == 0o700


def test_align_keeps_what_is_there_and_mends_what_is_missing(tmp_path: Path) -> None:
    faces = [face_at(20, 20), face_at(150, 60)]
    photo, tray = aligned(tmp_path, faces)
    record = tray.record("photo.1").model_copy(update={"pair": Pairing(index=7), "note": "mine"})
    tray.keep("photo.1", record)
    write_picture(tray.path("photo.0", CROP), np.zeros((256, 256, 3), np.uint8))
    tray.path("photo.1", CROP).unlink()
    align_photo(photo, tray.folder, kit(Networks(faces)), again=False)
    assert not tray.crop("photo.0", record).pixels.any()
    assert tray.crop("photo.1", record).pixels.any()
    kept = tray.record("photo.1")
    assert kept.pair == Pairing(index=7)
    assert cast(Any, kept).note == "mine"


def test_align_again_forgets_the_photo_and_no_other(tmp_path: Path) -> None:
    faces = [face_at(20, 20), face_at(150, 60)]
    aligned(tmp_path, faces, "photo.1.png")
    photo, tray = aligned(tmp_path, faces)
    draw(tray, "photo.1", 9)
    draw(tray, "photo.1.1", 9)
    tray.path("photo.0", RECORD).write_text("rubbish")
    align_photo(photo, tray.folder, kit(Networks(faces[:1])), again=True)
    assert tray.names() == ["photo.0", "photo.1.0", "photo.1.1"]
    assert not tray.has("photo.1", RESULT_PICTURE)
    assert tray.has("photo.1.1", RESULT_PICTURE)


def test_align_refuses_another_photo_of_the_same_name(tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20)])
    other = tmp_path / "other" / "photo.png"
    write_picture(other, noise(3, 200, 300))
    with pytest.raises(UsageError, match="another photo named photo"):
        align_photo(other, tray.folder, kit(Networks([face_at(20, 20)])), again=True)


def test_align_refuses_to_mix_two_detections(tmp_path: Path) -> None:
    photo, tray = aligned(tmp_path, [face_at(20, 20)])
    with pytest.raises(UsageError, match="another face") as caught:
        align_photo(photo, tray.folder, kit(Networks([face_at(150, 60)])), again=False)
    assert "--again" in caught.value.hint


def test_align_leaves_out_faces_too_small_for_a_new_one(tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20, side=10), face_at(150, 60)])
    assert tray.names() == ["photo.1"]


# what is missing or damaged in a folder, found before any network is loaded


@pytest.mark.parametrize("command", ["invert", "pair", "optimise", "verify", "render", "blend"])
def test_a_folder_without_faces_says_how_to_make_some(
        fakes: FakeCarriers, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "tray"
    folder.mkdir()
    write_picture(tmp_path / "a.png", waves(20, 20))
    arguments = [tmp_path / "a.png", folder, tmp_path / "out.png"] if command == "blend" else [folder]
    error = refused(run(command, *arguments))
    assert error.message == f"no faces in {folder}"
    assert error.hint == f"run: mien align PHOTO {folder}"


@pytest.mark.parametrize("command", ["invert", "pair", "optimise"])
def test_a_missing_folder_is_named(fakes: FakeCarriers, tmp_path: Path, command: str) -> None:
    assert refused(run(command, tmp_path / "none")).message == f"{tmp_path / 'none'} is not a folder"


def test_each_command_names_the_one_before(fakes: FakeCarriers, tmp_path: Path) -> None:
    photo, tray = aligned(tmp_path, [face_at(20, 20)])
    for command, what, before in (("optimise", "inversions", "invert"), ("render", "results", "optimise"),
                                  ("verify", "rendered results", "render")):
        error = refused(run(command, tray.folder))
        assert error.message == f"no {what} in {tray.folder}"
        assert error.hint == f"run: mien {before} {tray.folder}"
    assert "rendered results" in refused(run("blend", photo, tray.folder, tmp_path / "out.png")).message
    tray.path("photo.0", INVERSION).touch()
    error = refused(run("optimise", tray.folder))
    assert (error.message, error.hint) == (f"no pairs in {tray.folder}", f"run: mien pair {tray.folder}")


def test_faces_that_lack_a_step_are_named(fakes: FakeCarriers, tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(20, 20), face_at(150, 60)])
    tray.path("photo.0", INVERSION).touch()
    assert refused(run("optimise", tray.folder)).message == f"photo.1 in {tray.folder}: no inversions"
    tray.path("photo.1", INVERSION).touch()
    tray.keep("photo.0", tray.record("photo.0").model_copy(update={"pair": Pairing(index=1)}))
    assert refused(run("optimise", tray.folder)).message == "photo.1: no pairs"
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


@pytest.mark.parametrize("command", ["pair", "optimise"])
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


# codes files


def generator() -> MobileStyleGAN:
    """The two maps that codes files need, linear here."""
    return cast(MobileStyleGAN, SimpleNamespace(colour=lambda v: 2 * v + 1, whiten=lambda w: (w - 1) / 2))


def codes(seed: int = 0) -> torch.Tensor:
    return torch.randn(16, 512, generator=torch.Generator().manual_seed(seed))


def test_codes_come_back(tmp_path: Path) -> None:
    write_codes(tmp_path / "a.safetensors", codes(), generator())
    assert torch.equal(read_codes(tmp_path / "a.safetensors", generator()), codes())


@pytest.mark.parametrize("tensors", [
    {"codes": codes()}, {"w_plus": 2 * codes() + 1}, {"codes": codes()[None]}, {"codes": codes().half()},
    {"codes": codes().double(), "w_plus": (2 * codes() + 1).half()}, {"codes": codes(), "other": torch.zeros(3)},
])
def test_own_codes_files_are_read(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    assert torch.allclose(read_codes(tmp_path / "a.safetensors", generator()), codes(), atol=3e-3)


def test_one_vector_stands_for_all_layers(tmp_path: Path) -> None:
    save_file({"codes": codes()[0].clone()}, tmp_path / "a.safetensors")
    assert torch.equal(read_codes(tmp_path / "a.safetensors", generator()), codes()[:1].expand(16, -1))


@pytest.mark.parametrize("tensors, reason", [
    ({"latents": codes()}, "neither codes nor w_plus"),
    ({"codes": torch.zeros(18, 512)}, r"codes has the shape \[18, 512\], not \[16, 512\]"),
    ({"w_plus": torch.zeros(2, 16, 512)}, r"w_plus has the shape \[2, 16, 512\]"),
    ({"codes": torch.zeros(())}, r"shape \[\]"),
    ({"codes": torch.zeros(16, 512, dtype=torch.int64)}, "codes holds int64"),
    ({"codes": torch.full((16, 512), torch.nan)}, "not finite"),
    ({"codes": codes(), "w_plus": codes()}, "two different faces"),
])
def test_codes_files_are_checked_at_the_door(
        tmp_path: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match=reason) as caught:
        read_codes(tmp_path / "a.safetensors", generator())
    assert "a.safetensors" in caught.value.message


def test_what_is_no_codes_file_is_named(tmp_path: Path) -> None:
    write_codes(tmp_path / "cut.safetensors", codes(), generator())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:1000])
    torch.save(codes(), tmp_path / "pickle.safetensors")
    (tmp_path / "empty.safetensors").touch()
    for name in ("cut", "pickle", "empty"):
        with pytest.raises(UsageError, match=rf"{name}\.safetensors is damaged"):
            read_codes(tmp_path / f"{name}.safetensors", generator())
    with pytest.raises(UsageError, match="cannot read the codes"):
        read_codes(tmp_path / "none.safetensors", generator())


# blend


def test_blend_changes_the_new_face_and_nothing_else(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = face_at(110, 60)
    photo, tray = aligned(tmp_path, [face])
    draw(tray, "photo.0", 255)
    blend_photo(photo, tray.folder, tmp_path / "out.png", kit(Networks([face])))
    row = lines(capsys.readouterr().out)[0]
    assert (row["face"], row["status"]) == ("photo.0", "anonymised") and row["distance"] >= 0.6
    before, after = shown(photo), shown(tmp_path / "out.png")
    changed = (before != after).any(axis=2)
    assert changed[100, 150] and not changed[:, :60].any() and not changed[:, 240:].any()


def test_blend_blurs_what_the_judge_still_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = face_at(110, 60)
    photo, tray = aligned(tmp_path, [face])
    crop = tray.crop("photo.0", tray.record("photo.0"))
    write_picture(tray.path("photo.0", RESULT_PICTURE), crop.pixels)
    blend_photo(photo, tray.folder, tmp_path / "out.png", kit(Networks([face])))
    row = lines(capsys.readouterr().out)[0]
    assert (row["status"], row["reason"]) == ("blurred", "still verifies as the original")
    before, after = shown(photo), shown(tmp_path / "out.png")
    assert (before != after).any(axis=2)[60:140, 110:190].mean() > 0.9


def test_blend_leaves_no_face_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faces without a crop, without a picture, and found only at the end are blurred."""
    new, bare, stranger = face_at(20, 10, 60), face_at(110, 10, 60), face_at(200, 10, 60)
    late = face_at(20, 120, 60)
    photo, tray = aligned(tmp_path, [new, bare])
    draw(tray, "photo.0", 255)
    blend_photo(photo, tray.folder, tmp_path / "out.png", kit(Networks([new, bare, stranger], [late])))
    rows = {(row["face"], row["reason"]): row["status"] for row in lines(capsys.readouterr().out)}
    assert rows == {("photo.0", ""): "anonymised", ("photo.1", "no rendered result"): "blurred",
                    ("", "no crop of it"): "blurred", ("", "found only in the finished photo"): "blurred"}
    before, after = shown(photo), shown(tmp_path / "out.png")
    for face in (new, bare, stranger, late):
        x, y = (int(value) + 30 for value in face.box[:2])
        assert (before != after).any(axis=2)[y - 10 : y + 10, x - 10 : x + 10].mean() > 0.9


def test_blend_wants_the_very_photo_that_was_aligned(tmp_path: Path) -> None:
    _, tray = aligned(tmp_path, [face_at(110, 60)])
    draw(tray, "photo.0", 255)
    write_picture(tmp_path / "new" / "photo.png", noise(5, 200, 300))
    with pytest.raises(UsageError, match="holds no faces of"):
        blend_photo(tmp_path / "new" / "photo.png", tray.folder, tmp_path / "out.png", kit(Networks([])))


def test_blend_refuses_a_picture_that_is_no_square(tmp_path: Path) -> None:
    photo, tray = aligned(tmp_path, [face_at(110, 60)])
    write_picture(tray.path("photo.0", RESULT_PICTURE), waves(256, 300))
    with pytest.raises(UsageError, match="300 x 256"):
        blend_photo(photo, tray.folder, tmp_path / "out.png", kit(Networks([])))


# all together, with the real networks


@pytest.fixture(scope="module")
def portrait(weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of two generated faces, made upright by its EXIF alone."""
    net = MobileStyleGAN.from_file(weights("mobilestylegan"))
    with torch.inference_mode():
        w = net.truncate(net.map(torch.randn(2, 512, generator=torch.Generator().manual_seed(3))), 0.5)
        pictures = [net(one.expand(1, 16, -1))[0] for one in w]
    both = torch.cat([torch.nn.functional.avg_pool2d(picture, 4) for picture in pictures], dim=2)  # [3, 256, 512]
    pixels = ((both.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    exif = Image.Exif()
    exif[0x0112] = 3
    path = tmp_path_factory.mktemp("photos") / "two people.jpg"
    Image.fromarray(np.ascontiguousarray(pixels[::-1, ::-1])).save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, Path]:
    (tmp_path / "small.toml").write_text(SMALL)
    return "--recipe", tmp_path / "small.toml"


def succeed(*arguments: str | Path) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result


@pytest.mark.slow
def test_the_commands_one_after_another_are_the_pipeline(
        portrait: Path, small: tuple[str, Path], tmp_path: Path) -> None:
    from mien.pipeline import Pipeline
    from mien.setup import prepare
    from mien.stages.detect import detect

    folder, out = tmp_path / "tray", tmp_path / "out.jpg"
    rows = lines(succeed("detect", portrait, *small).stdout)
    assert len(rows) == 2
    assert "2 crops written" in succeed("align", portrait, folder, *small).stderr
    for command in ("invert", "pair", "optimise"):
        succeed(command, folder, *small)
    succeed("render", folder)
    tray = Tray(folder)
    assert tray.names() == ["two people.0", "two people.1"]

    recipe = Recipe.load(str(small[1]))
    ready = prepare(recipe)
    pipeline = Pipeline(ready.networks, ready.pool, recipe)
    photo = read_photo(portrait, portrait.name)
    work = pipeline.prepare(photo, detect(ready.networks, photo))
    subjects = list(work.subjects)
    pipeline.run([work])
    for name, subject in zip(tray.names(), subjects, strict=True):
        record = tray.record(name)
        assert subject.match is not None and subject.codes is not None and subject.picture is not None
        assert record.pair is not None and record.pair.index == subject.match.index
        assert record.similarity == pytest.approx(subject.outcome.similarity, abs=1e-4)
        assert record.steps == 2
        made = read_codes(tray.path(name, RESULT), ready.networks.generator)
        assert torch.allclose(made, subject.codes, atol=1e-4)
        picture = shown(tray.path(name, RESULT_PICTURE))
        assert np.abs(picture.astype(int) - subject.picture).max() <= 1

    judged = run("verify", folder, *small)
    verdicts = lines(judged.stdout)
    assert [row["face"] for row in verdicts] == tray.names()
    assert isinstance(judged.exception, VerificationError) == any(row["same"] for row in verdicts)
    statuses = lines(succeed("blend", portrait, folder, out, *small).stdout)
    assert {row["face"] for row in statuses} == set(tray.names())
    after = lines(succeed("verify", portrait, out, *small).stdout)
    assert not any(row["same"] for row in after if row["face_a"] == row["face_b"])


@pytest.mark.slow
def test_stop_look_swap_and_go_on(portrait: Path, small: tuple[str, Path], tmp_path: Path,
                                  weights: Callable[[str], Path]) -> None:
    folder = tmp_path / "tray"
    succeed("align", portrait, folder, *small)
    tray = Tray(folder)
    first, second = tray.names()
    net = MobileStyleGAN.from_file(weights("mobilestylegan"))
    own = codes(11) * 0.5
    save_file({"w_plus": net.colour(own)}, tray.path(first, INVERSION))
    said = succeed("invert", folder, *small).stderr
    assert "1 inversions made, 1 kept" in said
    assert torch.allclose(read_codes(tray.path(first, INVERSION), net), own, atol=1e-3)
    succeed("pair", folder, *small)
    record = tray.record(first)
    assert record.pair is not None and tray.record(second).pair != record.pair
    tray.keep(first, record.model_copy(update={"pair": Pairing(index=5)}))

    other = record.model_copy(update={"pair": Pairing(index=5, pool="pool-64-other")})
    tray.keep(second, other)
    assert "paired in another pool" in refused(run("optimise", folder, *small)).message
    tray.keep(second, tray.record(second).model_copy(update={"pair": Pairing(index=64)}))
    assert "not in the pool of 64" in refused(run("optimise", folder, *small)).message
    tray.keep(second, tray.record(second).model_copy(update={"pair": Pairing(index=6)}))
    succeed("optimise", folder, *small)
    made = read_codes(tray.path(first, RESULT), net)
    assert torch.allclose(made[8:], own[8:], atol=1e-3)  # outer layers stay the inversion's, mine

    before = tray.path(first, RESULT).read_bytes()
    tray.path(second, RESULT).unlink()
    assert "1 results made, 1 kept" in succeed("optimise", folder, *small).stderr
    assert tray.path(first, RESULT).read_bytes() == before
    os.utime(tray.path(first, INVERSION))
    assert f"{first}: kept, but older" in succeed("optimise", folder, *small).stderr

    succeed("render", tray.path(first, RESULT), tmp_path / "one.png", "--quiet")
    succeed("render", folder)
    assert np.array_equal(shown(tmp_path / "one.png"), tray.picture(first))
    assert tray.picture(first).shape == (1024, 1024, 3)
