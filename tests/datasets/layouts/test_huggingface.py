"""Photographs in the rows of tables: which columns, which rows, and what is refused."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from helpers import containers
from helpers.containers import photo
from helpers.fake_run import save, squares
from mien.cli.datasets import datasets_app
from mien.datasets.registry import open_dataset
from mien.datasets.storage.arrow_rows import ROWS, batches
from mien.datasets.storage.base import photo_of
from mien.datasets.storage.parquet import RowContainer
from mien.errors import PhotoError, UsageError


def saved(folder: Path, rows: pa.Table, files: int = 1) -> Path:
    """As `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{files:05d}.arrow" for i in range(files)]
    for i, name in enumerate(names):
        part = rows.slice(i * len(rows) // files, len(rows) // files)
        with pa.ipc.new_stream(str(folder / name), rows.schema) as writer:
            writer.write_table(part, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": containers.FEATURES}))
    return folder


def targets(root: Path) -> dict[str, str]:
    container = open_dataset(root).container
    assert isinstance(container, RowContainer)
    return container.targets


def test_photos_are_read_row_by_row(tmp_path: Path) -> None:
    dataset = open_dataset(containers.parquets(tmp_path))
    assert dataset.layout == "huggingface" and len(dataset.photos) == 12
    assert dataset.photos[1] == "data/train-00000-of-00002.parquet/000001.png"
    assert dataset.count(dataset.photos) == {"train": 9, "val": 3}
    assert list(dataset.classes.values())[:3] == ["cat", "old person", "cat"]
    reader = pickle.loads(pickle.dumps(dataset)).reader
    for number in (6, 0, 1, 2, 5, 1):  # forwards, back, and over row groups
        pixels = photo_of(reader, dataset.photos[number]).pixels
        assert np.array_equal(pixels, containers.decoded(photo(number)))
    assert reader.stamp(dataset.photos[1]) is not None
    for name in ("000099.png", "1.png", "000001.left.png", "x"):
        assert reader.stamp(f"data/train-00000-of-00002.parquet/{name}") is None
    assert reader.stamp("data/other.parquet/000001.png") is None
    assert targets(tmp_path) == {path.relative_to(tmp_path).as_posix(): path.relative_to(tmp_path).as_posix()
                                 for path in sorted(tmp_path.rglob("*.parquet"))}


def test_other_names_are_numbered_within_their_split(tmp_path: Path) -> None:
    for name in ("train/0000.parquet", "train/0001.parquet", "validation.parquet", "test-part0.parquet"):
        containers.parquet(tmp_path / name, containers.rows(0, 1))
    assert targets(tmp_path) == {
        "test-part0.parquet": "data/test-00000-of-00001.parquet", "train/0000.parquet":
        "data/train-00000-of-00002.parquet", "train/0001.parquet": "data/train-00001-of-00002.parquet",
        "validation.parquet": "data/validation-00000-of-00001.parquet"}
    one = containers.parquet(tmp_path / "photos.parquet", containers.rows(0, 2))
    dataset = open_dataset(one)
    assert dataset.photos == ["photos.parquet/000000.png", "photos.parquet/000001.png"] and not dataset.splits


def test_what_save_to_disk_made_is_read(tmp_path: Path) -> None:
    one = open_dataset(saved(tmp_path / "one", containers.rows(0, 6), 2))
    assert one.photos[3] == "data-00001-of-00002.arrow/000000.png" and not one.splits
    assert np.array_equal(photo_of(one.reader, one.photos[4]).pixels, containers.decoded(photo(4)))
    for split in ("train", "validation"):
        saved(tmp_path / "dict" / split, containers.rows(0, 2))
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    both = open_dataset(tmp_path / "dict")
    assert both.count(both.photos) == {"train": 2, "val": 2} and set(both.classes.values()) == {"cat", "old person"}
    assert list(targets(tmp_path / "dict").values()) == ["data/train-00000-of-00001.parquet",
                                                         "data/validation-00000-of-00001.parquet"]


@pytest.mark.parametrize("name", ["../photos.arrow", "/etc/x.arrow", "..", "a\\b"])
def test_files_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    root = saved(tmp_path / "src", containers.rows(0, 1))
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(UsageError, match="a file's name that leads out of the folder"):
        open_dataset(root)


def test_a_giant_row_group_is_read_in_parts(tmp_path: Path) -> None:
    rows = containers.table([{"bytes": b"x" * i, "path": None} for i in range(3 * ROWS)])
    containers.parquet(tmp_path / "a.parquet", rows, group=3 * ROWS)
    found = list(batches(tmp_path / "a.parquet", first=ROWS + 5))
    assert [(start, len(batch)) for start, batch in found] == [(ROWS, ROWS), (2 * ROWS, ROWS)]


IMAGE = {"_type": "Image"}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(("feature", "column"), [
    ({"feature": IMAGE, "_type": "List"}, pa.array([[{"bytes": photo(1)}]], pa.list_(STRUCT))),
    (None, pa.array([[{"bytes": photo(1)}]], pa.list_(STRUCT))),
    ({"_type": "Video"}, pa.array([{"bytes": b"film"}], STRUCT)),
    (IMAGE, pa.array(["/home/anna/1.png"])),
    ({"dtype": "binary", "_type": "Value"}, pa.array([photo(1)])),
    (None, pa.array([[{"inside": photo(1)}]], pa.list_(pa.struct([("inside", pa.binary())])))),
])
def test_pictures_that_would_stay_are_refused(tmp_path: Path, feature: Any, column: pa.Array) -> None:
    features = containers.FEATURES | ({"more": feature} if feature else {})
    containers.parquet(tmp_path / "a.parquet", containers.table([{"bytes": photo(0)}], features, more=column))
    with pytest.raises(UsageError, match="the column 'more' holds pictures"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("column", "what"), [
    (pa.array([base64.b64encode(photo(1)).decode()]), "pictures written as text"),
    (pa.array([[{"inside": json.dumps({"image": photo(1).hex()})}]]), "pictures written as text"),
    (pa.array([base64.b64encode(photo(1))]), "pictures written as text"),
    (pa.array([base64.b64encode(photo(1)).decode()], pa.string_view()), "pictures written as text"),
    (pa.array([base64.b64encode(photo(1)).decode()]).dictionary_encode(), "pictures written as text"),
    (pa.array([" ".join(["70", "180", "9"] * 768)]), "pictures written as text"),
    (pa.array([gzip.compress(photo(1))]), "compressed files"),
    (pa.array([b"\x93NUMPY" + photo(1)], pa.binary_view()), "compressed files, arrays"),
    (pa.array([list(photo(1))], pa.list_(pa.uint8())), "arrays"),
    (pa.array([[0.5] * 20_000], pa.large_list(pa.float32())), "arrays"),
    (pa.array([[[1.0], [2.0]]]), "arrays"),
])
def test_pictures_in_disguise_are_refused(tmp_path: Path, column: pa.Array, what: str) -> None:
    containers.parquet(tmp_path / "a.parquet", containers.table([{"bytes": photo(0)}], None, more=column))
    with pytest.raises(UsageError, match=f"the column 'more' holds {what}"):
        open_dataset(tmp_path)


def test_other_columns_are_carried_over(tmp_path: Path) -> None:
    columns = {"uuid": pa.array([b"\x1f\x8b" + bytes(14)], pa.binary(16)), "vector": pa.array([[0.5] * 4096]),
               "boxes": pa.array([[1, 2, 3, 4]], pa.list_(pa.int64())), "hash": ["ffd8ff" + "0" * 58], "flag": [True],
               "at": pa.array([0], pa.timestamp("us")), "none": pa.nulls(1),
               "kind": pa.array(["a"]).dictionary_encode()}
    containers.parquet(tmp_path / "a.parquet", containers.table([{"bytes": photo(0)}], None, **columns))
    dataset = open_dataset(tmp_path)
    assert len(dataset.photos) == 1 and not dataset.skipped


@pytest.mark.parametrize(("features", "column"), [({}, pa.array([{"bytes": photo(1)}], STRUCT)),
                                                  (None, pa.array([photo(1)], pa.binary())),
                                                  (None, pa.array([photo(1)], pa.large_binary()))])
def test_columns_of_photographs_in_other_forms(tmp_path: Path, features: Any, column: pa.Array) -> None:
    containers.parquet(tmp_path / "a.parquet", containers.table([None], features, image=column))
    dataset = open_dataset(tmp_path)
    assert np.array_equal(photo_of(dataset.reader, "a.parquet/000000.png").pixels, containers.decoded(photo(1)))


def test_a_sound_is_no_photograph(tmp_path: Path) -> None:
    features = containers.FEATURES | {"voice": {"_type": "Audio"}}
    containers.parquet(tmp_path / "a.parquet", containers.table([{"bytes": photo(1)}], features,
                                                                voice=pa.array([{"bytes": b"RIFF....WAVE"}], STRUCT)))
    assert open_dataset(tmp_path).photos == ["a.parquet/000000.png"]


def test_files_without_photographs(tmp_path: Path) -> None:
    containers.parquet(tmp_path / "meta.parquet", pa.table({"n": [1]}))
    with pytest.raises(UsageError, match="no file has a column of photographs"):
        open_dataset(tmp_path)
    containers.parquet(tmp_path / "a.parquet", containers.table([None, None]))
    with pytest.raises(UsageError, match="no row has a photograph"):
        open_dataset(tmp_path)
    containers.parquet(tmp_path / "b.parquet", containers.rows(0, 1))
    dataset = open_dataset(tmp_path)
    assert dataset.photos == ["b.parquet/000000.png"]
    assert "not carried over: meta.parquet (no column of photographs)" in dataset.notes
    assert "2 rows without a photograph (null), kept as they are" in dataset.notes
    save(tmp_path / "1.png", squares())
    assert open_dataset(tmp_path).layout == "folder"


@pytest.mark.parametrize("cut", [1, 1000, -100])
def test_a_damaged_file_is_listed(tmp_path: Path, cut: int) -> None:
    containers.parquet(tmp_path / "a.parquet", containers.rows(0, 2))
    path = containers.parquet(tmp_path / "b.parquet", containers.rows(0, 2))
    path.write_bytes(path.read_bytes()[:cut])
    dataset = open_dataset(tmp_path)
    (skipped,) = dataset.skipped
    assert skipped.file == "b.parquet" and "the file is damaged" in skipped.reason
    assert len(dataset.photos) == 2 and list(targets(tmp_path)) == ["a.parquet"]


def test_a_damaged_page_is_listed(tmp_path: Path) -> None:
    containers.parquet(tmp_path / "a.parquet", containers.rows(0, 2))
    root = saved(tmp_path / "saved", containers.rows(0, 4))
    file = root / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(UsageError, match=r"arrow: the file is damaged .*: none of its rows is taken"):
        open_dataset(root)


def test_a_file_that_is_damaged_later_is_a_bad_photo(tmp_path: Path) -> None:
    dataset = open_dataset(containers.parquets(tmp_path))
    (tmp_path / "data" / "train-00000-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(PhotoError, match="its file cannot be read"):
        photo_of(dataset.reader, dataset.photos[0])


def test_check_says_what_it_is(tmp_path: Path) -> None:
    containers.parquets(tmp_path)
    result = CliRunner().invoke(datasets_app, ["check", str(tmp_path), "--pictures"])
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0, result.stdout
    assert "a Hugging Face dataset (layout huggingface)" in said and "classes 2" in said and "- none" in said
