"""Writes sample photographs that need no consent.

They are NASA's public-domain portrait of an astronaut (from scikit-image) and group photos of generated faces.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.hub.fetch import FetchProgress, ensure
from mien.types import Pixels
from mien.util.files import replace_file, write_errors
from mien.util.image_tensors import to_pixels

PORTRAIT = 300  # pixels, side of one portrait in a group photo
SEED = 1234  # not the pool's: no face of the samples is in the pool
WALL = (214, 208, 198)


def write_samples(folder: Path, progress: FetchProgress | None = None) -> list[Path]:
    """Writes the astronaut (PNG) and two group photos (JPEG, PNG) into a folder, and returns their paths.

    Raises:
        FetchError: a sample or the generator cannot be fetched. OutputError: the folder cannot be written.
    """
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = ensure(["astronaut", "mobilestylegan"], progress)
    generator = MobileStyleGAN.from_file(paths["mobilestylegan"])
    astronaut = np.asarray(Image.open(paths["astronaut"]).convert("RGB"))
    pictures = {"astronaut.png": astronaut,
                "group wall.jpg": _wall(_portraits(generator, range(6)), columns=3),
                "group strip.png": _wall(_portraits(generator, range(6, 9)), columns=3, tilt=9.0)}
    for name, pixels in pictures.items():
        with write_errors(folder):
            replace_file(folder / name, partial(_save, pixels, "JPEG" if name.endswith("jpg") else "PNG"))
    return [folder / name for name in pictures]


def _save(pixels: Pixels, kind: str, path: Path) -> None:
    options = {"quality": 93} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(path, kind, **options)


@torch.inference_mode()
def _portraits(generator: MobileStyleGAN, numbers: range) -> list[Pixels]:
    z = torch.stack([torch.randn(DIM, generator=torch.Generator().manual_seed(SEED + i)) for i in numbers])
    codes = generator.truncate(generator.map(z), 0.7)[:, None].expand(-1, generator.n_layers, -1)
    pictures = [to_pixels(generator(row[None]))[0].numpy() for row in codes]
    return [np.asarray(cv2.resize(p, (PORTRAIT, PORTRAIT), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            for p in pictures]


def _wall(portraits: list[Pixels], columns: int, tilt: float = 0.0) -> Pixels:
    """Arranges portraits in rows on a plain wall, turned by `tilt` degrees to one side and the other in turn."""
    cell, rows = PORTRAIT + 60, -(-len(portraits) // columns)
    wall = np.full((rows * cell, columns * cell, 3), WALL, dtype=np.uint8)
    for i, portrait in enumerate(portraits):
        x, y = (i % columns) * cell + 30, (i // columns) * cell + 30
        matrix = cv2.getRotationMatrix2D((PORTRAIT / 2, PORTRAIT / 2), tilt * (-1) ** i, 1.0)
        matrix[:, 2] += (x, y)
        size = (wall.shape[1], wall.shape[0])
        mask = cv2.warpAffine(np.ones_like(portrait, dtype=np.float32), matrix, size, flags=cv2.INTER_AREA)
        wall = np.rint(wall * (1 - mask) + cv2.warpAffine(portrait, matrix, size, flags=cv2.INTER_AREA) * mask
                       ).clip(0, 255).astype(np.uint8)
    return wall
