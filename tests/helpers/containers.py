"""Draws datasets with photographs in tars or in rows of Parquet files. They show square people, see fake_run.py."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from helpers.fake_run import ANNA, BERT, CLEO, STUBBORN, squares
from mien.types import Pixels

PEOPLE = ((ANNA,), (BERT, ANNA), (), (CLEO,), (STUBBORN,))


def encoded(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def photo(number: int, *people: tuple[int, int]) -> bytes:
    return encoded(squares(*(people or PEOPLE[number % 5]), seed=number))


def icon() -> bytes:
    """A photo that becomes a PNG."""
    return encoded(squares(ANNA)[:96, :96], "ICO", sizes=[(96, 96)])


def decoded(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def tar(path: Path, members: Sequence[tuple[str, bytes | tarfile.TarInfo]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as out:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                data.name = name
                out.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.uname = len(data), 1_700_000_000, 1000, "anna"
            out.addfile(info, io.BytesIO(data))
    return path


def tars(root: Path, sizes: Mapping[str, int]) -> Path:
    """Writes a WebDataset; `sizes`: tar -> number of its samples, each of a photo, a JSON and a class."""
    number = 0
    for name, size in sizes.items():
        members: list[tuple[str, bytes | tarfile.TarInfo]] = []
        for _ in range(size):
            members += [(f"{number:06d}.png", photo(number)), (f"{number:06d}.json", b'{"n": %d}' % number),
                        (f"{number:06d}.cls", b"%d" % (number % 3))]
            number += 1
        tar(root / name, members)
    return root


def in_tar(path: Path) -> dict[str, bytes]:
    """Returns the members' content by name, in their order."""
    with tarfile.open(path, "r:") as file:
        return {info.name: file.extractfile(info).read() for info in file}  # type: ignore[union-attr]


FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "old person"], "_type": "ClassLabel"},
            "caption": {"dtype": "string", "_type": "Value"}}


def table(images: Sequence[dict[str, Any] | None], features: dict[str, Any] | None = None, **columns: Any) -> pa.Table:
    """Rows as the datasets library writes them."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind), "label": pa.array([i % 2 for i in range(len(images))], pa.int64()),
               "caption": [f"row {i}" for i in range(len(images))]} | columns
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES if features is None else features}})}
    return pa.table(columns).replace_schema_metadata(metadata)


def rows(first: int, count: int) -> pa.Table:
    return table([{"bytes": photo(i), "path": f"/home/anna/{i}.png"} for i in range(first, first + count)])


def parquet(path: Path, rows: pa.Table, group: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, row_group_size=group)
    return path


def parquets(root: Path, count: int = 7) -> Path:
    """Writes a dataset as repositories have it: two files for training, one for validation."""
    parquet(root / "data" / "train-00000-of-00002.parquet", rows(0, count))
    parquet(root / "data" / "train-00001-of-00002.parquet", rows(count, 2))
    parquet(root / "data" / "validation-00000-of-00001.parquet", rows(count + 2, 3))
    return root
