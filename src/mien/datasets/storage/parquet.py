"""Reads photographs from the rows of Parquet and Arrow files, and writes Parquet files with all their columns again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.datasets.storage.arrow_rows import MOST_SKIPPED, batches, bytes_of, count_rows, picture_columns, schema_of
from mien.datasets.storage.shard_archive import ArchiveIndex, ShardArchiveWriter
from mien.errors import OutputError, PhotoError
from mien.images.formats import printable, suffix_of
from mien.types import Skipped
from mien.util.files import error_text, is_fault_of_file, stamp

_NAME = re.compile(r"(\d{6,})(?:\.([\w-]+))?\.(\w+)")  # row, column if there are several, suffix


def labels_of(columns: list[str]) -> dict[str, str]:
    """Returns how photos' names tell the columns of photographs apart: label -> column; one column has the label ""."""
    if len(columns) == 1:
        return {"": columns[0]}
    labels = {re.sub(r"[^\w-]", "_", column): column for column in columns}
    return labels if len(labels) == len(columns) else {str(i): column for i, column in enumerate(columns)}


def photo_name(file: str, row: int, label: str, data: pa.Scalar) -> str:
    """Returns a photo's name: its file, its row's number from 0, its column, and a suffix by its first bytes."""
    head = data.as_buffer()[:32].to_pybytes() if data.is_valid else b""
    return f"{file}/{row:06d}{'.' if label else ''}{label}{suffix_of(head)}"


def pictures(batch: pa.RecordBatch, columns: list[str]) -> Iterator[tuple[int, str, pa.Scalar]]:
    """Yields (row in the batch, column, bytes) of every photo; if only a path is stored the bytes are null."""
    for column in columns:
        values = batch.column(column)
        files = bytes_of(values)
        paths = values.field("path") if _has_path(values.type) else None
        for row in range(len(values)):
            if values[row].is_valid and (files[row].is_valid or (paths is not None and paths[row].is_valid)):
                yield row, column, files[row]


def _has_path(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("path") >= 0)


@lru_cache(maxsize=16)
def _labels(path: Path, *state: int) -> dict[str, str]:
    return labels_of(picture_columns(schema_of(path)))


