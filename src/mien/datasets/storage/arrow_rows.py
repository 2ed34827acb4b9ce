"""Parquet and Arrow files whose rows hold photographs, as the datasets library writes them, a batch at a time.

Format of an Image column: struct of `bytes` (the picture's file) and `path`; which column is one says the schema's
"huggingface" metadata (https://huggingface.co/docs/datasets/about_dataset_features).
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
from mien.util.files import is_of_the_file, stamp

ROWS = 100  # held at once; the datasets library's own row groups of pictures are as long
BUFFER = 2**20  # bytes of a column that are read at once, however long its row group is
WHOLE_NUMBERS, OTHER_NUMBERS = 500, 10_000  # of a list, at most: a picture of 24 px has more; vectors have fewer
AHEAD = 1000  # rows that are read over rather than looked for anew
_OTHER_MEDIA = {"Video", "Pdf", "Nifti", "Mesh"}


def schema_of(path: Path) -> pa.Schema:
    """The columns of a file.

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
    """(number of its first row, rows) of each batch from the one that has the row `first`.

    Raises:
        OSError, pa.ArrowException: the file is damaged.
    """
    found = _of_stream(path, columns) if path.suffix == ".arrow" else _of_parquet(path, first, columns)
    return ((start, batch) for start, batch in found if start + len(batch) > first)


def _of_stream(path: Path, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            some = batch.select(columns) if columns else batch
            for at in range(0, len(some), ROWS):
                yield start + at, some.slice(at, ROWS)
            start += len(some)


def _of_parquet(path: Path, first: int, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
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
    """How many rows a file has; none where it is damaged.

    Raises:
        OSError: its disk does not answer.
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
        if not is_of_the_file(error):
            raise
        return 0


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """What the datasets library says of the columns; nothing where it says nothing."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def picture_columns(schema: pa.Schema) -> list[str]:
    """The columns that are photographs: said to be, or of the form that pictures have."""
    features = features_of(schema)
    return [field.name for field in schema if _is_picture(field.type, _kind(features.get(field.name)))]


def hidden_pictures(schema: pa.Schema) -> list[str]:
    """Columns with pictures inside lists and the like, with films or documents, or with paths alone."""
    pictures, features = picture_columns(schema), features_of(schema)
    return [field.name for field in schema if field.name not in pictures
            and (_kinds(features.get(field.name)) & ({"Image"} | _OTHER_MEDIA)
                 or (_kind(features.get(field.name)) != "Audio" and _has_files(field.type)))]


def class_names(schema: pa.Schema) -> tuple[str, list[str]]:
    """The one column of classes and their names; "" where there is none, or several."""
    found = [(name, feature["names"]) for name, feature in features_of(schema).items()
             if _kind(feature) == "ClassLabel" and isinstance(feature.get("names"), list) and name in schema.names]
    return found[0] if len(found) == 1 else ("", [])


def bytes_of(column: pa.Array) -> pa.Array:
    """The files of a column of pictures."""
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def leaves(column: pa.Array) -> Iterator[pa.Array]:
    """The plain values in a column, however deep in structs and lists."""
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
    """Whether values are bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
                or pa.types.is_binary_view(kind))


def is_known(kind: pa.DataType) -> bool:
    """Whether values are plain ones: texts, bytes, numbers, times."""
    return bool(is_binary(kind) or _is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_decimal(kind)
                or pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
                or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def writes_pictures(column: pa.Array) -> bool:
    """Whether there are pictures in plain texts (or bytes), written as `photo_files.writes_picture` knows them."""
    if not (is_binary(column.type) or _is_text(column.type)):
        return False
    texts = column.cast(pa.large_binary() if is_binary(column.type) else pa.large_string())
    return bool(pc.any(pc.match_substring_regex(texts, pattern=WRITTEN_PICTURE)).as_py())


def is_array(kind: pa.DataType) -> bool:
    """Whether values are numbers in rows of rows, as pixels are; lists of numbers: see `is_long`."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_array(kind.storage_type)
    depth = 0
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth >= 2 and bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_long(column: pa.Array) -> bool:
    """Whether there are lists with as many numbers as the smallest pictures have: whole ones, or far more others."""
    kind = column.type
    if not _is_list(kind) or not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return False
    most = pc.max(pc.list_value_length(column)).as_py() or 0
    return bool(most > (WHOLE_NUMBERS if pa.types.is_integer(kind.value_type) else OTHER_NUMBERS))


def _is_picture(kind: pa.DataType, said: str) -> bool:
    if pa.types.is_struct(kind):
        names = {kind.field(i).name for i in range(kind.num_fields)}
        fits = "bytes" in names and is_binary(kind.field(kind.get_field_index("bytes")).type)
        return fits and names <= {"bytes", "path"} and said in ("Image", "")
    return said == "Image" and is_binary(kind)


def _has_files(kind: pa.DataType) -> bool:
    """Whether there is, however deep, a struct of bytes and path."""
    inner = [kind.field(i) for i in range(kind.num_fields)]
    return {"bytes", "path"} <= {field.name for field in inner} or any(_has_files(field.type) for field in inner)


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _kinds(feature: Any) -> set[str]:
    """All types in a feature, however deep."""
    if isinstance(feature, list):
        return set().union(*map(_kinds, feature))
    if isinstance(feature, dict):
        own = feature.get("_type")
        return set().union({own} if isinstance(own, str) else set(), *map(_kinds, feature.values()))
    return set()
