"""A whole set, seen by all instruments; kept in a folder, so that a killed evaluation goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from mien.errors import PhotoError
from mien.evaluation.instruments import fingerprints, open_instruments
from mien.evaluation.observation import Instruments, Numbers, by_size, observe
from mien.files import replace_file, stamp
from mien.photo_files import printable
from mien.records import Skipped
from mien.stages.read import read_photo

SHARD = 32  # photographs
LARGE = 2**24  # bytes of a column that stays in a file
ROWS = 4096  # copied at once
FORMAT = 3  # of what is kept: rises when `observe` sees something else
Progress = Callable[[int, int], None]
_instruments: Instruments | None = None  # of a worker process


@dataclass(frozen=True)
class Observed:
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

    def only(self, rows: npt.ArrayLike) -> Observed:
        """Of these photographs, in their order; all of them must have been seen."""
        place = {row: i for i, row in enumerate(self.rows.tolist())}
        return self.at(np.array([place[row] for row in np.asarray(rows).tolist()], dtype=np.int64))

    def at(self, places: npt.NDArray[np.int64]) -> Observed:
        """Those at these places."""
        if np.array_equal(places, np.arange(len(self))):
            return self
        return Observed(self.rows[places], {name: _picked(x, places) for name, x in self.columns.items()},
                        self.skipped)

    def without(self, *names: str) -> Observed:
        """All but these columns."""
        return Observed(self.rows, {name: x for name, x in self.columns.items() if name not in names}, self.skipped)


def observe_set(originals: Sequence[Path], new: Sequence[Path], judges: Sequence[str], work: Path, processes: int = 1,
                progress: Progress = lambda done, total: None) -> Observed:
    """Look at the largest face of every original [N] in the place where it is in the new photograph [N].

    Args:
        work: a folder of this set alone. What is there already of files that have not changed, seen by the same
            networks, is not done again.
    """
    work.mkdir(parents=True, exist_ok=True)
    seen_by = fingerprints(judges)
    shards = [_Shard(work / f"{first:07d}.npz", tuple(originals[first : first + SHARD]),
                     tuple(new[first : first + SHARD]), seen_by) for first in range(0, len(originals), SHARD)]
    waiting = [shard for shard in shards if not shard.done()]
    left = sum(len(shard.new) for shard in waiting)
    progress(len(new) - left, len(new))
    for shard in _run(waiting, tuple(judges), processes):
        left -= len(shard.new)
        progress(len(new) - left, len(new))
    return _gathered(shards, work)


@dataclass(frozen=True)
class _Shard:
    path: Path
    originals: tuple[Path, ...]
    new: tuple[Path, ...]
    seen_by: dict[str, str]

    def key(self) -> str:
        files = [[str(path), stamp(path)] for path in (*self.originals, *self.new)]
        return hashlib.sha256(json.dumps([FORMAT, files, self.seen_by], sort_keys=True).encode()).hexdigest()

    def done(self) -> bool:
        try:
            with np.load(self.path) as held:
                return str(held["key"]) == self.key()
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return False

    def make(self, instruments: Instruments) -> None:
        key = self.key()  # before the files are read: who changes them meanwhile has them looked at again
        seen: list[Numbers] = []
        rows, reasons = [], []
        for i, (before, after) in enumerate(zip(self.originals, self.new, strict=True)):
            found = _look(instruments, before, after)
            if isinstance(found, str):
                reasons.append((str(i), found))
            else:
                rows.append(i)
                seen.append(found)
        columns = {name: _stacked([one[name] for one in seen]) for name in (seen[0] if seen else ())}
        held = {"key": np.array(key), "rows": np.array(rows, np.int64),
                "skipped": np.array(reasons, dtype=np.str_).reshape(-1, 2)}
        replace_file(self.path, lambda path: _save(path, held | {f"x_{name}": x for name, x in columns.items()}))


def _look(instruments: Instruments, before: Path, after: Path) -> Numbers | str:
    """What is seen, or why nothing is."""
    try:
        original = read_photo(before, before.name).pixels
        photo = original if before == after else read_photo(after, after.name).pixels
        faces = by_size(instruments.detector, original)
        if photo.shape != original.shape:
            sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (original, photo)]
            return f"its size is not the original's ({sizes[1]} for {sizes[0]})"
        return observe(instruments, photo, faces[0], original, faces[1:]) if faces else "no face in the original"
    except PhotoError as error:  # its name stays out: it may be a person's
        return error.message.removeprefix(f"{printable(before.name)}: ").removeprefix(f"{printable(after.name)}: ")


def _save(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _stacked(rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Vectors of a judge that could not tell are one NaN wide: as wide as the others."""
    shape = max((row.shape for row in rows), key=lambda one: int(np.prod(one)))
    return np.stack([np.broadcast_to(row, shape) for row in rows])


def _run(shards: list[_Shard], judges: tuple[str, ...], processes: int) -> Iterator[_Shard]:
    if not shards:
        return
    if processes <= 1:
        instruments = open_instruments(judges)
        for shard in shards:
            shard.make(instruments)
            yield shard
        return
    open_instruments(judges)  # fetches what is missing, and says what is wrong, once
    with ProcessPoolExecutor(processes, get_context("spawn"), _start, (judges,)) as pool:
        yield from pool.map(_make, shards)


def _start(judges: tuple[str, ...]) -> None:
    global _instruments
    import torch

    torch.set_num_threads(1)
    _instruments = open_instruments(judges)


def _make(shard: _Shard) -> _Shard:
    assert _instruments is not None
    shard.make(_instruments)
    return shard


def _gathered(shards: list[_Shard], work: Path) -> Observed:
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
    return Observed(np.concatenate([np.zeros(0, np.int64), *rows]), columns, skipped)


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
