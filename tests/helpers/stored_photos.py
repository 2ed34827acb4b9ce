"""Pictures of random pixels in any mode, stored in a file and read back as photos."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mien.images.decode import read_photo
from mien.types import Photo

SIZE = (37, 23)


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
