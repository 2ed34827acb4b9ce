"""Reads Hugging Face datasets: folders made by `save_to_disk`, and Parquet files with photographs in their rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa

from mien.datasets.dataset import Dataset, plural
from mien.datasets.layouts.image_folder import SPLIT_FOLDERS
from mien.datasets.scan import scan
from mien.datasets.storage.arrow_rows import (
    batches,
    class_names,
    hidden_pictures,
    is_array,
    is_binary,
    is_known,
    is_long,
    leaves,
    picture_columns,
    schema_of,
    writes_pictures,
)
from mien.datasets.storage.parquet import RowContainer, labels_of, photo_name, pictures
from mien.datasets.tree import RUN_FILES, ExpectedPath, Tree
from mien.errors import UsageError
from mien.images.formats import is_packed, printable, shows_picture
from mien.types import Skipped
from mien.util.files import error_text, is_fault_of_file, read_object, stamp

EXPECTED = (ExpectedPath("data/train-00000-of-00001.parquet", "rows with a column of photographs; any other names",
                         required=False),
            ExpectedPath("dataset_dict.json", "or what DatasetDict.save_to_disk made", required=False),
            ExpectedPath("dataset_info.json", "or what Dataset.save_to_disk made", required=False))
_SHARDED = re.compile(r"data/(.+)-\d{5}-of-\d{5}[^/]*\.parquet")
_SPLIT = re.compile(r"(training|train|validation|valid|val|testing|test)(?![A-Za-z])")


def is_huggingface(tree: Tree) -> bool:
    """Tells whether a folder was saved by the datasets library, or holds Parquet files and no photograph."""
    if {"dataset_dict.json"} <= set(tree.names()) or {"dataset_info.json", "state.json"} <= set(tree.names()):
        return True
    try:
        return next(scan(tree.root), None) is None and bool(_parquets(tree.root)) and not any(
            name.endswith(".tar") for name in tree.names())
    except UsageError:
        return False


def read_huggingface(tree: Tree) -> Dataset:
    """Reads all rows once, for names and labels; what makes the dataset unusable is added to `tree.problems`."""
    if not tree.root.is_dir():
        root, files = tree.root.parent, {tree.root.name: _split_in(tree.root.name)}
    else:
        root, files = tree.root, _saved(tree) or {name: _split_in(name) for name in _parquets(tree.root)}
    dataset = Dataset("huggingface", root, [])
    splits = {file: mine for file, split in files.items() if (mine := SPLIT_FOLDERS.get(split.lower()))}
    reading = _Reading(dataset, tree, splits)
    used = {file: split for file, split in files.items() if reading.file(file)}
    if not used and not tree.problems:
        tree.problems.append(_why_nothing(dataset, list(files)))
    elif not dataset.photos and not tree.problems:
        tree.problems.append("no row has a photograph")
    dataset.container = RowContainer(root, _targets(used), splits, _metadata(tree, used), reading.states)
    reading.note()
    return dataset


def _why_nothing(dataset: Dataset, files: list[str]) -> str:
    """Says why no file has photographs."""
    if not files:
        return "there is no Parquet file, and nothing that save_to_disk made"
    damaged = [f"{printable(one.file)}: {one.reason}" for one in dataset.skipped]
    return damaged[0] if damaged else "no file has a column of photographs: a struct of bytes and path"


def _parquets(root: Path) -> list[str]:
    found = (path.relative_to(root).as_posix() for path in root.rglob("*.parquet") if path.is_file())
    return sorted(name for name in found if name not in RUN_FILES and not re.search(r"(^|/)\.", name))


def _saved(tree: Tree) -> dict[str, str]:
    """Returns the files of `save_to_disk`, each with its split; none if the folder was made otherwise."""
    if "dataset_dict.json" in tree.names():
        splits = read_object(tree.root / "dataset_dict.json").get("splits")
        named = [split for split in splits if isinstance(split, str)] if isinstance(splits, list) else []
        return {f"{split}/{file}": split for split in named for file in _data_files(tree, split)}
    return dict.fromkeys(_data_files(tree, ""), "") if "state.json" in tree.names() else {}


def _data_files(tree: Tree, folder: str) -> list[str]:
    """Returns the names of a saved dataset's files in their order; names that lead out of its folder are a problem."""
    entries = read_object(tree.root / folder / "state.json").get("_data_files")
    files = [str(one.get("filename")) for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    if not files:
        tree.problems.append(f"{printable(f'{folder}/state.json'.lstrip('/'))} names no files")
    away = [name for name in (folder, *files) if re.search(r"[/\\\0]|^\.\.?$", name)]
    if away:
        tree.problems.append(f"{printable(away[0])}: a file's name that leads out of the folder")
    return [] if away else files


def _split_in(name: str) -> str:
    """Returns the split that a file's name or folder tells, as it is spelled there, or ""."""
    sharded = _SHARDED.fullmatch(name)
    if sharded:
        return sharded[1]
    parts = [found[1] for part in reversed(name.split("/")) if (found := _SPLIT.match(part.lower()))]
    return parts[0] if parts else ""


def _targets(files: dict[str, str]) -> dict[str, str]:
    """Returns the files' names in DST: unchanged if `load_dataset` knows them, else numbered within each split."""
    if all(_SHARDED.fullmatch(file) for file in files):
        return {file: file for file in files}
    totals, numbers, targets = Counter(split or "train" for split in files.values()), Counter[str](), {}
    for file, split in files.items():
        name = split or "train"
        targets[file] = f"data/{name}-{numbers[name]:05d}-of-{totals[name]:05d}.parquet"
        numbers[name] += 1
    return targets


def _metadata(tree: Tree, files: dict[str, str]) -> bytes:
    """Returns the features in dataset_info.json, in the form of the files' metadata."""
    folder = next(iter(files), "").rpartition("/")[0]
    features = read_object(tree.root / folder / "dataset_info.json").get("features") if tree.root.is_dir() else None
    return json.dumps({"info": {"features": features}}).encode() if isinstance(features, dict) else b""


class _Reading:
    """Gathers what is known of the files while they are read, one after another."""

    def __init__(self, dataset: Dataset, tree: Tree, splits: dict[str, str]) -> None:
        self.dataset, self.tree, self.splits = dataset, tree, splits
        self.others: dict[str, None] = {}  # columns besides photographs
        self.without: list[str] = []
        self.states: dict[str, list[int] | None] = {}
        self.nulls = 0

    def file(self, file: str) -> bool:
        """Takes in one file; returns whether its rows are to be written."""
        path = self.dataset.root / file
        self.states[file] = stamp(path)
        try:
            schema = schema_of(path)
            if len(set(schema.names)) < len(schema.names):
                self.tree.problems.append(f"{printable(file)}: two columns have one name: rename one")
                return False
            columns = picture_columns(schema)
            hidden = hidden_pictures(schema)
            if hidden:
                self.tree.problems.append(f"{printable(file)}: the column {printable(hidden[0])!r} holds pictures in "
                                          "lists or structs, films, documents or paths, which stay as they are: take "
                                          "it out, or make its pictures a column of Image")
            elif columns:
                self._rows(file, schema, columns)
            else:
                self.without.append(file)
        except (OSError, pa.ArrowException) as error:
            if not is_fault_of_file(error):
                raise UsageError(f"{printable(file)} cannot be read: {error_text(error)}",
                                 "does its disk answer?") from error
            why = printable(error_text(error))
            self.dataset.skipped.append(Skipped(file, f"the file is damaged ({why}): none of its rows is taken"))
            return False
        return bool(columns) and not hidden

    def _rows(self, file: str, schema: pa.Schema, columns: list[str]) -> None:
        names, classes = list[str](), dict[str, str]()
        label, of_class = class_names(schema)
        labels = {column: one for one, column in labels_of(columns).items()}
        for start, batch in batches(self.dataset.root / file):
            self._refuse_undeclared(file, batch, columns)
            numbers = batch.column(label).to_pylist() if label else []
            found = sorted(pictures(batch, columns), key=lambda one: one[0])
            self.nulls += len(batch) - len({row for row, _, _ in found})
            for row, column, data in found:
                names.append(photo_name(file, start + row, labels[column], data))
                if label and isinstance(numbers[row], int) and 0 <= numbers[row] < len(of_class):
                    classes[names[-1]] = str(of_class[numbers[row]])
        self.dataset.photos += names
        self.dataset.classes |= classes
        self.dataset.splits |= dict.fromkeys(names, self.splits[file]) if file in self.splits else {}
        self.others |= dict.fromkeys(name for name in schema.names if name not in columns)

    def _refuse_undeclared(self, file: str, batch: pa.RecordBatch, columns: list[str]) -> None:
        for field in batch.schema:
            if field.name in columns or self.tree.problems:
                continue
            what = _may_show_originals(batch.column(field.name))
            if what:
                self.tree.problems.append(f"{printable(file)}: the column {printable(field.name)!r} holds {what}")

    def note(self) -> None:
        """Adds notes for the owner."""
        notes = self.dataset.notes
        if self.others:
            notes.append(f"carried over as they are: {', '.join(map(printable, self.others))}. Captions, addresses and "
                         "labels may lead to people: look into them")
        if self.nulls:
            notes.append(f"{plural(self.nulls, 'row')} without a photograph (null), kept as they are")
        if self.without:
            notes.append(f"not carried over: {', '.join(map(printable, self.without[:3]))} (no column of photographs)")


def _may_show_originals(column: pa.Array) -> str:
    """Says which pictures an undeclared column may hold, and what to do about it; "" if it can hold none."""
    if is_array(column.type) or is_long(column):
        return "arrays, which may be pictures: take it out"
    parts = list(leaves(column))
    unknown = [part.type for part in parts if not is_known(part.type)]
    if unknown:
        return f"{unknown[0]} values, into which mien cannot look: take it out"
    heads = [value.as_buffer()[:32].to_pybytes()
             for part in parts if is_binary(part.type) for value in part if value.is_valid]
    if any(map(shows_picture, heads)):
        return "pictures and is not declared as Image: cast it (datasets: cast_column), or take it out"
    if any(map(is_packed, heads)):
        return "compressed files, arrays or documents, which may be pictures: take it out"
    if any(map(writes_pictures, parts)):
        return "pictures written as text (base64): make them a column of Image, or take it out"
    return ""
