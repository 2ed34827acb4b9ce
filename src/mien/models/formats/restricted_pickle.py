"""Reads pickles with an unpickler that builds tensors and plain containers, and nothing else.

It is used for all formats in place of `torch.load(weights_only=True)`, which reads neither TorchScript archives nor
NVIDIA's pickles, so that it would only be a second unpickler. Before torch 2.10, which mien supports from 2.6 on, a
hostile file could also corrupt memory through it (CVE-2026-24747: SETITEM on tensors, storages shorter than they say).

It extends Python's own unpickler, not the faster one in C, which allocates as much memory as a pickle of ten bytes asks
for. Storages and tensors are charged to a budget, the size of the file, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

_DTYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "DoubleStorage": torch.float64,
           "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16,
           "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
           "BFloat16Storage": torch.bfloat16}


class Module:
    """A stand-in for an object of any other class: it has the object's attributes, but not its class."""

    attributes: dict[str, Any]

    def __new__(cls, *arguments: object) -> Module:
        del arguments
        made = super().__new__(cls)
        made.attributes = {}
        return made

    def keep(self, state: object) -> None:
        """Stores the attributes that the object's class would have received."""
        if isinstance(state, dict):
            self.attributes = state


class Fields(dict[Any, Any]):
    """A stand-in for other kinds of dicts: ordered ones, and those with attributes."""

    def __init__(self, pairs: object = ()) -> None:
        super().__init__(pairs if isinstance(pairs, list) else ())


class Storage:
    """A typed block of numbers; it has no numbers while it only stands for its type."""

    def __init__(self, dtype: torch.dtype, numbers: Tensor | None = None) -> None:
        self.dtype, self.numbers = dtype, numbers

    def of(self, data: Tensor, count: int, first: int = 0) -> Storage:
        """Returns a storage of `count` numbers in raw bytes, starting with number `first`.

        Raises:
            UnpicklingError: the bytes hold fewer numbers.
        """
        size = self.dtype.itemsize
        if not _whole(count, first) or (first + count) * size > len(data):
            raise pickle.UnpicklingError("a storage shorter than it says")
        return Storage(self.dtype, data[first * size : (first + count) * size].view(self.dtype))


class Budget:
    """The bytes of storages and the numbers in tensors that a file may still ask for."""

    def __init__(self, size: int) -> None:
        self.bytes = self.numbers = size

    def take(self, size: int = 0, numbers: int = 0) -> None:
        """Charges bytes or numbers.

        Raises:
            UnpicklingError: the file asks for more than it holds.
        """
        if not _whole(size, numbers):
            raise pickle.UnpicklingError("a size that is none")
        self.bytes -= size
        self.numbers -= numbers
        if min(self.bytes, self.numbers) < 0:
            raise pickle.UnpicklingError("it asks for more numbers than the file holds")


def _whole(*numbers: object) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def _parameter(data: Tensor, *rest: object) -> Tensor:
    del rest
    return data


def _persistent(meta: dict[str, Any]) -> Module:
    """Builds the stand-in of one of NVIDIA's objects; the source code of its class, also in `meta`, is ignored."""
    made = Module()
    made.keep(meta.get("state"))
    return made


def _same(value: Any) -> Any:
    return value


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): Fields, ("dnnlib.util", "EasyDict"): Fields, ("torch", "Size"): _same,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.jit._pickle", "build_intlist"): _same, ("torch.jit._pickle", "build_boollist"): _same,
    ("torch.jit._pickle", "build_doublelist"): _same, ("torch.jit._pickle", "build_tensorlist"): _same,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    # Objects in checkpoints that are not needed; NVIDIA's gains are numpy's numbers.
    ("argparse", "Namespace"): Module, ("builtins", "set"): Module, ("__builtin__", "set"): Module,
    ("torch", "device"): Module, ("_codecs", "encode"): Module, ("numpy", "dtype"): Module,
    ("numpy.core.multiarray", "scalar"): Module, ("numpy._core.multiarray", "scalar"): Module,
}


def _into(code: bytes, kind: type, place: int = 0) -> Callable[[Any], None]:
    """Restricts an opcode that adds to a container to that kind of container, as tensors have such methods too."""
    load = pickle._Unpickler.dispatch[code[0]]

    def guarded(reader: Any) -> None:
        target = reader.stack[place] if place else reader.metastack[-1][-1]
        if not isinstance(target, kind):
            raise pickle.UnpicklingError("contents for something that has none")
        load(reader)

    return guarded


def _marked(reader: Any) -> None:
    items = reader.pop_mark()
    reader.append(items)


def _last(reader: Any, count: int) -> None:
    reader.stack[-count:] = [reader.stack[-count:]]


