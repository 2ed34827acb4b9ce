"""What is written is the photo that was read: exact where nothing changed, and without its metadata."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from mien.errors import OutputError
from mien.images.decode import decode_pixels, read_photo
from mien.images.encode import encode_photo, write_bytes
from mien.types import Photo

SIZE = (37, 23)
SECRETS = (b"SECRET", b"GPSSECRET", b"51.5007", b"http://ns.adobe.com/xap")


def noise(shape: tuple[int, ...], seed: int = 0, high: int = 256, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    return np.random.RandomState(seed).randint(0, high, shape).astype(dtype)


def picture(mode: str, size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """Random numbers in `mode`; a gradient would not show a shifted row."""
    width, height = size
    if mode == "1":
        return Image.fromarray(noise((height, width), seed) > 127)
    if mode == "P":
        image = Image.frombytes("P", size, noise((height, width), seed, 200).tobytes())
        image.putpalette(noise((200, 3), seed + 1).tobytes())
        return image
    if mode == "I;16":
        return Image.fromarray(noise((height, width), seed, 65536, np.uint16))
    if mode == "I":
        return Image.fromarray(noise((height, width), seed, 60000, np.int32))
    if mode == "F":
        return Image.fromarray(noise((height, width), seed, 1000).astype(np.float32) / 255)
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, noise((height, width, channels), seed).tobytes())


def smooth(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A drawn picture that JPEG stores well."""
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    image = Image.fromarray(ramp)
    ImageDraw.Draw(image).ellipse((20, 10, 70, 50), fill=(210, 160, 120))
    return image.convert(mode)


def stored(path: Path, image: Image.Image, **options: Any) -> Photo:
    image.save(path, **options)
    return read_photo(path, path.name)


def part(photo: Photo) -> npt.NDArray[np.bool_]:
    """A mask over the middle, and nothing at the borders."""
    mask = np.zeros(photo.pixels.shape[:2], bool)
    height, width = photo.pixels.shape[:2]
    mask[height // 4 : height // 4 * 3, width // 4 : width // 4 * 3] = True
    return mask


def nothing(photo: Photo) -> npt.NDArray[np.bool_]:
    return np.zeros(photo.pixels.shape[:2], bool)


def everything(photo: Photo) -> npt.NDArray[np.bool_]:
    return np.ones(photo.pixels.shape[:2], bool)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


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


def planted_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "SECRET description"
    exif[0x0132] = "2001:02:03 04:05:06 SECRET"
    exif[0x9286] = "SECRET comment"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 2.5), 29: "GPSSECRET"})
    return exif


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><SECRET xmlns="http://ns.adobe.com/xap/1.0/">51.5007</SECRET></x:xmpmeta>'


def planted(kind: str) -> dict[str, Any]:
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "SECRET")
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        text.add_text("Comment", "SECRET" * 50, zip=True)
        return {"pnginfo": text, "exif": planted_exif(), "dpi": (301, 301)}
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[270], tags[315], tags[700] = "SECRET", "SECRET artist", XMP
        return {"tiffinfo": tags, "dpi": (301, 301)}
    if kind == "GIF":
        return {"comment": b"SECRET"}
    if kind == "TGA":
        return {"id_section": b"SECRET"}
    if kind == "JPEG2000":
        return {"comment": "SECRET"}
    if kind == "JPEG":
        return {"exif": planted_exif(), "xmp": XMP, "comment": b"SECRET", "dpi": (301, 301)}
    return {"exif": planted_exif(), "xmp": XMP}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "TGA", "JPEG2000", "WEBP", "AVIF"])
