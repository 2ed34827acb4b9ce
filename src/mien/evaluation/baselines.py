"""Makes the baselines that figures are compared with: the ends of the scale, and simple ways to hide a face.

A baseline is a whole set of photographs, changed at the same faces, made once and kept.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from mien.anonymizer.align import align
from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.invert import invert
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import faces_of
from mien.anonymizer.pairing import AvailableFaces, pair
from mien.anonymizer.render import render
from mien.errors import PhotoError
from mien.evaluation.measure_face import largest_face
from mien.evaluation.progress_callbacks import CountProgress
from mien.evaluation.work_folder import key_of
from mien.images.decode import read_photo
from mien.images.encode import encode_photo
from mien.images.recompress import recompressed
from mien.models.bundle import Detector
from mien.models.hub.cache import weights_sha256
from mien.recipe import PairSettings, Recipe
from mien.types import Crop, Face, Photo, Pixels
from mien.util.files import stamp, write_file

BATCH = 8  # faces
GROW = 0.15  # of the box on each side: what the simple ways hide
BLUR = 0.15  # standard deviation, of the hidden part's width
CELLS = 8  # of pixelation, across the hidden part
SHIFT, QUALITY = (3, 2), 90  # of the noise floor: pixels to the right and down, and of the JPEG
HidePixels = Callable[[Pixels], Pixels]
Changed = tuple[Pixels, npt.NDArray[np.bool_]]  # a photo [H, W, 3], and [H, W] where it was changed


def blur(picture: Pixels) -> Pixels:
    """Blurs with a Gaussian [H, W, 3] uint8."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), BLUR * picture.shape[1]), np.uint8)


