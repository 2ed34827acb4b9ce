"""Takes a decoded picture apart: 8 bits RGB to work on, and the planes needed to store it the same way again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from mien.types import Pixels

_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
_KNOWN = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I", "F"}


@dataclass
class Planes:
    """A decoded picture, taken apart as `Photo` keeps it."""

    mode: str
    pixels: Pixels
    alpha: npt.NDArray[np.uint8] | None = None
    native: npt.NDArray[Any] | None = None
    palette: list[int] | None = None
    scale: tuple[float, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def take_apart(image: Image.Image, orientation: int) -> Planes:
    """Returns a decoded picture's planes, turned upright.

    Args:
        orientation: as EXIF has it, 1..8; 1 leaves the picture as it is.
    """
    mode, key = image.mode, image.info.get("transparency")
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        planes = _deep_planes("I;16", _upright(np.asarray(image).astype(np.uint16), orientation))
        return _with_key(planes, key)
    if mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        image = image.convert("RGBA")
    elif mode not in _KNOWN:
        image = image.convert(_PREMULTIPLIED.get(mode, "RGB"))
    mode, stored = image.mode, _upright(np.asarray(image), orientation)
    if mode in ("I", "F"):
        return _deep_planes(mode, stored)
    if mode == "P":
        return _palette_planes(image.getpalette("RGB") or [], stored, key)
    if mode == "RGBA":
        return Planes(mode, stored[..., :3], alpha=np.ascontiguousarray(stored[..., 3]))
    if mode == "LA":
        return Planes(mode, _gray(stored[..., 0]), alpha=np.ascontiguousarray(stored[..., 1]))
    if mode in ("CMYK", "LAB"):
        return Planes(mode, _upright(np.asarray(_as_rgb(image)), orientation), native=stored)
    if mode == "1":
        return _with_key(Planes(mode, _gray(stored.astype(np.uint8) * np.uint8(255))), None)
    return _with_key(Planes(mode, _gray(stored) if mode == "L" else stored), key)


def _gray(plane: npt.NDArray[np.uint8]) -> Pixels:
    return np.repeat(plane[..., None], 3, axis=2)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode != "LAB":
        return image.convert("RGB")
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB").apply(image)


def _palette_planes(palette: list[int], indices: npt.NDArray[np.uint8], key: object) -> Planes:
    """Returns the planes of palette indices; `key` is the transparent index, or bytes with an alpha for each index."""
    needed = 3 * (int(indices.max()) + 1)
    palette = palette + [0] * (needed - len(palette))  # indices beyond the palette show black
    alphas = np.full(256, 255, np.uint8)
    if isinstance(key, bytes):
        alphas[: len(key)] = np.frombuffer(key[:256], np.uint8)
    elif isinstance(key, int) and 0 <= key < 256:
        alphas[key] = 0
    pixels = np.array(palette, np.uint8).reshape(-1, 3)[indices]
    if alphas.min() == 255:
        return Planes("P", pixels, native=indices, palette=palette)
    return Planes("P", pixels, alpha=alphas[indices], native=indices, palette=palette, options={"transparency": key})


def _deep_planes(mode: str, values: npt.NDArray[Any]) -> Planes:
    """Returns the planes of gray of 16 or 32 bits, or floating point, shown in 8 bits over the range it uses.

    The range matters: 12 bits in a 16-bit file would be near black, and no face would be found in it.
    """
    low, high = _range(values)
    finite = np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low)
    shown = np.rint(np.clip((finite - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
    return Planes(mode, _gray(shown), native=values, scale=(low, high))


def _range(values: npt.NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low < 0:
        return low, high if high > low else low + 1
    if values.dtype.kind == "f" and high <= 1:
        return 0.0, 1.0
    return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)


def _with_key(planes: Planes, key: object) -> Planes:
    """Keeps the color `key` that a PNG or GIF without alpha plane declares transparent."""
    stored = planes.native if planes.native is not None else planes.pixels
    values = key if isinstance(key, tuple) else (key,)
    top = 65535 if planes.mode == "I;16" else 255
    if len(values) != (3 if planes.mode == "RGB" else 1):
        return planes
    if all(isinstance(value, int) and 0 <= value <= top for value in values):
        hit = stored == np.array(values)
        if hit.ndim == 3:
            hit = hit.all(axis=2)
        planes.alpha = np.where(hit, np.uint8(0), np.uint8(255))
        planes.options["transparency"] = key
    return planes


def _upright(stored: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Returns [H, W, ...] turned and mirrored as EXIF 2.32, 4.6.4 A says for `orientation`; contiguous."""
    if orientation in (5, 6, 7, 8):
        stored = stored.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored)
