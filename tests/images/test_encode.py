"""What is written is the photo that was read, and exact where nothing changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from helpers.stored_photos import SIZE, everything, noise, nothing, opened, part, picture, smooth, stored
from mien.images.decode import decode_pixels
from mien.images.encode import encode_photo

LOSSLESS: list[tuple[str, str, dict[str, Any]]] = [
    *[("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
    *[("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F")],
    *[("TIFF", mode, {"compression": "tiff_lzw"}) for mode in ("1", "RGB", "I;16", "CMYK", "F")],
    *[("TIFF", mode, {"compression": "tiff_adobe_deflate"}) for mode in ("P", "RGBA", "I", "LAB")],
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "L", {"compression": "packbits"}),
    *[("GIF", mode, {}) for mode in ("L", "P")],
    *[("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")],
    *[("DIB", mode, {}) for mode in ("L", "RGB")],
    *[("PPM", mode, {}) for mode in ("1", "L", "RGB", "I", "F")],
    *[("JPEG2000", mode, {}) for mode in ("L", "LA", "RGB", "RGBA", "I;16")],
    ("JPEG2000", "RGB", {"no_jp2": True}),
    ("JPEG2000", "RGB", {"irreversible": True, "quality_layers": [20]}),
    *[("TGA", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
    ("TGA", "RGB", {"compression": "tga_rle"}),
    *[("SGI", mode, {}) for mode in ("L", "RGB", "RGBA")],
    *[("PCX", mode, {}) for mode in ("1", "L", "P", "RGB")],
    *[("QOI", mode, {}) for mode in ("RGB", "RGBA")],
    *[("DDS", mode, {}) for mode in ("L", "LA", "RGB", "RGBA")],
    *[("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")],
]


@pytest.mark.parametrize(("kind", "mode", "options"), LOSSLESS)
def test_lossless_formats_are_exact_outside_and_keep_their_mode(
    kind: str, mode: str, options: dict[str, Any], tmp_path: Path
) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    photo = stored(tmp_path / "photo", picture(mode), format=kind, **options)
    source = opened((tmp_path / "photo").read_bytes())

    data, suffix = encode_photo(photo, photo.pixels, nothing(photo))
    copy = opened(data)
    assert (suffix, copy.format, copy.mode) == ("", kind, source.mode)
    assert copy.tobytes() == source.tobytes()
    assert copy.convert("RGB").tobytes() == source.convert("RGB").tobytes()

    mask, new = part(photo), noise(photo.pixels.shape, 7)
    data, suffix = encode_photo(photo, new, mask)
    copy = opened(data)
    assert (suffix, copy.format) == ("", kind)
    if mode == "P" and kind != "GIF":
        assert copy.mode == "RGB"
        source = source.convert("RGB")
    assert copy.mode == source.mode
    np.testing.assert_array_equal(np.asarray(copy)[~mask], np.asarray(source)[~mask])
    assert (np.asarray(copy)[mask] != np.asarray(source)[mask]).mean() > 0.3
    if copy.mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(np.asarray(copy)[mask][:, :3], new[mask])
    if copy.mode in ("RGBA", "LA"):
        np.testing.assert_array_equal(np.asarray(copy)[..., -1], np.asarray(source)[..., -1])


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "I;16"), ("PNG", "L"), ("TIFF", "F"), ("TIFF", "I"), ("TIFF", "LAB"), ("TIFF", "CMYK")],
)
def test_new_pixels_come_back_as_they_were_given(kind: str, mode: str, tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo", picture(mode), format=kind)
    ramp = np.linspace(0, 255, photo.pixels[..., 0].size).astype(np.uint8)
    new = np.repeat(ramp.reshape(*photo.pixels.shape[:2], 1), 3, axis=2)
    mask = part(photo)
    decoded = decode_pixels(encode_photo(photo, new, mask)[0])
    assert np.abs(decoded[mask].astype(int) - new[mask]).max() <= 3
    np.testing.assert_array_equal(decoded[~mask], photo.pixels[~mask])


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "L"), ("PNG", "I;16"), ("PNG", "P"), ("PNG", "RGB"), ("PNG", "1"), ("TIFF", "CMYK"),
     ("TIFF", "LAB"), ("TIFF", "F"), ("TIFF", "I"), ("TIFF", "P"), ("WEBP", "RGB")],
)  # fmt: skip
def test_nothing_of_the_source_is_left_where_it_changed(kind: str, mode: str, tmp_path: Path) -> None:
    """In every stored channel: a black plate shows the old face as well as a pixel does."""
    options = {"lossless": True} if kind == "WEBP" else {}
    new, got = noise((SIZE[1], SIZE[0], 3), 5), []
    for seed in (0, 8):
        image = picture(mode, seed=seed)
        if mode in ("F", "I", "I;16"):
            image.putpixel((0, 0), 255 if mode == "F" else 59999)  # the same range for both
        photo = stored(tmp_path / "photo", image, format=kind, **options)
        got.append(np.asarray(opened(encode_photo(photo, new, everything(photo))[0])))
    if photo.scale is not None:
        assert photo.scale[1] in (255, 65535)
    np.testing.assert_array_equal(got[0], got[1])


def test_pixels_where_nothing_changed_are_not_looked_at(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.png", picture("RGB"))
    data, _ = encode_photo(photo, noise(photo.pixels.shape, 9), nothing(photo))
    np.testing.assert_array_equal(decode_pixels(data), photo.pixels)


@pytest.mark.parametrize("top", [4095, 1023, 65535])
def test_gray_of_12_bits_is_seen_and_stays_exact(top: int, tmp_path: Path) -> None:
    values = (np.linspace(0, top, 50 * 40).reshape(40, 50)).astype(np.uint16)
    photo = stored(tmp_path / "photo.png", Image.fromarray(values))
    assert photo.pixels.max() == 255 and photo.encoding.mode == "I;16"
    mask = part(photo)
    copy = np.asarray(opened(encode_photo(photo, np.full_like(photo.pixels, 255), mask)[0]))
    np.testing.assert_array_equal(copy[~mask], values[~mask])
    assert (copy[mask] == top).all()


def test_gif_keeps_palette_indices_and_transparency(tmp_path: Path) -> None:
    image = picture("P")
    photo = stored(tmp_path / "photo.gif", image, transparency=5, optimize=False)
    source = opened((tmp_path / "photo.gif").read_bytes())
    mask = part(photo)
    copy = opened(encode_photo(photo, noise(photo.pixels.shape, 3), mask)[0])
    assert copy.getpalette() == source.getpalette() and copy.info["transparency"] == 5
    np.testing.assert_array_equal(np.asarray(copy)[~mask], np.asarray(source)[~mask])
    transparent = np.asarray(source) == 5
    np.testing.assert_array_equal(np.asarray(copy) == 5, transparent)


def test_gif_dithers_to_its_own_colors(tmp_path: Path) -> None:
    image = Image.new("P", (40, 40))
    image.putpalette([0, 0, 0, 255, 255, 255, 255, 0, 0])
    photo = stored(tmp_path / "photo.gif", image, optimize=False)
    copy = opened(encode_photo(photo, np.full_like(photo.pixels, 128), everything(photo))[0])
    values, counts = np.unique(np.asarray(copy), return_counts=True)
    assert set(values) <= {0, 1, 2} and 0.3 < counts[list(values).index(1)] / 1600 < 0.7


@pytest.mark.parametrize("alphas", [b"\x00\x80\xff", b"\xff" * 9 + b"\x00"])
def test_png_palette_with_alphas(alphas: bytes, tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.png", picture("P"), transparency=alphas)
    source = opened((tmp_path / "photo.png").read_bytes())
    same = opened(encode_photo(photo, photo.pixels, nothing(photo))[0])
    assert same.mode == "P" and same.convert("RGBA").tobytes() == source.convert("RGBA").tobytes()
    mask = part(photo)
    copy = np.asarray(opened(encode_photo(photo, noise(photo.pixels.shape), mask)[0]))
    rgba = np.asarray(source.convert("RGBA"))
    np.testing.assert_array_equal(copy[~mask], rgba[~mask])
    np.testing.assert_array_equal(copy[..., 3], rgba[..., 3])


@pytest.mark.parametrize(
    ("mode", "key"), [("L", 77), ("RGB", (10, 20, 30)), ("I;16", 4000), ("RGB", (0, 0, 0))]
)
def test_a_declared_transparent_color_stays_and_new_pixels_avoid_it(
    mode: str, key: Any, tmp_path: Path
) -> None:
    photo = stored(tmp_path / "photo.png", picture(mode), transparency=key)
    mask = part(photo)
    new = np.empty_like(photo.pixels)
    new[:] = key if mode != "I;16" else round(4000 / 65535 * 255)
    copy = opened(encode_photo(photo, new, mask)[0])
    assert copy.info["transparency"] == key and copy.mode == mode
    assert not (np.asarray(copy)[mask].reshape(mask.sum(), -1) == np.array(key)).all(axis=1).any()
    source = opened((tmp_path / "photo.png").read_bytes())
    np.testing.assert_array_equal(np.asarray(copy)[~mask], np.asarray(source)[~mask])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    orientation=st.integers(1, 8),
    case=st.sampled_from(
        [("PNG", "RGB"), ("PNG", "I;16"), ("PNG", "1"), ("PNG", "P"), ("PNG", "RGBA"), ("TIFF", "CMYK"),
         ("TIFF", "F"), ("WEBP", "RGB")]
    ),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_size_and_orientation_is_exact_and_upright(
    size: tuple[int, int], orientation: int, case: tuple[str, str], seed: int, tmp_path: Path
) -> None:
    kind, mode = case
    options = {"lossless": True} if kind == "WEBP" else {}
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = stored(tmp_path / "photo", picture(mode, size, seed), format=kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(opened((tmp_path / "photo").read_bytes()))
    mask = noise(photo.pixels.shape[:2], seed, 2).astype(bool)
    for changed in (nothing(photo), mask):
        copy = opened(encode_photo(photo, noise(photo.pixels.shape, seed), changed)[0])
        assert copy.size == upright.size and copy.getexif().get(0x0112, 1) == 1
        expected = upright if copy.mode == upright.mode else upright.convert(copy.mode)
        np.testing.assert_array_equal(np.asarray(copy)[~changed], np.asarray(expected)[~changed])


@pytest.mark.parametrize(("kind", "name"), [("ICO", "icon.ico"), ("ICNS", "icon.icns")])
def test_formats_that_cannot_be_written_again_become_png(kind: str, name: str, tmp_path: Path) -> None:
    photo = stored(tmp_path / name, picture("RGBA", (32, 32)), format=kind)
    mask = part(photo)
    data, suffix = encode_photo(photo, noise(photo.pixels.shape), mask)
    copy = opened(data)
    assert (suffix, copy.format) == (".png", "PNG")
    np.testing.assert_array_equal(np.asarray(copy)[..., :3][~mask], photo.pixels[~mask])


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("PNG", "I;16"), ("JPEG2000", "RGB"), ("GIF", "P"), ("WEBP", "RGB"), ("TIFF", "RGB"),
     ("AVIF", "RGB")],
)  # fmt: skip
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4000, 2)])
def test_smallest_and_longest(kind: str, mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    photo = stored(tmp_path / "photo", picture(mode, size), format=kind)
    for changed in (nothing(photo), everything(photo)):
        data, suffix = encode_photo(photo, photo.pixels, changed)
        assert suffix == "" and opened(data).size == size


def test_the_same_photo_gives_the_same_bytes(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        photo = stored(tmp_path / "photo", smooth(), format=kind)
        assert encode_photo(photo, photo.pixels, part(photo)) == encode_photo(
            photo, photo.pixels, part(photo)
        )


def test_a_photo_that_was_not_read_here_keeps_its_format() -> None:
    """In a new process, in which Pillow does not know its formats yet."""
    script = ("import numpy as np\n"
              "from mien.images.encode import encode_photo\nfrom mien.types import Encoding, Photo\n"
              "photo = Photo('a.bmp', np.zeros((4, 5, 3), np.uint8), Encoding('BMP', 'RGB'))\n"
              "data, suffix = encode_photo(photo, photo.pixels, np.ones((4, 5), bool))\n"
              "print(data[:2], repr(suffix))\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "b'BM' ''\n"


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.png", picture("RGB"))
    with pytest.raises(ValueError, match="pixels must be uint8"):
        encode_photo(photo, photo.pixels[1:], nothing(photo))
    with pytest.raises(ValueError, match="changed must be bool"):
        encode_photo(photo, photo.pixels, nothing(photo)[1:])
    with pytest.raises(ValueError, match="changed must be bool"):
        encode_photo(photo, photo.pixels, nothing(photo).astype(np.uint8))
