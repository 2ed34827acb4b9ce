"""A table of what was measured of a set of photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import numpy.typing as npt

from mien.types import Skipped

Columns = dict[str, npt.NDArray[np.float32]]  # what was measured, by name
LARGE = 2**24  # bytes of a column that stays in a file
ROWS_AT_ONCE = 4096  # copied


@dataclass(frozen=True)
class Measurements:
    """What was measured of N photographs, one face each.

    Attributes:
        rows: [N], which of the photographs asked for they are. columns: name -> [N, ...], see `measure_face`.
        skipped: the photographs that could not be measured, and why.
    """

    rows: npt.NDArray[np.int64]
    columns: Columns
    skipped: list[Skipped]

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, rows: npt.ArrayLike) -> Measurements:
        """Those of the photographs `rows`, in their order; all of them must have been measured."""
        place = {row: i for i, row in enumerate(self.rows.tolist())}
        return self.at(np.array([place[row] for row in np.asarray(rows).tolist()], dtype=np.int64))

    def at(self, places: npt.NDArray[np.int64]) -> Measurements:
        """Those at these places in `rows`."""
        if np.array_equal(places, np.arange(len(self))):
            return self
        return Measurements(self.rows[places], {name: _picked(x, places) for name, x in self.columns.items()},
                            self.skipped)

    def without(self, *names: str) -> Measurements:
        """All columns but these."""
        return Measurements(self.rows, {name: x for name, x in self.columns.items() if name not in names}, self.skipped)


def _picked(x: npt.NDArray[np.float32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Some rows of a column; those of a large mapped column are mapped too, in a file that is gone once unused."""
    if not isinstance(x, np.memmap) or not x.filename or x.nbytes < LARGE or not len(places):
        return np.asarray(x[places])
    with NamedTemporaryFile(dir=Path(x.filename).parent) as file:
        out = np.memmap(file, np.float32, "w+", shape=(len(places), *x.shape[1:]))
    for first in range(0, len(places), ROWS_AT_ONCE):
        out[first : first + ROWS_AT_ONCE] = x[places[first : first + ROWS_AT_ONCE]]
    return out
