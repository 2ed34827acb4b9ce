"""Photographs in the rows of Parquet and Arrow files: read forwards, and written again as Parquet with all columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.datasets.storage.arrow_rows import AHEAD, batches, bytes_of, count_rows, picture_columns, schema_of
from mien.datasets.storage.shard_archive import ArchiveIndex, ShardArchiveWriter
from mien.errors import OutputError, PhotoError
from mien.images.formats import printable, suffix_of
from mien.types import Skipped
from mien.util.files import is_of_the_file, reason, stamp

_NAME = re.compile(r"(\d{6,})(?:\.([\w-]+))?\.(\w+)")  # row, column where there are several, suffix


def labels_of(columns: list[str]) -> dict[str, str]:
    """What each column of photographs is called in their names: nothing where there is one."""
    if len(columns) == 1:
        return {"": columns[0]}
    labels = {re.sub(r"[^\w-]", "_", column): column for column in columns}
    return labels if len(labels) == len(columns) else {str(i): column for i, column in enumerate(columns)}


def photo_name(file: str, row: int, label: str, data: pa.Scalar) -> str:
    """A photo's name: its file, its row's number from 0, and a suffix by how it begins."""
    head = data.as_buffer()[:32].to_pybytes() if data.is_valid else b""
    return f"{file}/{row:06d}{'.' if label else ''}{label}{suffix_of(head)}"


def pictures(batch: pa.RecordBatch, columns: list[str]) -> Iterator[tuple[int, str, pa.Scalar]]:
    """(row in the batch, column, file) of every photo; where only a path is stored the file is null."""
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
    """Photographs in the rows of the files below a folder. Holds the rows around the last photo that was asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._at: tuple[Path, list[int], str] | None = None  # file, its state, column
        self._ahead: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._start, self._held = 0, pa.array([], pa.binary())

    def data(self, name: str) -> bytes:
        try:
            path, row, column = self._place(name)
            value = self._value(path, row, column)
        except (OSError, pa.ArrowException, StopIteration) as error:
            raise PhotoError(f"{printable(name)}: the file is damaged ({printable(reason(error))})") from error
        if not value.is_valid:
            raise PhotoError(f"{printable(name)}: only its path is stored, not the photograph")
        data: bytes = value.as_py()
        if not name.endswith(suffix_of(data[:32])):  # as it was when it got its name
            raise PhotoError(f"{printable(name)}: its row holds a file of another kind now")
        return data

    def stamp(self, name: str) -> list[int] | None:
        try:
            path, row, _ = self._place(name)
        except PhotoError:
            return None
        return [row, *(stamp(path) or [])]

    def as_png(self, name: str) -> str:
        return f"{name}.png"

    def _place(self, name: str) -> tuple[Path, int, str]:
        file, _, last = name.rpartition("/")
        found, path = _NAME.fullmatch(last), self.root / file
        try:
            labels = _labels(path, *(stamp(path) or ()))
        except (OSError, pa.ArrowException) as error:
            if not is_of_the_file(error):
                raise
            raise PhotoError(f"{printable(name)}: its file cannot be read") from error
        if found is None or (found[2] or "") not in labels or int(found[1]) >= count_rows(path):
            raise PhotoError(f"{printable(name)}: there is no such row")
        return path, int(found[1]), labels[found[2] or ""]

    def _value(self, path: Path, row: int, column: str) -> pa.Scalar:
        at = (path, stamp(path) or [], column)
        if at != self._at or not 0 <= row - self._start < AHEAD:
            self._at, self._ahead = at, batches(path, row, [column])
            self._start, self._held = row, pa.array([], pa.binary())
        while row >= self._start + len(self._held):
            self._start, batch = next(self._ahead)
            self._held = bytes_of(batch.column(0))
        return self._held[row - self._start]


