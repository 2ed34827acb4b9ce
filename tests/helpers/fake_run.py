"""Provides what the tests of whole runs share: a tiny recipe, photographs, and quick runs with fake networks.

In a quick run a face is a blue square, whose red and green are the person's identity, and a brush that paints squares
stands in for the generator. All else (reading, judging, retrying, concealing, searching again, writing, resuming) is
real. `python tests/helpers/fake_run.py anonymize SRC DST ...` is `mien` with quick runs, for tests that need a process
of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import mien
from mien.anonymizer.blend import Patch
from mien.anonymizer.load import Loaded
from mien.anonymizer.pipeline import Pipeline
from mien.anonymizer.pool import Pool, Traits
from mien.anonymizer.work_item import Subject
from mien.jobs.job import make_request
from mien.jobs.request import PASSES, Request
from mien.jobs.run import Run
from mien.jobs.summary import Summary
from mien.jobs.worker import Worker
from mien.models.generators.base import DIM
from mien.models.generators.mobilestylegan import N_LAYERS, MobileStyleGAN
from mien.recipe import Recipe
from mien.types import Crop, Face, Match, Pixels
from mien.util.image_tensors import to_pixels

TINY = Recipe().with_changes({
    "name": "tiny", "seed": 0, "precision": "float32", "pool.size": 64, "invert.steps": 2, "invert.shared_steps": 1,
    "optimize.steps": 2, "verify.attempts": 1, "batch": 4})
TINY_TOML = """
name = "tiny"
seed = 0
precision = "float32"
batch = 4
pool = { size = 64 }
invert = { steps = 2, shared_steps = 1 }
optimize = { steps = 2 }
verify = { attempts = 1 }
"""

PLACES = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])
SIDE = 48  # of a square, pixels
BLUE, SHY = 220, 180  # blue of squares, and of those that are found only beside a painted one
ANNA, BERT, CLEO = (30, 30), (30, 150), (150, 30)  # red and green of people
STUBBORN = (150, 150)  # the brush leaves this person as they are
NEW = 90  # red and green of painted squares, different from all people's
PAUSE = "MIEN_TEST_PAUSE"  # environment variable: seconds that the brush takes for a batch


def ground(height: int, width: int, seed: int = 0) -> Pixels:
    """Draws a smooth picture without faces, real or square: [height, width, 3] uint8 RGB."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / (19 + seed % 7) + i) + np.sin(y / (13 + 3 * i) + seed) for i in range(3)]
    return (90 + 25 * np.stack(planes, axis=-1)).astype(np.uint8)


def squares(*people: tuple[int, int], seed: int = 0, shy: int = 0) -> Pixels:
    """Draws people as squares, side by side; the last `shy` of them are found only beside a painted one."""
    photo = ground(96, 16 + 112 * max(len(people), 1), seed)
    for i, (red, green) in enumerate(people):
        x, blue = 40 + 112 * i, SHY if i >= len(people) - shy else BLUE
        photo[24 : 24 + SIDE, x : x + SIDE] = (red, green, blue)
        photo[24 : 24 + SIDE, x : x + SIDE : 2, 0] += 12  # stripes, so that smooth colors differ everywhere
    return photo


