"""Reads WebDataset: a folder of tars, or one of them, whose photos are read and written without unpacking."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from mien.datasets.dataset import Dataset
from mien.datasets.layouts.image_folder import SPLIT_FOLDERS
from mien.datasets.scan import scan
from mien.datasets.storage.tar import COMPRESSED, TarContainer, index_tar
from mien.datasets.tree import RUN_FILES, ExpectedPath, Tree
from mien.errors import UsageError
from mien.images.formats import is_packed, printable
from mien.types import Skipped

EXPECTED = (ExpectedPath("train-000000.tar", "samples: photographs, and files of the same names up to the first dot",
                         required=False),
            ExpectedPath("val-000000.tar", "the same for validation; any other names if there are no splits",
                         required=False))
_SPLIT = re.compile(r"(training|train|validation|valid|val|testing|test)(?![a-z])")
_ARRAYS = {".npy", ".npz", ".pt", ".pth", ".pyd", ".pkl", ".pickle", ".ten", ".tenbin", ".mp", ".msg", ".zip", ".tar"}
SHOWN = 8  # in a note


def is_webdataset(tree: Tree) -> bool:
    """Tells whether a folder holds tars and no photograph."""
    tars = [name for name in tree.names() if name.lower().endswith((".tar", *COMPRESSED))]
    try:
        return bool(tars) and next(scan(tree.root), None) is None
    except UsageError:
        return False


def read_webdataset(tree: Tree) -> Dataset:
    """Reads the tars' headers; what makes the dataset unusable is added to `tree.problems`."""
    single = not tree.root.is_dir()
    root, found = (tree.root.parent, [tree.root.name]) if single else (tree.root, tree.names())
    tars = [name for name in found if single or (name.lower().endswith(".tar") and (root / name).is_file())]
    packed = [name for name in found if name.lower().endswith(COMPRESSED) or (name in tars and _is_packed(root / name))]
    dataset = Dataset("webdataset", root, [])
    if packed:
        tree.problems.append(f"{printable(packed[0])} is compressed: its members cannot be read one by one; "
                             "unpack it to a plain .tar (gunzip, unxz, zstd -d)")
    if not tars and not packed:
        tree.problems.append("there is no .tar file")
    if tree.problems:
        return dataset
    dataset.container = TarContainer(root, {tar: split_of(tar) for tar in tars})
    _read(dataset, tars)
    if not dataset.photos:
        why = f" ({dataset.skipped[0].file}: {dataset.skipped[0].reason})" if dataset.skipped else ""
        tree.problems.append(f"no tar has a photograph{printable(why)}")
    rest = sorted(set(found) - set(tars) - RUN_FILES)
    if rest:
        dataset.notes.append(f"not carried over: {', '.join(map(printable, rest[:10]))}"
                             + (f" and {len(rest) - 10} more" if len(rest) > 10 else ""))
    return dataset


def _is_packed(path: Path) -> bool:
    """Tells whether a file is compressed, whatever its name says."""
    try:
        with path.open("rb") as file:
            return is_packed(file.read(10))
    except OSError:
        return False


def split_of(name: str) -> str:
    """Returns train, val or test if a tar's name begins so, else ""."""
    found = _SPLIT.match(name.lower())
    return SPLIT_FOLDERS[found[1]] if found else ""


def _read(dataset: Dataset, tars: list[str]) -> None:
    kinds, empty, alike, hidden = Counter[str](), list[str](), 0, 0
    for tar in tars:
        try:
            index, split = index_tar(dataset.root / tar), split_of(tar)
        except OSError as error:
            raise UsageError(f"{printable(tar)} cannot be read: {error.strerror}", "does its disk answer?") from error
        photos = [f"{tar}/{one.name}" for one in index.members.values() if one.picture]
        dataset.photos += photos
        dataset.splits |= dict.fromkeys(photos, split) if split else {}
        dataset.skipped += [Skipped(f"{tar}/{one.file}".rstrip("/"), one.reason) for one in index.skipped]
        kinds += index.kinds()
        hidden += index.passed_over
        alike += len(index.members) - len({name.casefold() for name in index.members})
        empty += [] if photos else [tar]
    _note(dataset, kinds, empty, alike, hidden)


def _note(dataset: Dataset, kinds: Counter[str], empty: list[str], alike: int, hidden: int) -> None:
    if kinds:
        shown = ", ".join(f"{printable(kind)} {count:,}" for kind, count in kinds.most_common(SHOWN))
        dataset.notes.append(f"carried over byte for byte: {shown}{', ...' if len(kinds) > SHOWN else ''}. Captions, "
                             "addresses, camera data and labels may lead to people: look into them")
    arrays = sorted(kind for kind in kinds if PurePosixPath("x" + kind).suffix in _ARRAYS)
    if arrays:
        dataset.notes.append(f"{', '.join(arrays)} may hold pictures too, which stay as they are: look into them")
    if empty:
        dataset.notes.append(f"without a photograph: {', '.join(map(printable, empty[:3]))}"
                             f"{', ...' if len(empty) > 3 else ''}")
    if alike:
        dataset.notes.append(f"{alike:,} members differ from others in case only: the webdataset library stops at them")
    if hidden:
        dataset.notes.append(f"{hidden:,} hidden members are not carried over")
    outside = sum(1 for tar in {name.partition("/")[0] for name in dataset.photos} if not split_of(tar))
    if outside and dataset.splits:
        dataset.notes.append(f"{outside:,} tars whose names begin with no split")