class Restricted(pickle._Unpickler):
    """Reads one pickle from `file`, and not a byte more.

    Args:
        storage: turns a reference to something outside the pickle into a storage.
        nested: turns the bytes of a storage that was pickled within the pickle into a storage.
    """

    def __init__(self, file: BinaryIO, budget: Budget, storage: Callable[[Any], Storage] | None = None,
                 nested: Callable[[bytes], Storage] | None = None) -> None:
        super().__init__(file, encoding="utf-8")  # of the strings of Python 2, as in torch
        self.budget, self.storage, self.nested = budget, storage, nested

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return Module
        if module == "torch" and name in _DTYPES:
            return Storage(_DTYPES[name])
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("torch.storage", "_load_from_bytes") and self.nested:
            return self.nested
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no checkpoint needs")
        return found

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is None:
            raise pickle.UnpicklingError("a reference to something outside the file")
        return self.storage(pid)

    def load(self) -> Any:
        try:
            return super().load()
        except KeyError as error:
            raise pickle.UnpicklingError("it is no pickle") from error

    def _tensor(self, storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int],
                *rest: object) -> Tensor:
        del rest
        numbers = storage.numbers
        if numbers is None or not isinstance(size, list | tuple) or not _whole(offset, *size, *stride):
            raise pickle.UnpicklingError("a tensor without numbers")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and last >= numbers.numel():
            raise pickle.UnpicklingError("a tensor larger than its numbers")
        self.budget.take(numbers=math.prod(size))
        return torch.as_strided(numbers, size, stride, numbers.storage_offset() + offset)

    def _build(self: Any) -> None:
        """Sets attributes of stand-ins only; else a pickle could change objects of torch and of this module."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, Module):
            made.keep(state)
        elif not isinstance(made, Fields):  # their attributes, the versions of layers, are not needed
            raise pickle.UnpicklingError("attributes for something that has none")

    # Tuples become lists: hashing deeply nested tuples, each of which holds the next one twice, would never end.
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _into(pickle.SETITEM, dict, -3), pickle.SETITEMS[0]: _into(pickle.SETITEMS, dict),
        pickle.APPEND[0]: _into(pickle.APPEND, list, -2), pickle.APPENDS[0]: _into(pickle.APPENDS, list),
        pickle.ADDITEMS[0]: _into(pickle.ADDITEMS, set),
        pickle.TUPLE[0]: _marked,
        pickle.TUPLE1[0]: lambda reader: _last(reader, 1), pickle.TUPLE2[0]: lambda reader: _last(reader, 2),
        pickle.TUPLE3[0]: lambda reader: _last(reader, 3),
    }
    del dispatch[pickle.BYTEARRAY8[0]]  # it allocates the memory before it has read the bytes


def check_reference(kind: object, dtype: object, key: object, count: object) -> Storage:
    """Checks a reference out of a pickle, and returns the storage that stands for its type.

    Raises:
        UnpicklingError: the reference is to something else than a storage.
    """
    if kind != "storage" or not isinstance(dtype, Storage) or type(key) is not str or not _whole(count):
        raise pickle.UnpicklingError("a reference to something else than a storage")
    return dtype


def fill(raw: Tensor, file: Any) -> Tensor:
    """Fills bytes [N] uint8 from a file and returns them.

    Raises:
        UnpicklingError: the file has fewer bytes.
    """
    view, done = raw.numpy().data, 0
    while done < len(raw):
        count = file.readinto(view[done:])
        if not count:
            raise pickle.UnpicklingError("it ends before its numbers do")
        done += count
    return raw


def read_legacy(file: BinaryIO, budget: Budget, nested: Callable[[bytes], Storage] | None = None) -> Any:
    """Reads torch's format before 1.6: five pickles, then the storages one after the other.

    Raises:
        UnpicklingError: it is another format, cut short, or asks for more than it holds.
    """
    magic, protocol, _ = (Restricted(file, budget).load() for _ in range(3))
    if magic != torch.serialization.MAGIC_NUMBER or protocol != torch.serialization.PROTOCOL_VERSION:
        raise pickle.UnpicklingError("not torch's older format")
    storages: dict[str, tuple[Storage, Tensor]] = {}

    def storage(identity: Any) -> Storage:
        kind, dtype, key, _, count, *view = identity
        dtype = check_reference(kind, dtype, key, count)
        if key not in storages:
            budget.take(count * dtype.dtype.itemsize)
            storages[key] = dtype, torch.empty(count * dtype.dtype.itemsize, dtype=torch.uint8)
        raw = storages[key][1]
        _, first, part = (view[0] if view else None) or (None, 0, count)
        return dtype.of(raw, part, first)

    content = Restricted(file, budget, storage, nested).load()
    waiting = dict(storages)
    for key in Restricted(file, budget).load():
        if type(key) is not str or key not in waiting:
            raise pickle.UnpicklingError("a storage that nothing refers to")
        dtype, raw = waiting.pop(key)
        if int.from_bytes(file.read(8), "little") * dtype.dtype.itemsize != len(raw):
            raise pickle.UnpicklingError("a storage of another size than it says")
        fill(raw, file)
    if waiting:
        raise pickle.UnpicklingError("a storage is missing")
    return content


def read_pickle(file: BinaryIO, budget: Budget) -> Any:
    """Reads an ordinary pickle, which contains its storages in torch's older format.

    Raises:
        UnpicklingError: it asks for anything that a checkpoint does not need.
    """

    def nested(data: bytes) -> Storage:
        found = read_legacy(io.BytesIO(data), budget)
        if not isinstance(found, Storage):
            raise pickle.UnpicklingError("something else where a storage should be")
        return found

    return Restricted(file, budget, nested=nested).load()
