"""Whole sets, seen by all instruments; kept in a folder, so that a killed evaluation goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from mien.errors import PhotoError
from mien.evaluation.evaluators import fingerprints, open_instruments
from mien.evaluation.measure import Evaluators, Numbers, by_size, observe
from mien.images.decode import read_photo
from mien.images.formats import printable
from mien.models.bundle import Detector
from mien.types import Face, Pixels, Skipped
from mien.util.files import replace_file, stamp
from mien.util.threads import use_threads

SHARD = 32  # photographs
LARGE = 2**24  # bytes of a column that stays in a file
ROWS = 4096  # copied at once
DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile)  # of a file that is not there, or no whole one
FORMAT = 4  # of what is kept: rises when `observe` sees something else
CountProgress = Callable[[int, int], None]
_instruments: Evaluators | None = None  # of a worker process


@dataclass(frozen=True)
class Measurements:
    """What is seen of N photographs, one face each.

    Attributes:
        rows: [N] which of the photographs asked for they are. columns: name -> [N, ...], see `observation.observe`.
        skipped: the others, and why.
    """

    rows: npt.NDArray[np.int64]
    columns: Numbers
    skipped: list[Skipped]

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, rows: npt.ArrayLike) -> Measurements:
        """Of these photographs, in their order; all of them must have been seen."""
        place = {row: i for i, row in enumerate(self.rows.tolist())}
        return self.at(np.array([place[row] for row in np.asarray(rows).tolist()], dtype=np.int64))

    def at(self, places: npt.NDArray[np.int64]) -> Measurements:
        """Those at these places."""
        if np.array_equal(places, np.arange(len(self))):
            return self
        return Measurements(self.rows[places], {name: _picked(x, places) for name, x in self.columns.items()},
                            self.skipped)

    def without(self, *names: str) -> Measurements:
        """All but these columns."""
        return Measurements(self.rows, {name: x for name, x in self.columns.items() if name not in names}, self.skipped)


def observe_sets(originals: Sequence[Path], sets: Mapping[str, Sequence[Path]], judges: Sequence[str], work: Path,
                 processes: int = 1, progress: CountProgress = lambda done, total: None,
                 known: Path | None = None) -> dict[str, Measurements]:
    """Look at the largest face of every original [N] in the place where it is in each set's new photograph [N].

    An original is read, and its faces are searched, once for all sets.

    Args:
        work: has a folder for each set. What is there already of files that have not changed, seen by the same
            networks, is not done again. known: another such folder, where some of them may have been seen.
    """
    seen_by = fingerprints(judges)
    shards = {name: _shards(originals, new, work / name, seen_by) for name, new in sets.items()}
    waiting = {name: [shard for shard in own if not shard.done()] for name, own in shards.items()}
    if known:
        waiting = {name: _knowing(own, known / name) for name, own in waiting.items()}
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


def _shards(originals: Sequence[Path], new: Sequence[Path], folder: Path, seen_by: dict[str, str]) -> list[_Shard]:
    folder.mkdir(parents=True, exist_ok=True)
    return [_Shard(folder / f"{first:07d}.npz", tuple(originals[first : first + SHARD]),
                   tuple(new[first : first + SHARD]), seen_by) for first in range(0, len(originals), SHARD)]


@dataclass(frozen=True)
class _Shard:
    """Some photographs of a set.

    Attributes:
        known: of each the file in which it was seen before, and its place there, or None; empty: of none.
    """

    path: Path
    originals: tuple[Path, ...]
    new: tuple[Path, ...]
    seen_by: dict[str, str]
    known: tuple[tuple[Path, int] | None, ...] = ()

    def key(self) -> str:
        """Of all that is looked at, and who looks."""
        files = [[str(path), stamp(path)] for path in (*self.originals, *self.new)]
        return hashlib.sha256(json.dumps([FORMAT, files, self.seen_by], sort_keys=True).encode()).hexdigest()

    def photo_keys(self) -> list[str]:
        """The same of each photograph."""
        return [replace(self, originals=(before,), new=(after,)).key()
                for before, after in zip(self.originals, self.new, strict=True)]

    def done(self) -> bool:
        try:
            with np.load(self.path) as held:
                return str(held["key"]) == self.key()
        except DAMAGED:
            return False

    def before(self, place: int) -> Numbers | None:
        """What was seen of a photograph before."""
        there = self.known[place] if self.known else None
        return {name: x[there[1]] for name, x in _columns(there[0]).items()} if there else None


@lru_cache(maxsize=16)
def _columns(path: Path) -> Numbers:
    with np.load(path) as held:
        return {name[2:]: held[name] for name in held.files if name.startswith("x_")}


def _knowing(shards: list[_Shard], folder: Path) -> list[_Shard]:
    """The same shards, who now know what lies in another question's folder of the set."""
    _columns.cache_clear()  # the files may have been written anew since
    there: dict[str, tuple[Path, int]] = {}
    for path in sorted(folder.glob("*.npz")):
        with suppress(*DAMAGED), np.load(path) as held:
            there |= {str(key): (path, place) for place, key in enumerate(held["keys"])}
    return [replace(shard, known=tuple(there.get(key) for key in shard.photo_keys())) for shard in shards]


