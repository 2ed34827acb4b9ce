"""Checkpoint files of others, read without running anything in them.

Four kinds: torch's own (zip or legacy) through its weights-only loader; TorchScript archives and NVIDIA's
pickled modules through an unpickler that knows tensors and plain containers and nothing else. Modules become
nested dicts: their code, which both kinds carry along, is never looked at.
"""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.errors import ModelError

_DTYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "DoubleStorage": torch.float64,
           "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16,
           "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
           "BFloat16Storage": torch.bfloat16}
_HINT = "is it the whole file, as its authors publish it?"


class Module:
    """What stands in for a pickled module: its attributes, without its class."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.attributes = state


def read_checkpoint(path: Path) -> Any:
    """The content of a checkpoint: tensors in dicts, lists and `Module`s.

    Raises:
        ModelError: the file cannot be read, is cut short or holds something else, or asks for anything that
            a checkpoint does not need.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                scripted = any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())
                return _read_script(archive) if scripted else _load(path)
        if head[:4] == b"PK\x03\x04":
            raise ModelError(f"{path} is cut short", _HINT)
        return _load(path) if _is_legacy(path) else _Restricted(io.BytesIO(path.read_bytes())).load()
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # pickles and archives fail in every way there is
        raise ModelError(f"{path} is not a checkpoint, or damaged: {_short(error)}", _HINT) from error


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _load(source: Path | io.BytesIO) -> Any:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(source, map_location="cpu", weights_only=True)


def _is_legacy(path: Path) -> bool:
    """Whether it begins with the magic number of torch's older format."""
    with path.open("rb") as file:
        return torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") in file.read(32)


def _read_script(archive: zipfile.ZipFile) -> Any:
    names = {info.filename: info for info in archive.infolist()}
    if any(info.compress_type != zipfile.ZIP_STORED for info in names.values() if "/code/" not in info.filename
           and not info.filename.endswith((".py", ".debug_pkl"))):
        raise pickle.UnpicklingError("tensors are compressed, which torch never does")
    root = next(name for name in names if name.endswith("/data.pkl")).removesuffix("data.pkl")

    def storage(identity: Any) -> _Storage:
        kind, dtype, key, _, count = identity
        if kind != "storage" or not isinstance(dtype, _Storage):
            raise pickle.UnpicklingError(f"an unknown reference: {identity}")
        data = archive.read(f"{root}data/{key}")
        return dtype.filled(torch.frombuffer(bytearray(data), dtype=dtype.dtype)[: int(count)])

    return _Restricted(io.BytesIO(archive.read(f"{root}data.pkl")), storage).load()


class _Storage:
    """A typed block of numbers, empty while it only stands for its type."""

    def __init__(self, dtype: torch.dtype, numbers: Tensor | None = None) -> None:
        self.dtype, self.numbers = dtype, numbers

    def filled(self, numbers: Tensor) -> _Storage:
        return _Storage(self.dtype, numbers)


def _stored(data: bytes) -> _Storage:
    """A storage that was pickled inside a pickle, in torch's legacy format."""
    found = _load(io.BytesIO(data))
    numbers = torch.tensor([], dtype=found.dtype).set_(found)
    return _Storage(found.dtype, numbers)


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: object) -> Tensor:
    del rest
    numbers = storage.numbers
    if numbers is None or min((*size, *stride, offset), default=0) < 0:
        raise pickle.UnpicklingError("a tensor without numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else offset - 1
    if last >= numbers.numel():
        raise pickle.UnpicklingError("a tensor larger than its numbers")
    return torch.as_strided(numbers, size, stride, offset)


def _parameter(data: Tensor, *rest: object) -> Tensor:
    del rest
    return data


def _module(meta: dict[str, Any]) -> Module:
    made = Module()
    made.__setstate__(meta.get("state"))
    return made


def _same(value: Any) -> Any:
    return value


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set, ("builtins", "slice"): slice,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _stored,
    ("torch", "Size"): tuple,
    ("torch.jit._pickle", "build_intlist"): _same, ("torch.jit._pickle", "build_boollist"): _same,
    ("torch.jit._pickle", "build_doublelist"): _same, ("torch.jit._pickle", "build_tensorlist"): _same,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("dnnlib.util", "EasyDict"): dict,
}


class _Restricted(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, storage: Callable[[Any], _Storage] | None = None) -> None:
        super().__init__(file)
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return Module
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no checkpoint needs")
        return found

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is None:
            raise pickle.UnpicklingError("a reference to something outside the file")
        return self.storage(pid)


def tensors_of(found: object, prefix: str = "") -> dict[str, Tensor]:
    """All tensors in nested dicts and modules, by dotted name, as `state_dict` would call them."""
    if isinstance(found, Tensor):
        return {prefix: found.detach()}
    if isinstance(found, Module):
        inside = found.attributes
        if "_modules" in inside:  # an eager module's attributes
            parts = {**(inside.get("_parameters") or {}), **(inside.get("_buffers") or {}), **inside["_modules"]}
        else:
            parts = inside
    elif isinstance(found, dict):
        parts = found
    else:
        return {}
    tensors: dict[str, Tensor] = {}
    for key, value in parts.items():
        tensors |= tensors_of(value, f"{prefix}.{key}" if prefix else str(key))
    return tensors
