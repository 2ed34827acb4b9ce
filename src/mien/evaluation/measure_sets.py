"""Measures whole sets of photographs, in a folder so that a killed evaluation goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from mien.errors import PhotoError
from mien.evaluation.evaluators import fingerprints, load_evaluators
from mien.evaluation.measure_face import Evaluators, faces_by_size, measure_face
from mien.evaluation.measurements import Columns, Measurements
from mien.evaluation.progress_callbacks import CountProgress
from mien.images.decode import read_photo
from mien.images.formats import printable
from mien.models.bundle import Detector
from mien.types import Face, Pixels, Skipped
from mien.util.files import replace_file, stamp
from mien.util.threads import use_threads

PHOTOS_PER_FILE = 32
DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile)  # what a file raises that is missing or not whole
FORMAT = 5  # of the files: rises when `measure_face` measures something else
_evaluators: Evaluators | None = None  # of a worker process


def measure_sets(originals: Sequence[Path], sets: Mapping[str, Sequence[Path]], judges: Sequence[str], work: Path,
                 processes: int = 1, progress: CountProgress = lambda done, total: None,
                 reuse: Path | None = None) -> dict[str, Measurements]:
    """Measures the largest face of every original [N] at its place in each set's photographs [N].

    An original is read, and its faces are searched, once for all sets.

    Args:
        work: holds a folder for each set. What it has of files that have not changed, measured with the same networks,
            is not measured again. reuse: another such folder, whose measurements of the same files are copied.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: weights cannot be had.
    """
    measured_by = fingerprints(judges)
    shards = {name: _shards(originals, new, work / name, measured_by) for name, new in sets.items()}
    waiting = {name: [shard for shard in own if not shard.done()] for name, own in shards.items()}
    if reuse:
        waiting = {name: _with_reuse(own, reuse / name) for name, own in waiting.items()}
    together: dict[str, list[_Shard]] = {}
    for shard in chain.from_iterable(waiting.values()):
        together.setdefault(shard.path.name, []).append(shard)
    total = sum(len(new) for new in sets.values())
    left = sum(len(shard.new) for group in together.values() for shard in group)
    progress(total - left, total)
    for group in _run([tuple(group) for group in together.values()], tuple(judges), processes):
        left -= sum(len(shard.new) for shard in group)
        progress(total - left, total)
    return {name: _gathered(own, work / name) for name, own in shards.items()}


def _shards(originals: Sequence[Path], new: Sequence[Path], folder: Path, measured_by: dict[str, str]) -> list[_Shard]:
    folder.mkdir(parents=True, exist_ok=True)
    parts = (slice(first, first + PHOTOS_PER_FILE) for first in range(0, len(originals), PHOTOS_PER_FILE))
    return [_Shard(folder / f"{part.start:07d}.npz", tuple(originals[part]), tuple(new[part]), measured_by)
            for part in parts]


@dataclass(frozen=True)
class _Shard:
    """Some photographs of a set, whose measurements are kept in one file.

    Attributes:
        measured_by: fingerprints of all weights and judges.
        reuse: for each photograph the file that has its measurements already, and its place there, or None; empty where
            none are reused.
    """

    path: Path
    originals: tuple[Path, ...]
    new: tuple[Path, ...]
    measured_by: dict[str, str]
    reuse: tuple[tuple[Path, int] | None, ...] = ()

    def key(self) -> str:
        """A hash of all that decides the measurements: the states of the files, the networks, the format."""
        files = [[str(path), stamp(path)] for path in (*self.originals, *self.new)]
        return hashlib.sha256(json.dumps([FORMAT, files, self.measured_by], sort_keys=True).encode()).hexdigest()

    def photo_keys(self) -> list[str]:
        """The same for each photograph alone."""
        return [replace(self, originals=(before,), new=(after,)).key()
                for before, after in zip(self.originals, self.new, strict=True)]

    def done(self) -> bool:
        """Whether the file is there and is of this key."""
        try:
            with np.load(self.path) as file:
                return str(file["key"]) == self.key()
        except DAMAGED:
            return False

    def reused(self, place: int) -> Columns | None:
        """The measurements of a photograph that are there already."""
        source = self.reuse[place] if self.reuse else None
        return {name: x[source[1]] for name, x in _columns(source[0]).items()} if source else None


@lru_cache(maxsize=16)
def _columns(path: Path) -> Columns:
    with np.load(path) as file:
        return {name[2:]: file[name] for name in file.files if name.startswith("x_")}


def _with_reuse(shards: list[_Shard], folder: Path) -> list[_Shard]:
    """The same shards, with what another evaluation's folder of the set has of their photographs."""
    _columns.cache_clear()  # the files may have been written anew since
    known: dict[str, tuple[Path, int]] = {}
    for path in sorted(folder.glob("*.npz")):
        with suppress(*DAMAGED), np.load(path) as file:
            known |= {str(key): (path, place) for place, key in enumerate(file["keys"])}
    return [replace(shard, reuse=tuple(known.get(key) for key in shard.photo_keys())) for shard in shards]


