"""Encodes a photograph the way it was stored, with its pixels and its color profile and without other metadata."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile

from mien.images.decode import quiet_pillow
from mien.types import Encoding, Photo, Pixels

# The modes in which each format is written and read back as the same numbers (JPEG, AVIF and lossy WebP:
# nearly). Formats that are not here become PNG: ICO, CUR and ICNS (several sizes of one picture), PSD, SUN.
_WRITABLE: dict[str, frozenset[str]] = {
    "JPEG": frozenset({"L", "RGB", "CMYK"}),
    "PNG": frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}),
    "GIF": frozenset({"L", "P"}),
    "WEBP": frozenset({"RGB", "RGBA"}),
    "AVIF": frozenset({"RGB", "RGBA"}),
    "TIFF": frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"}),
    "BMP": frozenset({"1", "L", "P", "RGB", "RGBA"}),
    "DIB": frozenset({"1", "L", "P", "RGB", "RGBA"}),
    "PPM": frozenset({"1", "L", "RGB", "I", "I;16", "F"}),
    "JPEG2000": frozenset({"L", "LA", "RGB", "RGBA", "I;16"}),
    "TGA": frozenset({"1", "L", "LA", "P", "RGB", "RGBA"}),
    "SGI": frozenset({"L", "RGB", "RGBA"}),
    "PCX": frozenset({"1", "L", "P", "RGB"}),
    "QOI": frozenset({"RGB", "RGBA"}),
    "DDS": frozenset({"L", "LA", "RGB", "RGBA"}),
}
_WITH_PROFILE = frozenset({"JPEG", "PNG", "TIFF", "WEBP", "AVIF"})
_LUMA = (19595, 38470, 7471)  # ITU-R BT.601 in 1/65536, as Pillow rounds it
# Color spaces that a profile may belong to; the other modes are gray.
_COLOR = {"RGB": "rgb", "RGBA": "rgb", "P": "rgb", "CMYK": "cmyk", "LAB": "lab"}

def encode_photo(photo: Photo, pixels: Pixels, changed: npt.NDArray[np.bool_]) -> tuple[bytes, str]:
    """Encodes `photo` with new `pixels` where `changed`, without any metadata but its ICC profile.

    Lossless formats (PNG, TIFF, GIF, BMP, PPM, JPEG 2000, TGA, SGI, PCX, QOI, DDS, lossless WebP) decode to
    exactly the source's upright pixels wherever `changed` is False, in the source's mode: gray keeps its 16
    bits, GIF its palette and indices (changed pixels are dithered to the nearest palette colors),
    transparency stays. A palette picture in another format than GIF becomes RGB or RGBA once a pixel
    changes. A TIFF whose source was compressed with JPEG is written without loss, one that holds YCbCr as
    the RGB it decodes to.

    JPEG keeps its quantization tables, its subsampling (4:4:4 where Pillow cannot write the source's) and
    its scan order; CMYK stays CMYK. AVIF and lossy WebP, whose quality cannot be known, are written at quality 95.
    An upright JPEG or WebP in which nothing changed is copied segment by segment, without decoding, and loses
    nothing.

    What cannot be written in its own format becomes PNG: ICO, CUR, ICNS, PSD, SUN, rare modes, and photos
    with an ICC profile in a format that Pillow writes without it (JPEG 2000).

    Args:
        photo: the photograph as it was read.
        pixels: [H, W, 3] uint8 RGB; only used where `changed`.
        changed: [H, W] bool.

    Returns:
        The file's bytes, and what to append to the photo's name: "" or ".png".

    Raises:
        ValueError: shapes or types do not fit the photo.
    """
    _check(photo, pixels, changed)
    if photo.verbatim is not None and not changed.any():
        return photo.verbatim, ""
    kind, mode = _target(photo, bool(changed.any()))
    image = _image(photo, mode, pixels, changed)
    try:
        return _saved(image, kind, _options(photo.encoding, kind, mode)), _suffix(photo, kind)
    except (OSError, ValueError, KeyError, SystemError):
        if kind == "PNG":
            raise
    mode = "RGBA" if photo.alpha is not None else "RGB"  # what every PNG writer takes
    return _saved(_image(photo, mode, pixels, changed), "PNG", _options(photo.encoding, "PNG", mode)), ".png"


def _check(photo: Photo, pixels: Pixels, changed: npt.NDArray[np.bool_]) -> None:
    if pixels.shape != photo.pixels.shape or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 {photo.pixels.shape}, not {pixels.dtype} {pixels.shape}")
    if changed.shape != pixels.shape[:2] or changed.dtype != np.bool_:
        raise ValueError(f"changed must be bool {pixels.shape[:2]}, not {changed.dtype} {changed.shape}")


def _suffix(photo: Photo, kind: str) -> str:
    return "" if kind == photo.encoding.format else ".png"


def _target(photo: Photo, changed: bool) -> tuple[str, str]:
    """Returns the format and mode to write: the source's own if they can be written."""
    Image.init()  # registers the formats that can be written
    kind, mode = photo.encoding.format, photo.encoding.mode
    plain = "RGBA" if photo.alpha is not None else "RGB"
    if mode == "P" and changed and kind != "GIF":
        mode = plain
    unwritable = kind not in _WRITABLE or kind not in Image.SAVE
    if unwritable or (photo.encoding.icc_profile and kind not in _WITH_PROFILE):
        kind = "PNG"
    if mode not in _WRITABLE[kind]:
        mode = plain
    return (kind, mode) if mode in _WRITABLE[kind] else ("PNG", mode)


def _options(encoding: Encoding, kind: str, mode: str) -> dict[str, Any]:
    options = dict(encoding.options) if kind == encoding.format else {}
    if mode != encoding.mode:
        options.pop("transparency", None)
    elif "transparency" in encoding.options and kind == "PNG":
        options["transparency"] = encoding.options["transparency"]
    if kind == "GIF":
        options["optimize"] = False  # would renumber the palette
    if encoding.icc_profile and _COLOR.get(mode) == _COLOR.get(encoding.mode):
        options["icc_profile"] = encoding.icc_profile
    return options


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with quiet_pillow():
        before = ImageFile.MAXBLOCK
        if options.get("progressive"):
            # libjpeg writes its scans in one go, and fine tables on a noisy photo outgrow Pillow's guess
            ImageFile.MAXBLOCK = max(before, 4 * image.width * image.height * len(image.getbands()))
        try:
            image.save(buffer, format=kind, **options)
        finally:
            ImageFile.MAXBLOCK = before
    return buffer.getvalue()


def _image(photo: Photo, mode: str, pixels: Pixels, changed: npt.NDArray[np.bool_]) -> Image.Image:
    """Builds the photo with its new pixels in `mode`, from arrays alone, so that it carries no metadata."""
    size = (pixels.shape[1], pixels.shape[0])
    if mode == "1":
        values = np.where(changed, _dithered(photo, pixels, changed), photo.pixels[..., 0] > 127)
        return Image.fromarray(values.astype(np.uint8) * np.uint8(255)).convert("1", dither=Image.Dither.NONE)
    if mode == "P":
        image = Image.frombytes("P", size, _indices(photo, pixels, changed).tobytes())
        image.putpalette(photo.palette or [])
        return image
    if mode in ("L", "LA"):
        planes = photo.pixels[..., 0].copy()  # [H, W]
        planes[changed] = _luma(pixels[changed])
    elif mode in ("RGB", "RGBA"):
        planes = np.where(changed[..., None], pixels, photo.pixels)  # [H, W, 3]
    else:
        planes = _native(photo, mode, pixels, changed)
    if mode == photo.encoding.mode:
        _keep_off_key(planes, changed, photo.encoding.options.get("transparency"))
    if mode in ("LA", "RGBA"):
        opaque = np.full(changed.shape, 255, np.uint8)
        planes = np.dstack([planes, opaque if photo.alpha is None else photo.alpha])
    return Image.frombytes(mode, size, planes.tobytes())


def _luma(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Converts [N, 3] RGB to [N] gray."""
    sums = colors.astype(np.uint32) @ np.array(_LUMA, np.uint32) + 0x8000
    return np.asarray(sums >> 16, dtype=np.uint8)


def _native(photo: Photo, mode: str, pixels: Pixels, changed: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Returns the stored values, with the changed ones converted from RGB."""
    if photo.native is None:
        raise ValueError(f"a photo of mode {mode} needs its native values")
    values, colors = photo.native.copy(), pixels[changed]  # [N, 3]
    if not len(colors):
        return values
    if photo.scale is not None:
        low, high = photo.scale
        gray = colors @ (np.array(_LUMA) / 65536)
        deep = low + gray * ((high - low) / 255)
        values[changed] = deep if values.dtype.kind == "f" else np.clip(np.rint(deep), low, high)
    elif mode == "CMYK":
        values[changed] = _cmyk(colors)
    else:
        values[changed] = np.asarray(_lab(Image.fromarray(colors[None])))[0]
    return values


def _cmyk(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Converts [N, 3] RGB to [N, 4] CMYK, all gray in black: the source's black plane would show its face."""
    rgb = colors.astype(np.float32)
    white = rgb.max(axis=1, keepdims=True)  # 255 - K
    inks = 255 * (1 - rgb / np.maximum(white, 1))
    return np.asarray(np.rint(np.hstack([inks, 255 - white])), dtype=np.uint8)


def _lab(image: Image.Image) -> Image.Image:
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(rgb, lab, "RGB", "LAB").apply(image)


def _dithered(photo: Photo, pixels: Pixels, changed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    merged = np.where(changed[..., None], pixels, photo.pixels)
    return np.array(Image.fromarray(merged).convert("1"), dtype=np.bool_)


def _indices(photo: Photo, pixels: Pixels, changed: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Returns palette indices [H, W]: the source's, and where `changed` the nearest opaque colors, error-diffused.

    Pixels that were transparent stay so.
    """
    if photo.native is None or photo.palette is None:
        raise ValueError("a palette photo needs its indices and its palette")
    if not changed.any():
        return photo.native
    opaque = np.ones(photo.pixels.shape[:2], bool) if photo.alpha is None else photo.alpha > 0
    colors = np.array(photo.palette, np.uint8).reshape(-1, 3)
    key = photo.encoding.options.get("transparency")
    allowed = np.array([i for i in range(len(colors)) if i != key] or [0])
    allowed = np.concatenate([allowed, np.full(256 - len(allowed), allowed[0])])
    chart = Image.new("P", (1, 1))
    chart.putpalette(colors[allowed].tobytes())
    merged = np.where(changed[..., None], pixels, photo.pixels)
    nearest = Image.fromarray(merged).quantize(palette=chart, dither=Image.Dither.FLOYDSTEINBERG)
    indices = np.where(changed & opaque, allowed[np.asarray(nearest)], photo.native)
    return np.asarray(indices, dtype=np.uint8)


def _keep_off_key(planes: npt.NDArray[Any], changed: npt.NDArray[np.bool_], key: object) -> None:
    """Moves changed values off the color declared transparent, by one step, so that they are visible."""
    if key is None:
        return
    hit = changed & (planes == np.array(key) if planes.ndim == 2 else (planes == np.array(key)).all(axis=2))
    values = planes[hit]  # [N] or [N, 3]
    last = values if values.ndim == 1 else values[:, 2]
    last[...] = np.where(last > 0, last - 1, 1)
    planes[hit] = values