@pytest.mark.parametrize("change", [False, True])
def test_metadata_is_gone(kind: str, change: bool, tmp_path: Path) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    photo = stored(tmp_path / "photo", smooth("P" if kind == "GIF" else "RGB"), format=kind, **planted(kind))
    assert b"SECRET" in (tmp_path / "photo").read_bytes(), "the test plants nothing"
    data, _ = encode_photo(photo, photo.pixels, part(photo) if change else nothing(photo))
    copy = opened(data)
    assert not [secret for secret in SECRETS if secret in data]
    assert not {"exif", "xmp", "XML:com.adobe.xmp", "Author", "Comment"} & set(copy.info)
    assert copy.info.get("comment", b"Created by OpenJPEG").startswith(b"Created by OpenJPEG")
    assert copy.info.get("dpi", (1, 1)) == (1, 1)
    if kind == "TIFF":
        assert not {270, 282, 283, 315, 306, 700, 34665, 34853} & set(copy.getexif())
    else:
        assert not copy.getexif()


@pytest.mark.parametrize(
    ("kind", "mode", "space"),
    [("JPEG", "RGB", "sRGB"), ("PNG", "RGB", "sRGB"), ("TIFF", "RGB", "sRGB"), ("WEBP", "RGB", "sRGB"),
     ("PNG", "P", "sRGB")],
)  # fmt: skip
@pytest.mark.parametrize("change", [False, True])
def test_the_color_profile_stays(kind: str, mode: str, space: Any, change: bool, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
    hidden = b"SECRET behind the profile"
    photo = stored(tmp_path / "photo", smooth(mode), format=kind, icc_profile=profile + hidden)
    data, _ = encode_photo(photo, photo.pixels, part(photo) if change else nothing(photo))
    assert opened(data).info["icc_profile"] == profile
    assert b"SECRET" not in data


def test_a_false_color_profile_goes(tmp_path: Path) -> None:
    for kind in ("JPEG", "WEBP"):
        photo = stored(tmp_path / "photo", smooth(), format=kind, icc_profile=b"SECRET" * 40)
        assert b"SECRET" not in encode_photo(photo, photo.pixels, nothing(photo))[0]


def test_a_profile_is_not_lost_with_a_format_that_cannot_hold_it(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = stored(tmp_path / "photo.jp2", picture("RGB"))
    object.__setattr__(photo.encoding, "icc_profile", profile)
    data, suffix = encode_photo(photo, photo.pixels, nothing(photo))
    assert suffix == ".png" and opened(data).info["icc_profile"] == profile


TABLES = [
    [min(255, 2 + i) for i in range(64)],
    [min(255, 5 + 3 * i) for i in range(64)],
    [9 + i for i in range(64)],
]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("change", [False, True])
def test_jpeg_keeps_tables_subsampling_and_scan_order(
    subsampling: int, progressive: bool, count: int, change: bool, tmp_path: Path
) -> None:
    photo = stored(
        tmp_path / "photo.jpg",
        smooth(),
        qtables=TABLES[:count],
        subsampling=subsampling,
        progressive=progressive,
    )
    source: Any = opened((tmp_path / "photo.jpg").read_bytes())
    copy: Any = opened(encode_photo(photo, photo.pixels, part(photo) if change else nothing(photo))[0])
    assert copy.quantization == source.quantization
    assert copy.layer == source.layer
    assert bool(copy.info.get("progressive")) == progressive
    difference = np.abs(np.asarray(copy).astype(int) - np.asarray(source))
    assert difference.mean() < 2 if change else difference.max() == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_noise_at_the_finest_tables_fits_the_encoder(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile, "MAXBLOCK", 2**22)  # Pillow's own guess does not do
        photo = stored(
            tmp_path / "photo.jpg",
            picture(mode, (300, 200)),
            qtables=[[1] * 64],
            subsampling=0,
            progressive=True,
        )
    data, suffix = encode_photo(photo, photo.pixels, part(photo))
    copy = opened(data)
    assert suffix == "" and copy.mode == mode and copy.info["progressive"]
    assert np.abs(decode_pixels(data) - photo.pixels.astype(int)).mean() < 3


def test_cmyk_jpeg_stays_cmyk(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.jpg", smooth("CMYK"), quality=95)
    new = np.asarray(smooth())[::-1].copy()
    copy = opened(encode_photo(photo, new, everything(photo))[0])
    assert copy.mode == "CMYK"
    assert np.abs(np.asarray(copy.convert("RGB")).astype(int) - new).mean() < 3


def test_rgb_coded_jpeg_stays_rgb_coded(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.jpg", smooth(), keep_rgb=True, quality=95)
    copy: Any = opened(encode_photo(photo, photo.pixels, part(photo))[0])
    assert [component[0] for component in copy.layer] == list(b"RGB")


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def thumbnail() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 150, 100)).save(buffer, "JPEG", comment=b"SECRET thumbnail")
    return buffer.getvalue()


def stuffed_jpeg(progressive: bool = False) -> bytes:
    """A JPEG with a hidden picture in every place that has room for one."""
    buffer = io.BytesIO()
    smooth().save(buffer, "JPEG", quality=90, progressive=progressive, restart_marker_rows=1)
    plain = buffer.getvalue()
    assert plain[2:4] == b"\xff\xe0"
    jfif_end = 4 + int.from_bytes(plain[4:6], "big")
    jfif = segment(0xE0, b"JFIF\0\1\2\1\1\x2d\1\x2d\2\2" + b"SECRETSECRET")  # 2 x 2 pixels of thumbnail
    extra = (
        segment(0xE0, b"JFXX\0\x10" + thumbnail())
        + segment(0xE1, b"Exif\0\0" + b"SECRET" + thumbnail())
        + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
        + segment(0xE2, b"MPF\0" + b"SECRET")
        + segment(0xED, b"Photoshop 3.0\0SECRET")
        + segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + b"SECRET")
        + segment(0xEB, b"SECRET")
        + segment(0xFE, b"SECRET")
    )
    return b"\xff\xd8" + jfif + extra + plain[jfif_end:] + thumbnail() + b"SECRET video"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("change", [False, True])
def test_nothing_hidden_in_a_jpeg_survives(progressive: bool, change: bool, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(stuffed_jpeg(progressive))
    photo = read_photo(path, "photo.jpg")
    data, suffix = encode_photo(photo, photo.pixels, part(photo) if change else nothing(photo))
    assert suffix == "" and not [secret for secret in SECRETS if secret in data]
    assert data.count(b"\xff\xd8\xff") == 1 and data.endswith(b"\xff\xd9") and data.count(b"JFIF") == 1
    copy = opened(data)
    assert copy.info.get("dpi", (1, 1)) == (1, 1) and copy.info["jfif_density"] == (1, 1)
    if not change:
        np.testing.assert_array_equal(np.asarray(copy), photo.pixels)


def test_a_turned_jpeg_is_encoded_upright(tmp_path: Path) -> None:
    exif = planted_exif()
    exif[0x0112] = 6
    photo = stored(tmp_path / "photo.jpg", smooth(), exif=exif, quality=95)
    data, _ = encode_photo(photo, photo.pixels, nothing(photo))
    copy = opened(data)
    assert copy.size == (64, 96) and not copy.getexif() and photo.verbatim is None
    assert np.abs(np.asarray(copy).astype(int) - photo.pixels).mean() < 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:2] + b"garbage" + data[2:],  # between the segments
        lambda data: data[:-2],  # no end
        lambda data: data[:20] + b"\xff\xff\xff" + data[20:],  # fill bytes, which are allowed
        lambda data: data.replace(b"\xff\xda", b"SECRET\xff\xda", 1),
    ],
)
def test_a_jpeg_that_is_not_strict_still_loses_its_metadata(spoil: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    smooth().save(buffer, "JPEG", exif=planted_exif())
    path = tmp_path / "photo.jpg"
    path.write_bytes(spoil(buffer.getvalue()))
    try:
        photo = read_photo(path, "photo.jpg")
    except Exception as error:
        assert type(error).__name__ == "PhotoError"
        return
    data, _ = encode_photo(photo, photo.pixels, nothing(photo))
    assert b"SECRET" not in data and opened(data).size == (96, 64)


def test_a_stereo_pair_leaves_its_first_picture_only(tmp_path: Path) -> None:
    second = Image.new("RGB", (96, 64), (1, 2, 3))
    smooth().save(tmp_path / "photo.mpo", save_all=True, append_images=[second], format="MPO")
    photo = read_photo(tmp_path / "photo.mpo", "photo.mpo")
    data, suffix = encode_photo(photo, photo.pixels, nothing(photo))
    assert suffix == "" and opened(data).format == "JPEG" and data.count(b"\xff\xd8\xff") == 1


def test_lossy_webp_without_changes_is_copied_without_loss(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.webp", smooth("RGBA"), quality=60, exif=planted_exif(), xmp=XMP)
    data, suffix = encode_photo(photo, photo.pixels, nothing(photo))
    source = opened((tmp_path / "photo.webp").read_bytes())
    assert suffix == "" and opened(data).tobytes() == source.tobytes()
    assert len(data) < len((tmp_path / "photo.webp").read_bytes())


def test_lossy_webp_stays_lossy(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.webp", smooth(), quality=60)
    data, _ = encode_photo(photo, photo.pixels, part(photo))
    assert b"VP8 " in data[:64] and np.abs(decode_pixels(data).astype(int) - photo.pixels).mean() < 4


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


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    photo = stored(tmp_path / "photo.png", picture("RGB"))
    with pytest.raises(ValueError, match="pixels must be uint8"):
        encode_photo(photo, photo.pixels[1:], nothing(photo))
    with pytest.raises(ValueError, match="changed must be bool"):
        encode_photo(photo, photo.pixels, nothing(photo)[1:])
    with pytest.raises(ValueError, match="changed must be bool"):
        encode_photo(photo, photo.pixels, nothing(photo).astype(np.uint8))


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "photo.png"
    write_bytes(target, b"one")
    write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert [entry.name for entry in target.parent.iterdir()] == ["photo.png"]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_write_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"original")
    (tmp_path / "photo.png").symlink_to(tmp_path / "original")
    write_bytes(tmp_path / "photo.png", b"new")
    assert (tmp_path / "original").read_bytes() == b"original" and not (tmp_path / "photo.png").is_symlink()


@pytest.mark.parametrize(
    "name", ["with space.png", "line\nbreak.png", "ünï.png", os.fsdecode(b"\xff\xfe.png"), "n" * 255]
)
def test_write_takes_any_name(name: str, tmp_path: Path) -> None:
    write_bytes(tmp_path / name, b"data")
    assert (tmp_path / name).read_bytes() == b"data"


def test_write_tells_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path, word in (
        (tmp_path / "folder", "folder"),
        (tmp_path / "file" / "x.png", "file"),
        (tmp_path / ("n" * 256), "name"),
    ):
        with pytest.raises(OutputError) as caught:
            write_bytes(path, b"data")
        assert word in caught.value.hint and str(path.name) in caught.value.message
    with pytest.raises(OutputError):
        write_bytes(tmp_path / "nul\0", b"data")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(tmp_path / "photo.png", b"old")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError) as caught:
        write_bytes(tmp_path / "photo.png", b"new")
    assert "free some space" in caught.value.hint
    assert (tmp_path / "photo.png").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.png"]


def test_a_closed_folder_is_reported(tmp_path: Path) -> None:
    """In a process of an ordinary user, since root may write anywhere."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mien.errors import OutputError\n"
        "from mien.images.encode import write_bytes\n"
        "closed = Path(sys.argv[1])\n"
        "os.chdir('/')\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: write_bytes(closed / 'photo.png', b'x')\n"
        "except OutputError as error: print(error.message, '|', error.hint)\n"
    )
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script, str(closed)], capture_output=True, text=True, check=True
    )
    assert "Permission denied" in done.stdout and "no permission to write" in done.stdout
