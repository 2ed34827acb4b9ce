"""Photos of every mode are read upright as RGB; what cannot be read whole is refused with a reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from mien.errors import PhotoError
from mien.images.decode import read_photo
from mien.images.formats import clean_icc, printable, strip_jpeg, strip_webp, webp_chunks


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Any:
    values = np.random.RandomState(seed).randint(0, 256, (height, width, channels)).astype(np.uint8)
    return values[..., 0] if channels == 1 else values


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(path: Path, **options: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PhotoError) as caught:
            read_photo(path, path.name, **options)
    assert caught.value.message.startswith(f"{printable(path.name)}: ")
    return caught.value.message


def refused_bytes(tmp_path: Path, data: bytes, name: str = "photo.jpg", **options: Any) -> str:
    (tmp_path / name).write_bytes(data)
    return refused(tmp_path / name, **options)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0rubbish",
        b"Exif\0\0" + b"\xff" * 300,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 50,
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",  # orientation is a word
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
    ],
)
def test_rubbish_in_exif_is_tolerated_in_silence(exif: bytes, tmp_path: Path) -> None:
    image = noise(8, 12)
    for kind in ("JPEG", "PNG", "WEBP"):
        (tmp_path / "photo").write_bytes(encoded(Image.fromarray(image), kind, exif=exif))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_photo(tmp_path / "photo", "photo").pixels.shape == (8, 12, 3)


def test_the_smallest_and_a_very_wide_photo(tmp_path: Path) -> None:
    for size in ((1, 1), (20_000, 3), (3, 20_000)):
        (tmp_path / "photo.jpg").write_bytes(encoded(Image.new("RGB", size, (9, 99, 199)), "JPEG"))
        photo = read_photo(tmp_path / "photo.jpg", "photo.jpg")
        assert photo.pixels.shape == (size[1], size[0], 3)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    started = time.monotonic()
    assert "limit of 200,000,000 pixels" in refused_bytes(tmp_path, png_that_claims(50_000, 50_000))
    assert "15000 x 15000 pixels" in refused_bytes(tmp_path, png_that_claims(15_000, 15_000))
    assert time.monotonic() - started < 5
    small = encoded(Image.new("RGB", (11, 10)), "PNG")
    assert "limit of 109 pixels" in refused_bytes(tmp_path, small, max_pixels=109)
    assert read_photo(tmp_path / "photo.jpg", "photo.jpg", max_pixels=110).pixels.shape == (10, 11, 3)
    assert Image.MAX_IMAGE_PIXELS == 89478485, "the process's own limit is put back"


def test_a_photo_above_pillows_own_limit_is_read_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    (tmp_path / "photo.png").write_bytes(encoded(Image.new("RGB", (20, 20)), "PNG"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_photo(tmp_path / "photo.png", "photo.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"x", "not an image"),
        (b"hello, this is no photograph" * 20, "not an image"),
        (b"\xff\xd8\xff", "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"GIF89a", "damaged or cut short"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC is not supported"),
        (b"\xff\x0a" + bytes(40), "JPEG XL is not supported"),
        (b"%PDF-1.7 " + bytes(40), "PDF is a drawing or a document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "PostScript is a drawing"),
    ],
)
def test_what_is_no_photo(data: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in refused_bytes(tmp_path, data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "TGA", "JPEG2000"])
def test_a_photo_cut_short(kind: str, tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(noise(60, 80)).convert("P" if kind == "GIF" else "RGB"), kind)
    for keep in (0.02, 0.3, 0.7):
        assert refused_bytes(tmp_path, whole[: int(len(whole) * keep)])


def test_a_photo_cut_short_even_where_others_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encoded(Image.fromarray(noise(60, 80)), "JPEG")
    assert "cut short" in refused_bytes(tmp_path, whole[: len(whole) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "TGA", "JPEG2000"]), data=st.data())
def test_damage_gives_a_photo_or_a_reason(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    whole = bytearray(encoded(Image.fromarray(noise(12, 16)).convert("P" if kind == "GIF" else "RGB"), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "photo"
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert read_photo(path, "photo", max_pixels=1_000_000).pixels.dtype == np.uint8
        except PhotoError as error:
            assert error.message.startswith("photo: ") and "\n" not in error.message


@pytest.mark.parametrize(
    ("kind", "word"),
    [("GIF", "animated GIF"), ("PNG", "animated PNG"), ("WEBP", "animated WebP"), ("TIFF", "several pages"),
     ("AVIF", "animated AVIF")],
)  # fmt: skip
def test_several_pictures_in_a_file_are_refused(kind: str, word: str, tmp_path: Path) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    frames = [Image.fromarray(noise(16, 16, seed=i)) for i in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert word in refused_bytes(tmp_path, data)
    assert read_single(tmp_path, encoded(frames[0], kind, save_all=True))


def read_single(tmp_path: Path, data: bytes) -> bool:
    (tmp_path / "single").write_bytes(data)
    return read_photo(tmp_path / "single", "single").pixels.shape == (16, 16, 3)


def test_a_camera_raw_is_refused(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(noise(16, 16)), "TIFF", tiffinfo={50706: b"\x01\x04\0\0"})
    assert "raw file" in refused_bytes(tmp_path, data)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    assert "folder" in refused(tmp_path / "folder.jpg")
    assert "does not exist" in refused(tmp_path / "absent.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    assert "does not exist" in refused(tmp_path / "broken.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    assert "circle" in refused(tmp_path / "circle.jpg")
    assert "cannot be opened" in refused(tmp_path / ("n" * 300))
    assert "no such file name" in refused(tmp_path / "nul\0.jpg")
    assert "pipe or a device" in refused(Path("/dev/null"))


def test_a_pipe_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(refused(tmp_path / "pipe.jpg")), daemon=True)
    thread.start()
    thread.join(10)
    assert said and "pipe or a device" in said[0]


def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    """In a process of an ordinary user, since root may read anything."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mien.errors import PhotoError\n"
        "from mien.images.decode import read_photo\n"
        "os.chdir('/')\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: read_photo(Path(sys.argv[1]), 'photo.jpg')\n"
        "except PhotoError as error: print(error.message)\n"
    )
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.new("RGB", (4, 4)), "JPEG"))
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "photo.jpg: no permission to read the file"