class _Original:
    """One original, read and searched when it is needed."""

    def __init__(self, path: Path, detector: Detector) -> None:
        self.path, self.detector = path, detector

    @cached_property
    def pixels(self) -> Pixels:
        return read_photo(self.path, self.path.name).pixels

    @cached_property
    def faces(self) -> list[Face]:
        return by_size(self.detector, self.pixels)


def _look_at(shards: tuple[_Shard, ...], instruments: Evaluators) -> None:
    """Look at the same originals' faces in several sets."""
    keys = [(shard.key(), shard.photo_keys()) for shard in shards]  # before files are read: changed ones are seen anew
    seen: list[dict[int, Numbers]] = [{} for _ in shards]
    reasons: list[list[tuple[str, str]]] = [[] for _ in shards]
    for place, path in enumerate(shards[0].originals):
        original = _Original(path, instruments.detector)
        for shard, rows, why in zip(shards, seen, reasons, strict=True):
            found = shard.before(place) or _look(instruments, original, shard.new[place])
            if isinstance(found, str):
                why.append((str(place), found))
            else:
                rows[place] = found
    for shard, (key, each), rows, why in zip(shards, keys, seen, reasons, strict=True):
        columns = {name: _stacked([one[name] for one in rows.values()]) for name in next(iter(rows.values()), {})}
        held = {"key": np.array(key), "keys": np.array([each[place] for place in rows], np.str_),
                "rows": np.array(list(rows), np.int64), "skipped": np.array(why, np.str_).reshape(-1, 2)}
        arrays = held | {f"x_{name}": x for name, x in columns.items()}
        replace_file(shard.path, partial(_save, arrays=arrays))


def _look(instruments: Evaluators, before: _Original, after: Path) -> Numbers | str:
    """What is seen, or why nothing is."""
    try:
        original = before.pixels
        photo = original if before.path == after else read_photo(after, after.name).pixels
        faces = before.faces
        if photo.shape != original.shape:
            sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (original, photo)]
            return f"its size is not the original's ({sizes[1]} for {sizes[0]})"
        return observe(instruments, photo, faces[0], original, faces[1:]) if faces else "no face in the original"
    except PhotoError as error:  # its name stays out: it may be a person's
        return error.message.removeprefix(f"{printable(before.path.name)}: ").removeprefix(f"{printable(after.name)}: ")


def _save(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _stacked(rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Vectors of a judge that could not tell are one NaN wide: as wide as the others."""
    shape = max((row.shape for row in rows), key=lambda one: int(np.prod(one)))
    return np.stack([np.broadcast_to(row, shape) for row in rows])


def _run(groups: list[tuple[_Shard, ...]], judges: tuple[str, ...],
         processes: int) -> Iterator[tuple[_Shard, ...]]:
    if not groups:
        return
    if processes <= 1:
        instruments = open_instruments(judges)
        for group in groups:
            _look_at(group, instruments)
            yield group
        return
    open_instruments(judges)  # fetches what is missing, and says what is wrong, once
    with ProcessPoolExecutor(processes, get_context("spawn"), _start, (judges,)) as pool:
        yield from pool.map(_make, groups)


def _start(judges: tuple[str, ...]) -> None:
    global _instruments
    use_threads(1)
    _instruments = open_instruments(judges)


def _make(group: tuple[_Shard, ...]) -> tuple[_Shard, ...]:
    assert _instruments is not None
    _look_at(group, _instruments)
    return group


def _gathered(shards: list[_Shard], work: Path) -> Measurements:
    """All shards in one: columns lie in files, so that a large set takes no more memory than a small one."""
    rows, skipped = [], []
    shapes: dict[str, tuple[int, ...]] = {}
    for number, shard in enumerate(shards):
        with np.load(shard.path) as held:
            rows.append(held["rows"] + number * SHARD)
            skipped += [Skipped(str(shard.new[int(i)]), str(reason)) for i, reason in held["skipped"]]
            for name in held.files if len(held["rows"]) else ():
                if name.startswith("x_"):
                    shapes[name] = max(shapes.get(name, ()), held[name].shape[1:], key=_size)
    count = sum(map(len, rows))
    columns: Numbers = {}
    for name, shape in shapes.items():
        path = work / f"{name}.npy"
        path.unlink(missing_ok=True)  # whoever reads the former one goes on doing so
        columns[name[2:]] = np.lib.format.open_memmap(path, "w+", np.float32, (count, *shape))
    first = 0
    for shard in shards:
        with np.load(shard.path) as held:
            some = slice(first, first + len(held["rows"]))
            first = some.stop
            for name, x in columns.items() if some.stop > some.start else ():
                x[some] = np.broadcast_to(held[f"x_{name}"], (some.stop - some.start, *x.shape[1:]))
    return Measurements(np.concatenate([np.zeros(0, np.int64), *rows]), columns, skipped)


def _picked(x: npt.NDArray[np.float32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Some rows; of a large column that lies in a file they do so too, in one that is gone with its last user."""
    if not isinstance(x, np.memmap) or not x.filename or x.nbytes < LARGE or not len(places):
        return np.asarray(x[places])
    with NamedTemporaryFile(dir=Path(x.filename).parent) as file:
        out = np.memmap(file, np.float32, "w+", shape=(len(places), *x.shape[1:]))
    for first in range(0, len(places), ROWS):
        out[first : first + ROWS] = x[places[first : first + ROWS]]
    return out


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) if shape else 1
