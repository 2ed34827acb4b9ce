"""Taking published checkpoints into the cache, converted once, and finding them there.

`<cache>/models/published/<name>/` holds the weights and a record of where they came from; like everything in the
cache it gets its name only when it is whole.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ModelError
from mien.images.formats import printable
from mien.models.hub.cache import RECORD, State, locked, models_folder, sha256_of, storage_errors, sync
from mien.models.hub.published import PUBLISHED, Recognized

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"
_PREFIX = ".import-"


@dataclass(frozen=True)
class Imported:
    """What became of one file: the network it was, the format it came in, how many tensors it holds."""

    name: str
    format: str
    tensors: int
    path: Path


def published_folder() -> Path:
    """Where imported checkpoints lie."""
    return models_folder() / "published"


def published_path(name: str) -> Path:
    """The converted weights of a published checkpoint.

    Raises:
        ModelError: they have not been imported, or are damaged.
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
    """What is known about an imported checkpoint, or None where there is none."""
    try:
        record = json.loads((published_folder() / name / RECORD).read_text("utf-8"))
        whole = isinstance(record, dict) and {"size", "sha256"} <= record.keys()
        return record if whole and (published_folder() / name / WEIGHTS).is_file() else None
    except (OSError, ValueError):
        return None


def published_sha256(name: str) -> str:
    """SHA-256 of the converted weights.

    Raises:
        ModelError: they have not been imported, or are damaged.
    """
    published_path(name)
    return str((read_record(name) or {})["sha256"])


def published_state(name: str, whole: bool = True) -> State:
    """Whether an imported checkpoint is there and as it was made: every byte of it, or its size alone."""
    record, file = read_record(name), published_folder() / name / WEIGHTS
    if record is None:
        return "missing"
    same = sha256_of(file) == record["sha256"] if whole else file.stat().st_size == record["size"]
    return "ready" if same else "damaged"


def import_file(path: Path) -> Imported:
    """Read, recognize, check and convert one checkpoint; one of the same name that is there is replaced.

    Raises:
        ModelError: the file cannot be read, is none of the published networks, or not quite.
        FetchError: the cache cannot be written.
    """
    from mien.models.formats.torch_file import read_checkpoint
    from mien.models.hub.published import recognize

    try:
        found = recognize(read_checkpoint(path))
    except ModelError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise ModelError(printable(message), error.hint) from error  # names out of a file can hold anything
    folder = published_folder()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (models_folder() / ".locks").mkdir(exist_ok=True)
        with locked(models_folder() / ".locks" / "import", lambda: None):
            for left in folder.glob(f"{_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            _keep(found, path, folder)
    return Imported(found.name, found.format, len(found.state), folder / found.name / WEIGHTS)


def _keep(found: Recognized, source: Path, folder: Path) -> None:
    """Write weights and record under another name, then give them their own."""
    work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        ready = work / found.name
        ready.mkdir()
        _write(found.state, ready / WEIGHTS)
        record = {"format": found.format, "source": source.name, "source_sha256": sha256_of(source),
                  "size": (ready / WEIGHTS).stat().st_size, "sha256": sha256_of(ready / WEIGHTS),
                  "card": asdict(PUBLISHED[found.name])}
        (ready / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        for made in (ready / WEIGHTS, ready / RECORD, ready):
            sync(made)
        final = folder / found.name
        if final.exists():
            final.rename(work / "old")
        ready.rename(final)
        sync(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(state: dict[str, Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    except SafetensorError as error:  # in whose text the system's number hides
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error