@pytest.mark.parametrize("name", ["a b.jpg", "line\nbreak.jpg", "ünï.jpg", os.fsdecode(b"\xff\xfe.jpg")])
def test_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(Image.new("RGB", (4, 4)), "JPEG"))
    assert read_photo(tmp_path / name, name).name == name
    refused_bytes(tmp_path, b"no photo", name).encode("utf-8")


def test_the_format_is_told_by_the_bytes_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(Image.new("RGB", (4, 4)), "PNG"))
    assert read_photo(tmp_path / "photo.jpg", "photo.jpg").encoding.format == "PNG"


def test_pillow_s_errors_do_not_reach_the_terminal_and_its_log_stays_as_it_was(tmp_path: Path) -> None:
    """In a new process, since pytest handles logs itself."""
    script = ("import logging, sys, warnings\nfrom pathlib import Path\nfrom mien.images.decode import quiet_pillow\n"
              "with quiet_pillow():\n    logging.getLogger('PIL.Image').error('hidden'); warnings.warn('hidden')\n"
              "print(logging.getLogger('PIL').handlers)\n"
              "logging.getLogger('PIL.Image').error('shown')\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and done.stderr == "shown\n"


def test_threads_read_at_the_same_time(tmp_path: Path) -> None:
    images = [noise(40, 50, seed=i) for i in range(8)]
    for i, image in enumerate(images):
        (tmp_path / f"{i}.png").write_bytes(encoded(Image.fromarray(image), "PNG"))
    got: dict[int, Any] = {}

    def read(i: int) -> None:
        got[i] = read_photo(tmp_path / f"{i}.png", f"{i}.png").pixels

    threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(got[i], images[i]) for i in range(8))


def test_containers_that_do_not_parse() -> None:
    assert strip_jpeg(b"") is None and strip_jpeg(b"\xff\xd8\xff\xd9") is None
    assert strip_webp(b"RIFF") is None and webp_chunks(b"RIFF\xff\0\0\0WEBPVP8 \xff\xff\0\0") == []
    assert clean_icc(None) is None and clean_icc(b"\0" * 200) is None and clean_icc("text") is None


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_stripping_damaged_files_never_fails(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "WEBP"]))
    whole = bytearray(encoded(Image.fromarray(noise(12, 16)), kind, exif=b"Exif\0\0SECRET"))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert isinstance((strip_jpeg if kind == "JPEG" else strip_webp)(cut), bytes | None)
