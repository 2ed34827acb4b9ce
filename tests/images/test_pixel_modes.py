"""Photos of every mode are taken apart and shown as RGB, upright."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from mien.images.decode import decode_pixels, read_photo


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Any:
    values = np.random.RandomState(seed).randint(0, 256, (height, width, channels)).astype(np.uint8)
    return values[..., 0] if channels == 1 else values


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "1"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "L"),
     ("JPEG", "CMYK"), ("TIFF", "CMYK"), ("BMP", "P"), ("GIF", "P")],
)  # fmt: skip
def test_pixels_are_what_pillow_shows(kind: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(noise(21, 34)).convert(mode if mode != "LAB" else "RGB"), kind))
    photo = read_photo(path, "photo")
    with Image.open(path) as image:
        np.testing.assert_array_equal(photo.pixels, np.asarray(image.convert("RGB")))
        assert photo.encoding.mode == image.mode and photo.encoding.format == kind
    assert photo.pixels.dtype == np.uint8 and photo.pixels.flags.c_contiguous
    np.testing.assert_array_equal(decode_pixels(path.read_bytes()), photo.pixels)


def test_ycbcr_is_read_as_rgb(tmp_path: Path) -> None:
    source = Image.fromarray(noise(8, 6)).convert("YCbCr")
    data = encoded(source, "TIFF")
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        pytest.skip("this Pillow writes YCbCr TIFFs that it cannot read")
    (tmp_path / "photo.tif").write_bytes(data)
    photo = read_photo(tmp_path / "photo.tif", "photo.tif")
    assert photo.encoding.mode == "RGB" and photo.native is None
    np.testing.assert_array_equal(photo.pixels, np.asarray(source.convert("RGB")))


def test_lab_is_shown_in_its_colors(tmp_path: Path) -> None:
    rgb = np.full((4, 4, 3), (200, 80, 40), np.uint8)
    there = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = there.apply(Image.fromarray(rgb))
    (tmp_path / "photo.tif").write_bytes(encoded(lab, "TIFF"))
    photo = read_photo(tmp_path / "photo.tif", "photo.tif")
    assert photo.encoding.mode == "LAB" and np.abs(photo.pixels.astype(int) - rgb).max() <= 6


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 65535, 600).astype(np.uint16),
        np.linspace(0, 4095, 600).astype(np.uint16),
        np.linspace(0, 100_000, 600).astype(np.int32),
        np.linspace(-500, 500, 600).astype(np.int32),
        np.linspace(0, 1, 600).astype(np.float32),
        np.linspace(-3, 8, 600).astype(np.float32),
    ],
)
def test_deep_gray_is_shown_over_its_range(values: Any, tmp_path: Path) -> None:
    values = values.reshape(20, 30)
    (tmp_path / "photo.tif").write_bytes(encoded(Image.fromarray(values), "TIFF"))
    photo = read_photo(tmp_path / "photo.tif", "photo.tif")
    assert photo.native is not None and photo.scale is not None
    np.testing.assert_array_equal(photo.native, values)
    assert photo.pixels.max() > 190 and photo.pixels.min() == 0
    assert (np.diff(photo.pixels[..., 0].ravel().astype(int)) >= 0).all()


def test_floats_that_are_no_numbers(tmp_path: Path) -> None:
    for values in ([np.nan, np.inf, -np.inf, 0.5], [np.nan] * 4, [-7.0] * 4, [3e38, -3e38, 0, 1]):
        (tmp_path / "photo.tif").write_bytes(encoded(Image.fromarray(np.array([values], np.float32)), "TIFF"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_photo(tmp_path / "photo.tif", "photo.tif").pixels.shape == (1, 4, 3)


def test_transparency_is_kept_apart(tmp_path: Path) -> None:
    rgba = noise(9, 8, 4)
    (tmp_path / "photo.png").write_bytes(encoded(Image.fromarray(rgba), "PNG"))
    photo = read_photo(tmp_path / "photo.png", "photo.png")
    assert photo.alpha is not None
    np.testing.assert_array_equal(np.dstack([photo.pixels, photo.alpha]), rgba)


def test_16_bit_big_endian_tiff(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000
    big = Image.frombytes("I;16B", (10, 6), values.astype(">u2").tobytes())
    (tmp_path / "photo.tif").write_bytes(encoded(big, "TIFF"))
    photo = read_photo(tmp_path / "photo.tif", "photo.tif")
    assert photo.native is not None and photo.encoding.mode == "I;16"
    np.testing.assert_array_equal(photo.native, values)


def test_palette_indices_beyond_the_palette(tmp_path: Path) -> None:
    image = Image.frombytes("P", (4, 1), bytes([0, 1, 2, 200]))
    image.putpalette([9, 9, 9] * 256)
    data = encoded(image, "PNG")
    at = data.index(b"PLTE")
    chunk = b"PLTE" + bytes([7, 8, 9] * 3)
    data = data[: at - 4] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at + 776 :]
    (tmp_path / "photo.png").write_bytes(data)
    photo = read_photo(tmp_path / "photo.png", "photo.png")
    assert photo.pixels[0, :3].tolist() == [[7, 8, 9]] * 3 and photo.pixels[0, 3].tolist() == [0, 0, 0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 30), width=st.integers(1, 30), orientation=st.integers(0, 9),
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]),
)  # fmt: skip
def test_orientation_is_applied(height: int, width: int, orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "photo").write_bytes(encoded(Image.fromarray(noise(height, width)), kind, exif=exif))
    with Image.open(tmp_path / "photo") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photo(tmp_path / "photo", "photo")
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.flags.c_contiguous
