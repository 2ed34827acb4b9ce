"""Folders that cannot be meant, names that are odd, photos that are broken, disks that are full or closed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import fake_run
from helpers.fake_run import ANNA, BERT, album, call, changed, photos_in, pixels_of, rows_in, save, squares
from helpers.small_disks import FULL, give_up_root, ordinary_call
from mien.anonymizer.load import Loaded
from mien.errors import MienError, OutputError, UsageError
from mien.recipe import Recipe
from mien.types import Pixels

Folders = tuple[str, str, str, str]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("src", "dst", "work", "words"), [
    ("a", "a/out", "w", "DST lies inside SRC"),
    ("a", "a", "w", "DST lies inside SRC"),
    ("a", "link", "w", "DST lies inside SRC"),
    ("a", "b/../a/c", "w", "DST lies inside SRC"),
    ("a/sub", "a", "w", "SRC lies inside DST"),
    ("a", "b", "a/w", "WORK lies inside SRC"),
    ("a", "b", "link/w", "WORK lies inside SRC"),
    ("a", "b", "b/w", "WORK, which is private, lies inside DST"),
    ("a", "b", "b", "WORK, which is private, lies inside DST"),
    ("a", "w/b", "w", "DST lies inside WORK"),
    ("a/sub", "b", "a", "SRC lies inside WORK"),
    ("a/1.png", "a/1.png", "w", "DST lies inside SRC"),
])
def test_folders_in_one_another_are_refused(brush: None, tmp_path: Path, src: str, dst: str, work: str,
                                            words: str) -> None:
    save(tmp_path / "a" / "1.png", squares(ANNA))
    save(tmp_path / "a" / "sub" / "2.png", squares(ANNA))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        fake_run.run(tmp_path / src, tmp_path / dst, work=tmp_path / work)
    assert caught.value.exit_code == 2
    assert tree(tmp_path) == before


def test_without_photographs_to_read_nothing_is_made(brush: None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        fake_run.run(tmp_path / "src", tmp_path / "dst")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["src", "dst", "work"])
def test_a_link_that_leads_round_in_a_circle_is_refused(brush: None, tmp_path: Path, which: str) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    folders = {name: tmp_path / name for name in ("src", "dst", "work")} | {which: loop}
    with pytest.raises(MienError):
        fake_run.run(folders["src"], folders["dst"], work=folders["work"])


def test_layers_that_the_generator_does_not_have_are_said_before_anything_is_made(ready: Loaded,
                                                                                  tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="the generator has no layer 16"):
        fake_run.run(tmp_path / "src", tmp_path / "dst", fake_run.TINY.with_changes({"optimize.layers": [16]}), ready)
    assert tree(tmp_path) == before


def test_a_result_never_goes_among_other_files(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    save(tmp_path / "dst" / "a.png", squares(BERT))
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="is not empty"):
        fake_run.run(tmp_path / "src", tmp_path / "dst")
    with pytest.raises(OutputError):
        fake_run.run(tmp_path / "src", tmp_path / "dst" / "a.png")
    assert tree(tmp_path) == before


def test_beside_a_single_photo_its_neighbors_stay_alone(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    save(tmp_path / "src" / "b.png", squares(BERT))
    fake_run.run(tmp_path / "src" / "a.png", tmp_path / "dst")
    assert list(photos_in(tmp_path / "dst")) == ["a.png"]
    assert changed(squares(ANNA), pixels_of(tmp_path / "dst" / "a.png"), (40, 24, 48, 48))


ODD = [b"with space.png", b"new\nline.png", "\u00fcn\u00ef \U0001f600.png".encode(), b"\xff\xfe.png", b"-q.png",
       b"a.b.c.png", b"UPPER.PNG", b"quote'\".png", b"$(HOME).png", b"[red]markup[/red].png",
       b"deep/er/than \xff/a.png", b"folder.jpg/a.png", b"back\\slash.png", b"%20.png", b"x" * 240 + b".png"]


def test_odd_names_come_out_as_they_went_in(tmp_path: Path) -> None:
    """Through the program itself, which has to print some of them, on a terminal that knows only ASCII."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    for name in ODD:
        save(src / os.fsdecode(name), squares(ANNA))
    (src / os.fsdecode(b"\xffbroken\n[b].png")).write_text("no picture")
    environment = fake_run.environment(LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    result = subprocess.run(fake_run.mien_command("anonymize", src, dst), env=environment, capture_output=True,
                            timeout=900)
    assert result.returncode == 0, result.stderr
    assert b"broken\\n[b].png: not an image" in result.stderr
    written = {os.fsencode(path.relative_to(dst)) for path in dst.rglob("*") if path.suffix.lower() == ".png"}
    assert written == {bytes(name) for name in ODD}
    for name in ODD:
        assert changed(squares(ANNA), pixels_of(dst / os.fsdecode(name)), (40, 24, 48, 48))
    assert len(rows_in(dst)) == len(ODD) and (dst / "report.html").stat().st_size > 0
    assert len(json.loads((dst / "mien.json").read_text())["skipped"]) == 1


@pytest.mark.parametrize("url", [False, True])
def test_a_name_that_the_disk_does_not_take_is_a_skipped_photo(brush: None, tmp_path: Path, url: bool) -> None:
    """An icon becomes a PNG, four letters longer; names may have 255 bytes."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    for length in (251, 252, 255):
        (src / "deep").mkdir(parents=True, exist_ok=True)
        Image.fromarray(squares(ANNA)[:96, :96]).save(src / "deep" / ("x" * (length - 4) + ".ico"), sizes=[(96, 96)])
    save(src / ("y" * 251 + ".png"), squares(ANNA))
    summary = fake_run.run(src, f"file://{dst}" if url else dst, work=tmp_path / "work")
    assert set(photos_in(dst)) == {"deep/" + "x" * 247 + ".ico.png", "y" * 251 + ".png"}
    assert {len(Path(one.file).name) for one in summary.skipped} == {252, 255} and summary.photos == 2
    assert all("the new name is too long" in one.reason for one in summary.skipped)
    assert summary.statuses == {"anonymized": 2, "dropped": 2}


def test_links_are_followed_but_not_in_circles(brush: None, tmp_path: Path) -> None:
    src = tmp_path / "src"
    save(src / "sub" / "a.png", squares(ANNA))
    save(tmp_path / "elsewhere" / "b.png", squares(BERT))
    (src / "b.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (src / "sub" / "up").symlink_to(src)
    (src / "self.png").symlink_to(src / "self.png")
    (src / "nowhere.png").symlink_to(src / "missing.png")
    os.mkfifo(src / "pipe.png")
    summary = fake_run.run(src, tmp_path / "dst")
    assert set(photos_in(tmp_path / "dst")) == {"b.png", "sub/a.png"}
    assert {skipped.file for skipped in summary.skipped} == {"self.png", "nowhere.png", "pipe.png", "sub/up"}
    assert all(skipped.reason for skipped in summary.skipped)
    assert not (tmp_path / "dst" / "b.png").is_symlink()
    assert (pixels_of(tmp_path / "elsewhere" / "b.png") == squares(BERT)).all()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def bad_photos(folder: Path) -> dict[str, str]:
    """Files that cannot be read, each with a word of the reason."""
    photo = fake_run.ground(300, 400)
    (folder / "text.jpg").write_text("I am no picture")
    whole = save(folder / "cut.jpg", photo).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    whole = save(folder / "cut.png", photo).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    bomb(folder / "bomb.png")
    frames = [Image.fromarray(fake_run.ground(64, 64, seed)) for seed in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    return {"text.jpg": "not an image", "cut.jpg": "cut short", "cut.png": "cut short", "empty.jpg": "empty",
            "bomb.png": "more than the limit", "moving.gif": "animated", "phone.heic": "heic"}


def odd_photos(folder: Path) -> dict[str, str]:
    """Photos without faces that must come through, each with its mode."""
    photo = Image.fromarray(fake_run.ground(120, 160))
    save(folder / "one.png", fake_run.ground(1, 1))
    save(folder / "wide.png", fake_run.ground(40, 20_000))
    save(folder / "tall.png", fake_run.ground(20_000, 40))
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(fake_run.ground(120, 160)[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    photo.quantize(32).save(folder / "palette.png")
    photo.quantize(32).save(folder / "still.gif")
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.convert("LA").save(folder / "gray_alpha.png")
    photo.convert("1").save(folder / "bilevel.png")
    photo.convert("L").save(folder / "gray.jpg")
    return {"one.png": "RGB", "wide.png": "RGB", "tall.png": "RGB", "cmyk.jpg": "CMYK", "deep.png": "I;16",
            "palette.png": "P", "still.gif": "P", "alpha.png": "RGBA", "gray_alpha.png": "LA",
            "bilevel.png": "1", "gray.jpg": "L"}


def test_bad_photos_stop_nothing(ready: Loaded, portraits: list[Pixels], tmp_path: Path) -> None:
    """With the real networks: each is written or listed with its reason, and the good one is done."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    bad, odd = bad_photos(src), odd_photos(src)
    save(src / "good.png", portraits[0])
    summary = fake_run.run(src, dst, ready=ready)
    assert set(photos_in(dst)) == {"good.png", *odd}
    reasons = {skipped.file: skipped.reason for skipped in summary.skipped}
    assert set(reasons) == set(bad)
    for name, word in bad.items():
        assert word in reasons[name], (name, reasons[name])
    for name, mode in odd.items():
        with Image.open(src / name) as before, Image.open(dst / name) as after:
            assert (before.mode, before.size) == (after.mode, after.size) and before.mode.startswith(mode)
            assert (np.asarray(before) == np.asarray(after)).all()
    assert changed(portraits[0], pixels_of(dst / "good.png"), summary.outcomes[0].box)
    listed = {one["file"] for one in json.loads((dst / "mien.json").read_text())["skipped"]}
    assert listed == set(bad)


def _transparent(photo: Image.Image) -> Image.Image:
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    return photo


@pytest.mark.slow
def test_real_faces_are_found_in_photos_of_every_kind(ready: Loaded, portraits: list[Pixels],
                                                      tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    photo = Image.fromarray(portraits[1])
    photo.convert("CMYK").save(src / "cmyk.jpg", quality=95)
    photo.convert("L").save(src / "gray.jpg", quality=95)
    Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 16).save(src / "twelve_bits.png")
    photo.quantize(64).save(src / "palette.png")
    _transparent(photo.copy()).save(src / "alpha.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(src / "turned.jpg", exif=turned, quality=95)
    summary = fake_run.run(src, dst, ready=ready)
    assert summary.photos == 6 and not summary.skipped
    assert sorted(row.file for row in summary.outcomes) == sorted(path.name for path in src.iterdir())
    for row in summary.outcomes:
        with Image.open(src / row.file) as before, Image.open(dst / row.file) as after:
            # a palette has no room for a new face's colors, as `export` says
            assert after.mode == ("RGB" if before.mode == "P" else before.mode)
            old = portraits[1] if row.file == "turned.jpg" else _shown(before)
            assert old.shape == _shown(after).shape and changed(old, _shown(after), row.box), row.file


def _shown(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image) // 16).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


@pytest.fixture
def closed(tmp_path: Path) -> Any:
    """A function that closes a file or folder until the test is over."""
    paths: list[Path] = []

    def close(path: Path, mode: int) -> Path:
        paths.append(path)
        path.chmod(mode)
        return path

    probe = tmp_path / "probe"
    probe.write_text("x")
    close(probe, 0)
    if subprocess.run(["cat", probe], preexec_fn=give_up_root, capture_output=True).returncode == 0:
        pytest.skip("this user may read everything")
    yield close
    for path in paths:
        path.chmod(0o700)


def test_a_photo_that_may_not_be_read_is_listed(tmp_path: Path, closed: Callable[[Path, int], Path]) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    save(src / "good.png", squares(ANNA))
    closed(save(src / "secret.png", squares(BERT)), 0)
    save(src / "room" / "a.png", squares(BERT))
    closed(src / "room", 0)
    result = ordinary_call("anonymize", src, dst)
    assert result.returncode == 0, result.stderr
    assert "skipped secret.png: no permission to read the file" in result.stderr
    assert "skipped room: the folder cannot be read" in result.stderr
    assert list(photos_in(dst)) == ["good.png"]


@pytest.mark.parametrize("mode", [0, 0o600])
def test_a_source_that_may_not_be_entered_is_refused(tmp_path: Path, closed: Callable[[Path, int], Path],
                                                     mode: int) -> None:
    src = save(tmp_path / "home" / "src" / "a.png", squares(ANNA)).parent
    closed(src.parent, mode)
    result = ordinary_call("anonymize", src, tmp_path / "dst")
    assert result.returncode == 2, result.stderr
    assert str(src) in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "dst").exists()


@pytest.mark.parametrize("where", ["dst", "parent", "work"])
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, closed: Callable[[Path, int], Path],
                                                     where: str) -> None:
    src, parent = save(tmp_path / "src" / "a.png", squares(ANNA)).parent, tmp_path / "parent"
    dst, work = parent / "dst", tmp_path / "elsewhere" / "work"
    dst.mkdir(parents=True)
    work.parent.mkdir()
    if where == "parent":
        dst.rmdir()
    closed({"dst": dst, "parent": parent, "work": work.parent}[where], 0o500)
    result = ordinary_call("anonymize", src, dst, "--work", work)
    assert result.returncode == 4, result.stderr
    assert "mien: " in result.stderr and "ermission" in result.stderr and "Traceback" not in result.stderr


