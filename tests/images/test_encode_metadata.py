"""What is written keeps its color profile, tables and sampling, and none of its other metadata."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin, TiffImagePlugin

from helpers.stored_photos import everything, nothing, opened, part, picture, smooth, stored
from mien.images.decode import decode_pixels, read_photo
from mien.images.encode import encode_photo

SECRETS = (b"SECRET", b"GPSSECRET", b"51.5007", b"http://ns.adobe.com/xap")


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