def pixelate(picture: Pixels) -> Pixels:
    """Replaces a picture [H, W, 3] uint8 by a few squares of one color each."""
    rows = max(round(CELLS * len(picture) / picture.shape[1]), 1)
    small = cv2.resize(picture, (CELLS, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def blackout(picture: Pixels) -> Pixels:
    """Replaces a picture [H, W, 3] uint8 by black."""
    return np.zeros_like(picture)


def encode_again(picture: Pixels) -> Pixels:
    """Shifts a photo [H, W, 3] uint8 by a few pixels and compresses it as a JPEG: what changes the face least."""
    shift = np.array([[1, 0, SHIFT[0]], [0, 1, SHIFT[1]]], np.float64)
    moved = cv2.warpAffine(picture, shift, picture.shape[1::-1], flags=cv2.INTER_NEAREST,
                           borderMode=cv2.BORDER_REPLICATE)
    return recompressed(np.asarray(moved, np.uint8), QUALITY)


FLOOR = "floor"
SIMPLE: dict[str, HidePixels] = {FLOOR: encode_again, "blur": blur, "pixelation": pixelate, "blackout": blackout}
GENERATED = ("inversion", "nearest", "random")


@dataclass(frozen=True)
class BaselineJob:
    """A photograph that a baseline changes, and its largest face."""

    name: str
    photo: Photo
    face: Face
    crop: Crop


def make_simple_baseline(kind: str, root: Path, names: Sequence[str], folder: Path, detector: Detector,
                         progress: CountProgress = lambda done, total: None) -> list[Path]:
    """Writes the photographs of one of the `SIMPLE` baselines that are not there yet.

    Args:
        root, names: the originals. folder: where baselines are kept. detector: finds the originals' faces.

    Returns:
        The file of every photograph; it does not exist where the original has no face or cannot be read.

    Raises:
        OutputError: the folder cannot be written.
    """
    def change(jobs: list[BaselineJob]) -> list[Changed]:
        if kind == FLOOR:
            return [(encode_again(job.photo.pixels), np.ones(job.photo.pixels.shape[:2], bool)) for job in jobs]
        return [hide(job.photo.pixels, job.face, SIMPLE[kind]) for job in jobs]

    constants = [SHIFT, QUALITY] if kind == FLOOR else [GROW, BLUR, CELLS]
    key = key_of([kind, *constants, weights_sha256("yunet")])  # the detector's weights
    return _make(root, names, folder / f"{kind}-{key}", detector, change, progress)


def make_generated_baseline(kind: str, root: Path, names: Sequence[str], folder: Path, loaded: Loaded, recipe: Recipe,
                            progress: CountProgress = lambda done, total: None) -> list[Path]:
    """Writes the photographs of one of the `GENERATED` baselines that are not there yet, as `make_simple_baseline`.

    Args:
        loaded: networks and pool of the recipe. recipe: how faces are inverted and paired; its precision is settled.
    """
    how = {"inversion": recipe.invert.model_dump(), "nearest": _nearest(recipe).model_dump(), "random": {}}[kind]
    key = key_of([kind, how, loaded.weights, recipe.pool.model_dump(), recipe.detect.model_dump(), recipe.precision])

    def change(jobs: list[BaselineJob]) -> list[Changed]:
        pictures = render(loaded.networks, _codes(kind, jobs, loaded, recipe))
        return [blend(job.photo.pixels, [Patch(job.crop, picture)])
                for job, picture in zip(jobs, pictures, strict=True)]

    return _make(root, names, folder / f"{kind}-{key}", loaded.networks.detector, change, progress)


def _make(root: Path, names: Sequence[str], target: Path, detector: Detector,
          change: Callable[[list[BaselineJob]], list[Changed]], progress: CountProgress) -> list[Path]:
    record = _MadeRecord(target)
    waiting = [name for name in names if not record.has(name, root / name)]
    done = len(names) - len(waiting)
    progress(done, len(names))
    for jobs in _batches(root, waiting, detector):
        stamps = {job.name: stamp(root / job.name) for job in jobs}
        for job, (pixels, changed) in zip(jobs, change(jobs), strict=True):
            data, suffix = encode_photo(job.photo, pixels, changed)
            # What was made of an earlier state of the original may have another ending.
            _written(target / job.name).unlink(missing_ok=True)
            write_file(target / f"{job.name}{suffix}", data)
        record.add(stamps)
        done += len(jobs)
        progress(done, len(names))
    return [_written(target / name) for name in names]


class _MadeRecord:
    """Which photographs of a set were made, and of which state of their originals; a file of JSON lines beside the set.

    Photographs of lines that cannot be read are made anew.
    """

    def __init__(self, target: Path) -> None:
        self.target, self.file = target, target.with_name(f"{target.name}.made.jsonl")
        self.stamps: dict[str, list[int] | None] = {}
        with suppress(FileNotFoundError):
            for line in self.file.read_text("utf-8", errors="replace").splitlines():
                with suppress(ValueError):  # cut short by a kill
                    self.stamps |= json.loads(line or "{}")

    def has(self, name: str, original: Path) -> bool:
        return name in self.stamps and self.stamps[name] == stamp(original) and _written(self.target / name).exists()

    def add(self, stamps: dict[str, list[int] | None]) -> None:
        self.stamps |= stamps
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(stamps)}\n")  # the line before may have no end


def _written(path: Path) -> Path:
    """The file that a photograph was written to: a PNG, where its own format cannot be written."""
    other = path.with_name(f"{path.name}.png")
    return other if other.exists() else path


def _batches(root: Path, waiting: list[str], detector: Detector) -> Iterator[list[BaselineJob]]:
    jobs: list[BaselineJob] = []
    for name in waiting:
        try:
            photo = read_photo(root / name, name)
            face = largest_face(detector, photo.pixels)
        except PhotoError:
            continue
        if face is not None:
            jobs.append(BaselineJob(name, photo, face, align(photo.pixels, face)))
        if len(jobs) == BATCH:
            yield jobs
            jobs = []
    if jobs:
        yield jobs


def _nearest(recipe: Recipe) -> PairSettings:
    """The recipe's pairing, but with the one nearest pool face, which many may share."""
    return recipe.pair.model_copy(update={"k": 1, "unique": False})


def hide(photo: Pixels, face: Face, how: HidePixels) -> Changed:
    """Changes an ellipse around the face's box in a photo [H, W, 3], as tools that hide faces do."""
    x, y, width, height = face.box
    low = np.floor(np.clip([x - GROW * width, y - GROW * height], 0, None)).astype(int)
    high = np.ceil([x + (1 + GROW) * width, y + (1 + GROW) * height]).astype(int)
    here = slice(low[1], min(high[1], photo.shape[0])), slice(low[0], min(high[0], photo.shape[1]))
    out, changed = photo.copy(), np.zeros(photo.shape[:2], bool)
    rows, columns = np.mgrid[here]
    middle, half = (low + high - 1) / 2, (high - low) / 2
    changed[here] = np.hypot((columns - middle[0]) / half[0], (rows - middle[1]) / half[1]) <= 1
    out[here][changed[here]] = how(photo[here])[changed[here]]
    return out, changed


def _codes(kind: str, jobs: list[BaselineJob], loaded: Loaded, recipe: Recipe) -> Tensor:
    """Whitened codes [B, L, 512] of the faces that take the originals' places."""
    if kind == "random":
        drawn = [zlib.crc32(os.fsencode(job.name)) % len(loaded.pool.codes) for job in jobs]
        return loaded.pool.codes[drawn][:, None].expand(-1, loaded.networks.generator.n_layers, -1)
    faces = faces_of(loaded.networks, [job.face for job in jobs], [job.crop for job in jobs])
    if kind == "inversion":
        return invert(loaded.networks, faces, recipe.invert).codes
    pool, seeds = loaded.pool, range(len(jobs))
    matches = pair(pool, pool.traits(faces), _nearest(recipe), AvailableFaces(len(pool)), seeds)
    nearest = [match.index for match in matches]
    return loaded.pool.codes[nearest][:, None].expand(-1, loaded.networks.generator.n_layers, -1)