def test_a_disk_that_takes_no_more_stops_the_run_until_it_does(tmp_path: Path) -> None:
    """Here "full" is a limit on the size of files: it needs no privilege."""
    src, dst = album(tmp_path / "src", 3), tmp_path / "dst"
    save(src / "z.png", fake_run.ground(600, 600))
    size = (src / "z.png").stat().st_size - 1000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    result = call("anonymize", src, dst, preexec_fn=limit)
    assert result.returncode == 4, result.stderr
    assert "z.png" in result.stderr and "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    again = call("anonymize", src, dst)
    assert again.returncode == 0, again.stderr
    fake_run.run_quickly(src, tmp_path / "whole", Recipe())  # what the program does unless told otherwise
    assert photos_in(dst) == photos_in(tmp_path / "whole")
    assert rows_in(dst) == rows_in(tmp_path / "whole")


@pytest.mark.parametrize("full", ["dst", "work"])
def test_a_full_disk_stops_the_run_until_there_is_room(tmp_path: Path, full: str) -> None:
    src, disk, copy = album(tmp_path / "src", 30), tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    copy.mkdir()
    roots = {"dst": tmp_path, "work": tmp_path} | {full: disk}
    command = fake_run.mien_command("anonymize", src, roots["dst"] / "dst", "--work", roots["work"] / "work")
    environment = fake_run.environment(BALLAST=str(disk / "ballast"), DISK=str(disk), COPY=str(copy))
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, so no small disk can be mounted")
    for flags in ("-m", "-rm"):
        inside = ["unshare", flags, "sh", "-c", FULL, "sh", disk, "3900", *command]
        result = subprocess.run(inside, env=environment, capture_output=True, text=True, timeout=900)
        if result.returncode == 0:
            break
    else:
        pytest.skip("this user may not mount a small disk")
    assert result.stdout.split() == ["4", "0"], result.stderr
    assert "No space left on device" in result.stderr and "run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
    dst = copy / "dst" if full == "dst" else tmp_path / "dst"
    fake_run.run_quickly(src, tmp_path / "whole", Recipe())
    assert photos_in(dst) == photos_in(tmp_path / "whole")


def test_every_error_has_its_exit_code_and_says_what_to_do() -> None:
    kinds = [MienError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes == {"MienError": 1, "UsageError": 2, "PhotoError": 1, "ModelError": 3, "FetchError": 3,
                     "OutputError": 4, "FaceError": 5, "VerificationError": 6}