class _Original:
    """One original, read and searched when it is needed."""

    def __init__(self, path: Path, detector: Detector) -> None:
        self.path, self.detector = path, detector

    @cached_property
    def pixels(self) -> Pixels:
        return read_photo(self.path, self.path.name).pixels

    @cached_property
    def faces(self) -> list[Face]:
        return faces_by_size(self.detector, self.pixels)


def _measure_shards(shards: tuple[_Shard, ...], evaluators: Evaluators) -> None:
    """Measures the same originals' faces in several sets, and writes the shards' files."""
    keys = [(shard.key(), shard.photo_keys()) for shard in shards]  # before files are read: changed ones are done anew
    measured: list[dict[int, Columns]] = [{} for _ in shards]
    reasons: list[list[tuple[str, str]]] = [[] for _ in shards]
    for place, path in enumerate(shards[0].originals):
        original = _Original(path, evaluators.detector)
        for shard, rows, why in zip(shards, measured, reasons, strict=True):
            found = shard.reused(place) or _measure_photo(evaluators, original, shard.new[place])
            if isinstance(found, str):
                why.append((str(place), found))
            else:
                rows[place] = found
    for shard, (key, each), rows, why in zip(shards, keys, measured, reasons, strict=True):
        columns = {name: _stacked([one[name] for one in rows.values()]) for name in next(iter(rows.values()), {})}
        arrays = {"key": np.array(key), "keys": np.array([each[place] for place in rows], np.str_),
                  "rows": np.array(list(rows), np.int64), "skipped": np.array(why, np.str_).reshape(-1, 2)}
        arrays |= {f"x_{name}": x for name, x in columns.items()}
        replace_file(shard.path, partial(_save, arrays=arrays))


def _measure_photo(evaluators: Evaluators, before: _Original, after: Path) -> Columns | str:
    """The measurements of one photograph, or why there are none."""
    try:
        original = before.pixels
        photo = original if before.path == after else read_photo(after, after.name).pixels
        faces = before.faces
        if photo.shape != original.shape:
            sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (original, photo)]
            return f"its size is not the original's ({sizes[1]} for {sizes[0]})"
        return measure_face(evaluators, photo, faces[0], original, faces[1:]) if faces else "no face in the original"
    except PhotoError as error:  # its name stays out: it may be a person's
        return error.message.removeprefix(f"{printable(before.path.name)}: ").removeprefix(f"{printable(after.name)}: ")


def _save(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _stacked(rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Joins the rows of a column; the vector of a face that a judge cannot judge is one NaN, made as wide as others."""
    shape = max((row.shape for row in rows), key=lambda one: int(np.prod(one)))
    return np.stack([np.broadcast_to(row, shape) for row in rows])


def _run(groups: list[tuple[_Shard, ...]], judges: tuple[str, ...],
         processes: int) -> Iterator[tuple[_Shard, ...]]:
    """Measures all groups, in this process or in several, and yields each when its files are written."""
    if not groups:
        return
    if processes <= 1:
        evaluators = load_evaluators(judges)
        for group in groups:
            _measure_shards(group, evaluators)
            yield group
        return
    load_evaluators(judges)  # fetches what is missing, and raises what is wrong, once
    with ProcessPoolExecutor(processes, get_context("spawn"), _start_worker, (judges,)) as pool:
        yield from pool.map(_measure_in_worker, groups)


def _start_worker(judges: tuple[str, ...]) -> None:
    global _evaluators
    use_threads(1)
    _evaluators = load_evaluators(judges)


def _measure_in_worker(group: tuple[_Shard, ...]) -> tuple[_Shard, ...]:
    assert _evaluators is not None
    _measure_shards(group, _evaluators)
    return group


def _gathered(shards: list[_Shard], work: Path) -> Measurements:
    """Joins all shards; columns are mapped files, so that a large set takes no more memory than a small one."""
    rows, skipped = [], []
    shapes: dict[str, tuple[int, ...]] = {}
    for number, shard in enumerate(shards):
        with np.load(shard.path) as file:
            rows.append(file["rows"] + number * PHOTOS_PER_FILE)
            skipped += [Skipped(str(shard.new[int(i)]), str(reason)) for i, reason in file["skipped"]]
            for name in file.files if len(file["rows"]) else ():
                if name.startswith("x_"):
                    shapes[name] = max(shapes.get(name, ()), file[name].shape[1:], key=_size)
    columns = {name[2:]: _new_column(work / f"{name}.npy", (sum(map(len, rows)), *shape))
               for name, shape in shapes.items()}
    first = 0
    for shard in shards:
        with np.load(shard.path) as file:
            some = slice(first, first + len(file["rows"]))
            first = some.stop
            for name, x in columns.items() if some.stop > some.start else ():
                x[some] = np.broadcast_to(file[f"x_{name}"], (some.stop - some.start, *x.shape[1:]))
    return Measurements(np.concatenate([np.zeros(0, np.int64), *rows]), columns, skipped)


def _new_column(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Makes an array in a new file; arrays that are mapped to the former file stay as they are."""
    path.unlink(missing_ok=True)
    column: npt.NDArray[np.float32] = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    return column


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) if shape else 1
