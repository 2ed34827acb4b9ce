"""Reads checkpoint files of other projects without running anything in them.

It reads four formats: torch's own (zip and legacy), TorchScript archives and NVIDIA's pickled modules, all with the
unpickler of `restricted_pickle`. Modules become nested dicts; the code that two of the formats contain is ignored.
"""

from __future__ import annotations

import io
import pickle
import stat
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.errors import ModelError
from mien.models.formats.restricted_pickle import (
    Budget,
    Module,
    Restricted,
    Storage,
    check_reference,
    fill,
    read_legacy,
    read_pickle,
)

_HINT = "is it the whole file, as its authors publish it?"
_MOST, _LONGEST = 100_000, 500  # values in a checkpoint, and letters in a tensor's name


def read_checkpoint(path: Path) -> Any:
    """Reads the content of a checkpoint: tensors in dicts, lists and `Module`s.

    Raises:
        ModelError: the file cannot be read, is cut short or holds something else, or asks for anything that
            a checkpoint does not need.
    """
    try:
        size = _size_of(path)
        with path.open("rb") as file:
            head = file.read(16)
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return _read_zip(archive, Budget(size))
            if head[:4] == b"PK\x03\x04":
                raise ModelError(f"{path} is cut short", _HINT)
            file.seek(0)
            legacy = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") in head
            return (read_legacy if legacy else read_pickle)(file, Budget(size))
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # damaged pickles and archives may raise anything
        raise ModelError(f"{path} is not a checkpoint, or damaged: {_short(error)}", _HINT) from error


def _size_of(path: Path) -> int:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ModelError(f"{path} is a folder", "give the checkpoint in it")
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is not a file", "give a checkpoint as its authors publish it")
    return status.st_size


def _short(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "it ends too early"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _read_zip(archive: zipfile.ZipFile, budget: Budget) -> Any:
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1 or len(set(names)) < len(names):
        raise pickle.UnpicklingError("a zip archive, but not of torch's making")
    read: dict[str, Tensor] = {}

    def storage(identity: Any) -> Storage:
        kind, dtype, key, _, count = identity
        dtype = check_reference(kind, dtype, key, count)
        if key not in read:
            read[key] = _member(archive, f"{roots[0]}data/{key}", budget)
        return dtype.of(read[key], count)

    listing = _member(archive, f"{roots[0]}data.pkl", budget).numpy().tobytes()
    return Restricted(io.BytesIO(listing), budget, storage).load()


def _member(archive: zipfile.ZipFile, name: str, budget: Budget) -> Tensor:
    """Reads a file of an archive as bytes [N] uint8; it counts towards the budget and must not be compressed."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError("its numbers are compressed, which torch never does")
    budget.take(info.file_size)
    with archive.open(info) as file:
        return fill(torch.empty(info.file_size, dtype=torch.uint8), file)


def tensors_of(content: object) -> dict[str, Tensor]:
    """Collects all tensors in nested dicts and modules, under the dotted names that `state_dict` gives them.

    Raises:
        ModelError: there are more values than any checkpoint has, or they refer to one another in a circle.
    """
    tensors: dict[str, Tensor] = {}
    waiting, count = deque([("", content)]), 0
    while waiting:
        prefix, value = waiting.popleft()
        count += 1
        if count > _MOST or len(prefix) > _LONGEST:
            raise ModelError("more values, or longer names, than any checkpoint has", _HINT)
        if isinstance(value, Tensor):
            tensors[prefix] = value.detach()
        for key, part in _parts(value).items():
            if isinstance(key, str):
                waiting.append((f"{prefix}.{key}" if prefix else key, part))
    return tensors


def _parts(value: object) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    if not isinstance(value, Module):
        return {}
    inside = value.attributes
    if "_modules" not in inside:
        return inside
    # the attributes of a pickled nn.Module
    kinds = [inside.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
    return {key: part for kind in kinds if isinstance(kind, dict) for key, part in kind.items()}