class RowWriter(ShardArchiveWriter):
    """Parquet files with the rows of the source, but those whose photographs are missing.

    Args:
        root: the folder of the source's files. files: those that are written -> their names in DST.
        metadata: what the datasets library says of the columns, where a file does not say it itself.
        states: the files' when their columns were looked into: what came into them later would go along unseen.
    """

    def __init__(self, root: Path, files: Mapping[str, str], metadata: bytes, states: Mapping[str, list[int] | None],
                 dst: Path, work: Path) -> None:
        super().__init__(dst, work)
        self.root, self.files, self.metadata, self.states = root, files, metadata, states

    def container(self, name: str) -> str:
        return name.rpartition("/")[0]

    def targets(self) -> Mapping[str, str]:
        return self.files

    def source_stamp(self, container: str) -> list[int] | None:
        return stamp(self.root / container)

    def join(self, container: str, where: ArchiveIndex, path: Path) -> list[Skipped]:
        left: list[Skipped] = []
        if self.states[container] != stamp(self.root / container):
            raise OutputError(f"{printable(container)} was changed during the run", "run the same command again")
        try:
            schema = schema_of(self.root / container)
            with pq.ParquetWriter(path, self._described(schema)) as writer:
                for start, batch in batches(self.root / container):
                    rows, gone = _replaced(batch, container, start, where)
                    left += gone
                    if len(rows):
                        writer.write_table(rows.cast(writer.schema))
        except pa.ArrowException as error:
            raise OutputError(f"{container} cannot be written again: {error}",
                              "is SRC whole? Run the same command again") from error
        return left

    def _described(self, schema: pa.Schema) -> pa.Schema:
        # Of what the source says of itself only the features: other keys may hold anything.
        kept = (schema.metadata or {}).get(b"huggingface", self.metadata)
        metadata = {b"huggingface": kept} if kept else {}
        return schema.with_metadata(metadata or None)


def _replaced(batch: pa.RecordBatch, file: str, start: int, where: ArchiveIndex) -> tuple[pa.Table, list[Skipped]]:
    """The rows with their new photographs, without those that lack one; and the photographs these had."""
    labels = {column: label for label, column in labels_of(picture_columns(batch.schema)).items()}
    new: dict[str, list[str | None]] = {column: [None] * len(batch) for column in labels}
    lost, names = set[int](), list[tuple[int, str]]()
    for row, column, data in pictures(batch, list(labels)):
        name = photo_name(file, start + row, labels[column], data)
        written = next((one for one in (name, f"{name}.png") if one in where), None)
        if written is None:
            lost.add(row)
        else:
            new[column][row] = written
            names.append((row, name))
    keep = [row for row in range(len(batch)) if row not in lost]
    table = pa.Table.from_batches([batch]).take(pa.array(keep, pa.int64()))
    for column in labels:
        values = _column(table.column(column).combine_chunks(), [new[column][row] for row in keep], where)
        table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)
    return table, [Skipped(name, "another photograph of its row is missing") for row, name in names if row in lost]


def _column(old: Any, names: list[str | None], where: ArchiveIndex) -> pa.Array:
    """A column of photographs, with those that are in pieces; rows without one are null."""
    files = [_from_piece(where, name) if name else None for name in names]
    if isinstance(old, pa.ChunkedArray):
        old = pa.concat_arrays(old.chunks) if old.num_chunks else pa.array([], old.type)
    if not pa.types.is_struct(old.type):
        return pa.array(files, old.type)
    rows = [None if file is None else dict(value, bytes=file, **_path(value, name or ""))
            for file, value, name in zip(files, _without_bytes(old), names, strict=True)]
    return pa.array(rows, old.type)


def _without_bytes(old: pa.StructArray) -> list[dict[str, Any]]:
    """The other fields: the originals' bytes are never touched."""
    fields = [old.type.field(i).name for i in range(old.type.num_fields)]
    others = {name: old.field(name).to_pylist() for name in fields if name != "bytes"}
    return [{name: values[row] for name, values in others.items()} for row in range(len(old))]


def _path(value: dict[str, Any], name: str) -> dict[str, str]:
    """The path's last part: folders tell where somebody's photographs lay."""
    path = value.get("path")
    if not isinstance(path, str):
        return {}
    last = re.split(r"[\\/]", path.partition("::")[0])[-1]
    became_png = re.fullmatch(r".*\.\w+\.png", name.rpartition("/")[2]) and not last.lower().endswith(".png")
    return {"path": f"{PurePosixPath(last).stem}.png" if became_png else last}


def _from_piece(where: ArchiveIndex, name: str) -> bytes:
    piece, offset, size = where[name]
    with piece.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@dataclass(frozen=True)
class RowContainer:
    """What holds a dataset's photographs: files of rows below a folder.

    Attributes:
        targets: file -> its name in DST. splits: file -> train, val or test, where it is of one.
        metadata: what the datasets library says of the columns, where the files do not.
        states: of the files, as they were before they were read.
    """

    root: Path
    targets: dict[str, str]
    splits: dict[str, str]
    metadata: bytes
    states: dict[str, list[int] | None]

    @property
    def source(self) -> RowReader:
        return RowReader(self.root)

    def writer(self, dst: Path, work: Path, subset: str) -> RowWriter:
        wanted = subset.split("+")
        files = {file: target for file, target in self.targets.items()
                 if not subset or self.splits.get(file) in wanted}
        return RowWriter(self.root, files, self.metadata, self.states, dst, work)