class RowReader:
    """Reads photographs from the rows of the files below a folder; fast if they are asked for in their order.

    It keeps the rows around the last photo in memory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._column: tuple[Path, list[int], str] | None = None  # file, its state, column
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._start, self._rows = 0, pa.array([], pa.binary())

    def data(self, name: str) -> bytes:
        try:
            path, row, column = self._locate(name)
            value = self._value(path, row, column)
        except (OSError, pa.ArrowException, StopIteration) as error:
            raise PhotoError(f"{printable(name)}: the file is damaged ({printable(error_text(error))})") from error
        if not value.is_valid:
            raise PhotoError(f"{printable(name)}: only its path is stored, not the photograph")
        data: bytes = value.as_py()
        if not name.endswith(suffix_of(data[:32])):  # the suffix is that of the file it had when it got its name
            raise PhotoError(f"{printable(name)}: its row holds a file of another kind now")
        return data

    def stamp(self, name: str) -> list[int] | None:
        try:
            path, row, _ = self._locate(name)
        except PhotoError:
            return None
        return [row, *(stamp(path) or [])]

    def as_png(self, name: str) -> str:
        return f"{name}.png"

    def _locate(self, name: str) -> tuple[Path, int, str]:
        file, _, last = name.rpartition("/")
        found, path = _NAME.fullmatch(last), self.root / file
        try:
            labels = _labels(path, *(stamp(path) or ()))
        except (OSError, pa.ArrowException) as error:
            if not is_fault_of_file(error):
                raise
            raise PhotoError(f"{printable(name)}: its file cannot be read") from error
        if found is None or (found[2] or "") not in labels or int(found[1]) >= count_rows(path):
            raise PhotoError(f"{printable(name)}: there is no such row")
        return path, int(found[1]), labels[found[2] or ""]

    def _value(self, path: Path, row: int, column: str) -> pa.Scalar:
        wanted = (path, stamp(path) or [], column)
        if wanted != self._column or not 0 <= row - self._start < MOST_SKIPPED:
            self._column, self._batches = wanted, batches(path, row, [column])
            self._start, self._rows = row, pa.array([], pa.binary())
        while row >= self._start + len(self._rows):
            self._start, batch = next(self._batches)
            self._rows = bytes_of(batch.column(0))
        return self._rows[row - self._start]


class RowWriter(ShardArchiveWriter):
    """Writes Parquet files with the rows of the source, except those whose photographs are missing.

    Args:
        root: the folder of the source's files.
        files: those that are written -> their names in DST.
        metadata: the datasets library's description of the columns, for files without one.
        states: the files' states when their columns were checked: what came into them later would pass unchecked.
    """

    def __init__(self, root: Path, files: Mapping[str, str], metadata: bytes, states: Mapping[str, list[int] | None],
                 dst: Path, work: Path) -> None:
        super().__init__(dst, work)
        self.root, self.files, self.metadata, self.states = root, files, metadata, states

    def file_of(self, name: str) -> str:
        return name.rpartition("/")[0]

    def targets(self) -> Mapping[str, str]:
        return self.files

    def source_stamp(self, file: str) -> list[int] | None:
        return stamp(self.root / file)

    def join(self, file: str, index: ArchiveIndex, path: Path) -> list[Skipped]:
        left: list[Skipped] = []
        if self.states[file] != stamp(self.root / file):
            raise OutputError(f"{printable(file)} was changed during the run", "run the same command again")
        try:
            schema = schema_of(self.root / file)
            with pq.ParquetWriter(path, self._described(schema)) as writer:
                for start, batch in batches(self.root / file):
                    rows, gone = _replaced(batch, file, start, index)
                    left += gone
                    if len(rows):
                        writer.write_table(rows.cast(writer.schema))
        except pa.ArrowException as error:
            raise OutputError(f"{printable(file)} cannot be written again: {error}",
                              "is SRC whole? Run the same command again") from error
        return left

    def _described(self, schema: pa.Schema) -> pa.Schema:
        # Only the features are kept: other keys of the source's metadata may hold anything.
        kept = (schema.metadata or {}).get(b"huggingface", self.metadata)
        metadata = {b"huggingface": kept} if kept else {}
        return schema.with_metadata(metadata or None)


def _replaced(batch: pa.RecordBatch, file: str, start: int, index: ArchiveIndex) -> tuple[pa.Table, list[Skipped]]:
    """Returns the rows with their new photographs, without rows that lack one, and the other photographs of these."""
    labels = {column: label for label, column in labels_of(picture_columns(batch.schema)).items()}
    new: dict[str, list[str | None]] = {column: [None] * len(batch) for column in labels}
    lost, names = set[int](), list[tuple[int, str]]()
    for row, column, data in pictures(batch, list(labels)):
        name = photo_name(file, start + row, labels[column], data)
        written = next((one for one in (name, f"{name}.png") if one in index), None)
        if written is None:
            lost.add(row)
        else:
            new[column][row] = written
            names.append((row, name))
    keep = [row for row in range(len(batch)) if row not in lost]
    table = pa.Table.from_batches([batch]).take(pa.array(keep, pa.int64()))
    for column in labels:
        values = _column(table.column(column).combine_chunks(), [new[column][row] for row in keep], index)
        table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)
    return table, [Skipped(name, "another photograph of its row is missing") for row, name in names if row in lost]


def _column(old: Any, names: list[str | None], index: ArchiveIndex) -> pa.Array:
    """Returns a column of photographs with the new ones from the shard archives; rows without one are null."""
    files = [_from_archive(index, name) if name else None for name in names]
    if isinstance(old, pa.ChunkedArray):
        old = pa.concat_arrays(old.chunks) if old.num_chunks else pa.array([], old.type)
    if not pa.types.is_struct(old.type):
        return pa.array(files, old.type)
    rows = [None if file is None else dict(value, bytes=file, **_path(value, name or ""))
            for file, value, name in zip(files, _without_bytes(old), names, strict=True)]
    return pa.array(rows, old.type)


def _without_bytes(old: pa.StructArray) -> list[dict[str, Any]]:
    """Returns the other fields: the originals' bytes are never read."""
    fields = [old.type.field(i).name for i in range(old.type.num_fields)]
    others = {name: old.field(name).to_pylist() for name in fields if name != "bytes"}
    return [{name: values[row] for name, values in others.items()} for row in range(len(old))]


def _path(value: dict[str, Any], name: str) -> dict[str, str]:
    """Returns the last part of the path: its folders tell where the owner keeps photographs."""
    path = value.get("path")
    if not isinstance(path, str):
        return {}
    last = re.split(r"[\\/]", path.partition("::")[0])[-1]
    became_png = re.fullmatch(r".*\.\w+\.png", name.rpartition("/")[2]) and not last.lower().endswith(".png")
    return {"path": f"{PurePosixPath(last).stem}.png" if became_png else last}


def _from_archive(index: ArchiveIndex, name: str) -> bytes:
    archive, offset, size = index[name]
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@dataclass(frozen=True)
class RowContainer:
    """Describes a dataset whose photographs are in the rows of files below a folder.

    Attributes:
        targets: file -> its name in DST.
        splits: file -> train, val or test, for files of a split.
        metadata: the datasets library's description of the columns, for files without one.
        states: file -> its state before it was read.
    """

    root: Path
    targets: dict[str, str]
    splits: dict[str, str]
    metadata: bytes
    states: dict[str, list[int] | None]

    @property
    def reader(self) -> RowReader:
        return RowReader(self.root)

    def writer(self, dst: Path, work: Path, subset: str) -> RowWriter:
        wanted = subset.split("+")
        files = {file: target for file, target in self.targets.items()
                 if not subset or self.splits.get(file) in wanted}
        return RowWriter(self.root, files, self.metadata, self.states, dst, work)