def save(path: Path, pixels: Pixels, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def album(folder: Path, count: int) -> Path:
    """Writes a folder of photos of squares, some without a face, some with three."""
    for i in range(count):
        people = [(), (ANNA,), (BERT, ANNA), (CLEO,), (ANNA, STUBBORN, CLEO)][i % 5]
        save(folder / f"{i % 3}" / f"{i:03d}.png", squares(*people, seed=i))
    return folder


@torch.inference_mode()
def portraits(generator: MobileStyleGAN, seeds: Sequence[int]) -> list[Pixels]:
    """Generates people with the real generator, [256, 256, 3] uint8 RGB each."""
    z = torch.stack([torch.randn(DIM, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    codes = generator.truncate(generator.map(z), 0.6)[:, None].expand(-1, N_LAYERS, -1)
    pictures = [to_pixels(generator(row[None]))[0].numpy() for row in codes]
    return [np.asarray(cv2.resize(p, (256, 256), interpolation=cv2.INTER_AREA), np.uint8) for p in pictures]


class SquareNetworks:
    """Stands in for `Networks`: detects blue squares, and identifies them by their red and green."""

    same_person, width, device = 0.42, 128, torch.device("cpu")
    generator = SimpleNamespace(n_layers=N_LAYERS)

    @property
    def recognizer(self) -> SquareNetworks:
        return self

    @property
    def detector(self) -> SquareNetworks:
        return self

    @property
    def judge(self) -> SquareNetworks:
        return self

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        open_ones, painted = _found(photo, BLUE), False
        for face in open_ones:
            painted |= bool(np.abs(_color(photo, face.points) - NEW).max() < 20)
        return open_ones + (_found(photo, SHY) if painted else [])

    def embed(self, photo: Pixels, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        colors = np.stack([_color(photo, five) for five in points]) / 50
        light = np.full((len(points), 1), 5.0 if photo.any() else 0.0)  # a black picture is like no person
        return np.pad(np.hstack([colors, light]).astype(np.float32), ((0, 0), (0, 125)))

    def identify(self, chip: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize((chip + 1).mean(dim=(2, 3)) @ torch.eye(3, 128))  # [B, 128]

    def encoder(self, image: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a brush needs no codes")


def _blue(photo: Pixels, blue: int) -> npt.NDArray[np.bool_]:
    return np.abs(photo[..., 2].astype(int) - blue) < 16


def _found(photo: Pixels, blue: int) -> list[Face]:
    _, _, boxes, _ = cv2.connectedComponentsWithStats(_blue(photo, blue).astype(np.uint8))
    boxes = [tuple(float(v) for v in row[:4]) for row in boxes[1:] if row[4] >= 100]
    return [Face(box, (PLACES * box[2:] + box[:2]).astype(np.float32), 0.9) for box in sorted(boxes)]


def _color(photo: Pixels, five: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    x, y = five.mean(axis=0).round().astype(int)
    part = photo[max(y - 4, 0) : y + 4, max(x - 4, 0) : x + 4, :2]
    return np.asarray(part.mean(axis=(0, 1)) if part.size else np.full(2, np.nan))


class Painter(Pipeline):
    """Runs the pipeline with a brush in place of the generator."""

    def _attempt(self, subjects: list[Subject], attempt: int) -> None:
        time.sleep(float(os.environ.get(PAUSE, "0")))
        for subject in subjects:
            shade = zlib.crc32(os.fsencode(subject.outcome.file)) % 8
            red, green = (subject.judged[:2] * 50).round()
            if np.abs(np.array([red, green]) - STUBBORN).max() > 20:
                red, green = NEW - shade, NEW + shade
            subject.picture = np.full((8, 8, 3), (red, green, BLUE), np.uint8)
            subject.codes = subject.inverted = torch.zeros(16, 512)
            subject.match = subject.match or Match(shade, 0.0)
            subject.outcome.attempts += 1


def brush(photo: Pixels, patches: list[Patch],
          original: Pixels | None = None) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Paints the squares within the crops, in place of blending."""
    out, changed = photo.copy(), np.zeros(photo.shape[:2], dtype=bool)
    for patch in patches:
        low, high = patch.crop.quad.min(axis=0), patch.crop.quad.max(axis=0)
        (x0, y0), (x1, y1) = np.clip([low, high], 0, None).astype(int)
        here = _blue(photo[y0:y1, x0:x1], BLUE)
        out[y0:y1, x0:x1][here] = patch.picture[0, 0]
        changed[y0:y1, x0:x1] |= here
    return out, changed


class SquarePool(Pool):
    """Stands in for a pool: all faces are equally near to all people."""

    def traits(self, faces: Any) -> Traits:
        return Traits(torch.zeros(len(faces.identity), 1), torch.zeros(len(faces.identity), 1),
                      torch.zeros(len(faces.identity), 1), faces.identity)


class RestlessNetworks(SquareNetworks):
    """Detects one more face at each search from the second on, `more` times."""

    def __init__(self, more: int) -> None:
        self.more, self.searches = more, 0

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        self.searches += 1
        places = range(min(self.searches - 1, self.more))
        return super().detect(photo) + [
            Face((4.0 + 8 * i, 80.0, 6.0, 6.0), (PLACES * 6 + [4 + 8 * i, 80]).astype(np.float32), 0.9) for i in places]


def square_pool() -> SquarePool:
    flat = torch.zeros(64, 1)
    return SquarePool(flat, flat, flat, flat, torch.ones(64, 128), flat[0], flat[:1], flat[:1])


def square_faces(networks: SquareNetworks, faces: list[Face], crops: list[Crop]) -> SimpleNamespace:
    """Computes the identities of squares, in place of all targets of their faces."""
    middles = [crop.pixels[112:144, 112:144].mean(axis=(0, 1)) for crop in crops]
    return SimpleNamespace(identity=torch.nn.functional.normalize(
        torch.tensor(np.array(middles), dtype=torch.float32).reshape(-1, 3) @ torch.eye(3, 128)))


def square_ready() -> Loaded:
    """Returns fake networks and a fake pool, as `prepare` returns real ones."""
    return Loaded(SquareNetworks(), square_pool(), {"squares": "0"})  # type: ignore[arg-type]


def open_square_worker(request: Request, threads: int, device: str) -> Worker:
    """Opens a worker of quick runs in a process of its own."""
    del threads, device
    use_brush(set_attribute)
    ready = square_ready()
    return Worker(request, ready.networks, ready.pool)


def use_brush(setattr_: Callable[[str, Any], Any]) -> None:
    """Makes runs quick ones. `setattr_` takes a dotted name and a value, as `monkeypatch.setattr` does."""
    setattr_("mien.jobs.worker.Pipeline", Painter)
    setattr_("mien.jobs.worker.faces_of", square_faces)
    setattr_("mien.jobs.executors.processes.open_worker", open_square_worker)
    setattr_("mien.jobs.executors.ray.open_worker", open_square_worker)
    setattr_("mien.anonymizer.image_anonymizer.Pipeline", Painter)
    setattr_("mien.anonymizer.image_anonymizer.prepare", lambda *_, **__: square_ready())
    setattr_("mien.anonymizer.finish.blend", brush)
    setattr_("mien.anonymizer.load.prepare", lambda *_, **__: square_ready())
    setattr_("mien.api._loaded", lambda *_: square_ready())


def run(src: str | Path, dst: str | Path, recipe: Recipe = TINY, ready: Loaded | None = None, **asked: Any) -> Summary:
    """Runs a job through the library, quickly where the brush is in use and no networks are given."""
    workers, passes = asked.pop("workers", None), asked.pop("passes", PASSES)
    request = make_request(src, dst, recipe, **asked)
    ready = ready or square_ready()
    summary = Run(request, ready.networks, ready.pool, workers).execute(passes=passes)
    if summary.complete:
        request.publish()
    return summary


def run_quickly(src: Path, dst: Path, recipe: Recipe = TINY) -> Summary:
    """Runs a job quickly, with the brush in use for its time only."""
    with pytest.MonkeyPatch.context() as patch:
        use_brush(patch.setattr)
        return run(src, dst, recipe)


def mien_command(*arguments: str | Path, quick: bool = True) -> list[str]:
    """Returns the command line of `mien`, of quick runs or of real ones."""
    program = [str(Path(__file__).resolve())] if quick else ["-m", "mien"]
    return [sys.executable, *program, *(os.fspath(argument) for argument in arguments)]


def environment(**more: str) -> dict[str, str]:
    """Returns the environment for a process that is to import the same mien as this one."""
    source = str(Path(mien.__file__).resolve().parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])} | more


def start(*arguments: str | Path, quick: bool = True, pause: float = 0.0) -> subprocess.Popen[str]:
    """Starts a `mien` command whose brush pauses so many seconds for each batch."""
    return subprocess.Popen(mien_command(*arguments, quick=quick), env=environment(**{PAUSE: str(pause)}),
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            # A test run in the background ignores this signal, and its children would as well.
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def call(*arguments: str | Path, quick: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a `mien` command to its end."""
    return subprocess.run(mien_command(*arguments, quick=quick), env=environment(), text=True,
                          capture_output=True, timeout=900, **options)


def photos_in(dst: Path) -> dict[str, bytes]:
    """Reads all files but the run's own: name -> bytes."""
    own = {"mien.parquet", "mien.json", "report.html"}
    return {str(path.relative_to(dst)): path.read_bytes() for path in sorted(dst.rglob("*"))
            if path.is_file() and str(path.relative_to(dst)) not in own}


def rows_in(dst: Path) -> list[dict[str, Any]]:
    """Reads the manifest without its times."""
    return [{name: value for name, value in row.items() if name != "seconds"}
            for row in pq.read_table(dst / "mien.parquet").to_pylist()]


def inside(box: Sequence[float]) -> tuple[slice, slice]:
    """Returns the rows and columns of the middle half of a face's box."""
    x, y, width, height = box
    return (slice(max(int(y + height / 4), 0), int(y + 3 * height / 4) + 1),
            slice(max(int(x + width / 4), 0), int(x + 3 * width / 4) + 1))


def changed(before: Pixels, after: Pixels, box: Sequence[float]) -> bool:
    """Tells whether most pixels in the middle of a face's box have changed."""
    rows, columns = inside(box)
    differs = (before[rows, columns] != after[rows, columns]).any(axis=2)
    return bool(differs.mean() > 0.7)


def pixels_of(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def set_attribute(name: str, value: Any) -> None:
    """Sets an attribute by its dotted name as `monkeypatch.setattr` does, but for as long as the process lives."""
    module, _, attribute = name.rpartition(".")
    setattr(import_module(module), attribute, value)


if __name__ == "__main__":
    from mien.cli.app import main

    use_brush(set_attribute)
    main()
