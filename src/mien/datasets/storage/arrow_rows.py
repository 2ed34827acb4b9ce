"""Reads Parquet and Arrow files of the datasets library in batches, and tells which columns hold pictures.

Format of an Image column: struct of `bytes` (the picture's file) and `path`; the schema's "huggingface" metadata says
which columns are such (https://huggingface.co/docs/datasets/about_dataset_features).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mien.images.formats import WRITTEN_PICTURE
from mien.util.files import is_fault_of_file, stamp

ROWS = 100  # in memory at once; the datasets library's own row groups of pictures are as long
BUFFER = 2**20  # bytes of a column that are read at once, however long its row group is
MOST_INTEGERS, MOST_FLOATS = 500, 10_000  # in a list that is no picture: one of 24 px has more; vectors have fewer
MOST_SKIPPED = 1000  # rows that a reader passes over; beyond, it opens the file again at the row
_OTHER_MEDIA = {"Video", "Pdf", "Nifti", "Mesh"}


def schema_of(path: Path) -> pa.Schema:
    """Returns the columns of a file.

    Raises:
        OSError, pa.ArrowException: it cannot be read.
    """
    return _schema(path, *(stamp(path) or ()))


@lru_cache(maxsize=16)
def _schema(path: Path, *state: int) -> pa.Schema:
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            return reader.schema
    with pq.ParquetFile(path) as file:
        return file.schema_arrow


def batches(path: Path, first: int = 0, columns: list[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields (number of its first row, rows) of each batch, from the one with the row `first`.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
    """
    found = _arrow_batches(path, columns) if path.suffix == ".arrow" else _parquet_batches(path, first, columns)
    return ((start, batch) for start, batch in found if start + len(batch) > first)


def _arrow_batches(path: Path, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            some = batch.select(columns) if columns else batch
            for at in range(0, len(some), ROWS):
                yield start + at, some.slice(at, ROWS)
            start += len(some)


def _parquet_batches(path: Path, first: int, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            at, start = start, start + file.metadata.row_group(group).num_rows
            if start <= first:
                continue
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=columns, use_threads=False):
                yield at, batch
                at += len(batch)


def count_rows(path: Path) -> int:
    """Counts the rows of a file; a damaged one has none.

    Raises:
        OSError: the disk does not answer.
    """
    state = stamp(path)
    return _count(path, *state) if state else 0


@lru_cache(maxsize=16)
def _count(path: Path, size: int, changed: int) -> int:
    try:
        if path.suffix == ".arrow":
            return max((start + len(batch) for start, batch in batches(path)), default=0)
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        if not is_fault_of_file(error):
            raise
        return 0


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Returns the datasets library's description of the columns; empty if there is none."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def picture_columns(schema: pa.Schema) -> list[str]:
    """Returns the columns of photographs: declared as such, or of the same form."""
    features = features_of(schema)
    return [field.name for field in schema if _is_picture(field.type, _kind(features.get(field.name)))]


def hidden_pictures(schema: pa.Schema) -> list[str]:
    """Returns columns with pictures inside lists or structs, with films or documents, or with paths alone."""
    pictures, features = picture_columns(schema), features_of(schema)
    return [field.name for field in schema if field.name not in pictures
            and (_kinds(features.get(field.name)) & ({"Image"} | _OTHER_MEDIA)
                 or (_kind(features.get(field.name)) != "Audio" and _has_files(field.type)))]


def class_names(schema: pa.Schema) -> tuple[str, list[str]]:
    """Returns the one column of classes and their names; "" if there is none, or several."""
    found = [(name, feature["names"]) for name, feature in features_of(schema).items()
             if _kind(feature) == "ClassLabel" and isinstance(feature.get("names"), list) and name in schema.names]
    return found[0] if len(found) == 1 else ("", [])


def bytes_of(column: pa.Array) -> pa.Array:
    """Returns the bytes in a column of pictures."""
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def leaves(column: pa.Array) -> Iterator[pa.Array]:
    """Yields the plain values in a column, however deep in structs and lists."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        yield from leaves(column.storage)
    elif pa.types.is_struct(kind):
        yield from (part for child in column.flatten() for part in leaves(child))
    elif _is_list(kind):
        yield from leaves(column.flatten())
    elif pa.types.is_map(kind):
        yield from (part for child in (column.keys, column.items) for part in leaves(child))
    elif pa.types.is_dictionary(kind):
        yield from leaves(column.dictionary)
    else:
        yield column


def is_binary(kind: pa.DataType) -> bool:
    """Tells whether values are bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
                or pa.types.is_binary_view(kind))


def is_known(kind: pa.DataType) -> bool:
    """Tells whether values are plain ones: texts, bytes, numbers, times."""
    return bool(is_binary(kind) or _is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_decimal(kind)
                or pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
                or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def writes_pictures(column: pa.Array) -> bool:
    """Tells whether plain texts (or bytes) have pictures written in them, as `formats.writes_picture` finds them."""
    if not (is_binary(column.type) or _is_text(column.type)):
        return False
    texts = column.cast(pa.large_binary() if is_binary(column.type) else pa.large_string())
    return bool(pc.any(pc.match_substring_regex(texts, pattern=WRITTEN_PICTURE)).as_py())


def is_array(kind: pa.DataType) -> bool:
    """Tells whether values are nested lists of numbers, as pixels are; for plain lists see `is_long`."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_array(kind.storage_type)
    depth = 0
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth >= 2 and bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_long(column: pa.Array) -> bool:
    """Tells whether a column has lists with as many numbers as the smallest pictures: integers, or far more floats."""
    kind = column.type
    if not _is_list(kind) or not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return False
    most = pc.max(pc.list_value_length(column)).as_py() or 0
    return bool(most > (MOST_INTEGERS if pa.types.is_integer(kind.value_type) else MOST_FLOATS))


def _is_picture(kind: pa.DataType, declared: str) -> bool:
    if pa.types.is_struct(kind):
        names = {kind.field(i).name for i in range(kind.num_fields)}
        fits = "bytes" in names and is_binary(kind.field(kind.get_field_index("bytes")).type)
        return fits and names <= {"bytes", "path"} and declared in ("Image", "")
    return declared == "Image" and is_binary(kind)


def _has_files(kind: pa.DataType) -> bool:
    """Tells whether there is, however deep, a struct of bytes and path."""
    inner = [kind.field(i) for i in range(kind.num_fields)]
    return {"bytes", "path"} <= {field.name for field in inner} or any(_has_files(field.type) for field in inner)


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _kinds(feature: Any) -> set[str]:
    """Returns all types in a feature, however deep."""
    if isinstance(feature, list):
        return set().union(*map(_kinds, feature))
    if isinstance(feature, dict):
        own = feature.get("_type")
        return set().union({own} if isinstance(own, str) else set(), *map(_kinds, feature.values()))
    return set()
