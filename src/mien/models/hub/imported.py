"""Imports published checkpoints into the cache, converted once, and finds them there.

`<cache>/models/published/<name>/` holds the weights and a record of where they came from. Like every folder in the
cache it gets its final name only after it is complete.
"""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ModelError
from mien.images.formats import printable
from mien.models.hub.cache import RECORD, State, models_folder, publish, sha256_of, storage_errors, write_record
from mien.models.hub.published import PUBLISHED, Recognized
from mien.util.files import read_object
from mien.util.locks import locked

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"
_PREFIX = ".import-"


@dataclass(frozen=True)
class Imported:
    """Describes one import: the network's name, the file's format, the number of tensors, the converted file."""

    name: str
    format: str
    tensors: int
    path: Path


def published_folder() -> Path:
    """Returns the folder of all imported checkpoints."""
    return models_folder() / "published"


def published_path(name: str) -> Path:
    """Returns the path of a published checkpoint's converted weights.

    Raises:
        ModelError: the checkpoint has not been imported, or the file's size is wrong.
    """
    folder = published_folder() / name
    record = read_record(name)
    if record is None:
        one = PUBLISHED[name]
        raise ModelError(f"the weights of {name} are not there",
                         f"get {one.files[0]} ({one.where}), then run: mien models import {one.files[0]}")
    if (folder / WEIGHTS).stat().st_size != record["size"]:
        raise ModelError(f"the weights of {name} are damaged", "import them again")
    return folder / WEIGHTS


def read_record(name: str) -> dict[str, Any] | None:
    """Returns the record of an imported checkpoint; None if it has not been imported or its record is damaged."""
    folder = published_folder() / name
    record = read_object(folder / RECORD)
    whole = {"size", "sha256"} <= record.keys()
    return record if whole and (folder / WEIGHTS).is_file() else None


def published_sha256(name: str) -> str:
    """Returns the SHA-256 that a published checkpoint's converted weights had when they were written.

    Raises:
        ModelError: the checkpoint has not been imported, or the file's size is wrong.
    """
    published_path(name)
    return str((read_record(name) or {})["sha256"])


def published_state(name: str, whole: bool = True) -> State:
    """Tells whether a published checkpoint is ready, missing or damaged.

    Args:
        whole: compare the hash of the file, not only its size.
    """
    record, file = read_record(name), published_folder() / name / WEIGHTS
    if record is None:
        return "missing"
    same = sha256_of(file) == record["sha256"] if whole else file.stat().st_size == record["size"]
    return "ready" if same else "damaged"


def import_file(path: Path) -> Imported:
    """Reads, recognizes, checks and converts one checkpoint, and replaces an earlier import of the same network.

    Raises:
        ModelError: the file cannot be read, or does not exactly hold one of the published networks.
        FetchError: the cache cannot be written.
    """
    from mien.models.formats.torch_file import read_checkpoint
    from mien.models.hub.published import recognize

    try:
        found = recognize(read_checkpoint(path))
    except ModelError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise ModelError(printable(message), error.hint) from error  # names in a file can hold control codes
    folder = published_folder()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (models_folder() / ".locks").mkdir(exist_ok=True)
        with locked(models_folder() / ".locks" / "import", patience=None):
            for left in folder.glob(f"{_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            _keep(found, path, folder)
    return Imported(found.name, found.format, len(found.state), folder / found.name / WEIGHTS)


def _keep(found: Recognized, source: Path, folder: Path) -> None:
    """Writes weights and record into a temporary folder, then gives it its final name."""
    work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        ready = work / found.name
        ready.mkdir()
        _write(found.state, ready / WEIGHTS)
        write_record(ready / WEIGHTS, {"format": found.format, "source": source.name,
                                       "source_sha256": sha256_of(source), "card": asdict(PUBLISHED[found.name])})
        publish(ready, folder / found.name, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(state: dict[str, Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    except SafetensorError as error:  # the system's error number is only in its text
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error
