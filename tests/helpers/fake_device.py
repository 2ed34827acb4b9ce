"""Fakes a GPU on machines without one: tensors claim to be on another device, and cannot be mixed with the CPU's.

Their numbers are computed on the CPU, so that results can be compared. But whatever would stop a run on a GPU stops it:
tensors of two devices in one operation, or a result that is converted to an array before it is copied to the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")  # the one device that every build of torch knows
MOVES = ("aten::_to_copy", "aten::copy_")


class Far(Tensor):
    """Wraps a tensor that claims to be on the fake device.

    Attributes:
        near: the tensor with its numbers, on the CPU.
    """

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        far = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, strides=near.stride(), dtype=near.dtype, storage_offset=near.storage_offset(),
            device=ELSEWHERE)
        far.near = near
        return far  # type: ignore[no-any-return]

    # Torch itself would make and move these tensors, and knows that tensors on "meta" have no numbers to copy.
    def new_tensor(self, data: Any, **more: Any) -> Far:
        return Far(torch.tensor(data, dtype=more.get("dtype", self.dtype)))

    def tolist(self) -> Any:
        return self.near.tolist()

    def __getitem__(self, where: Any) -> Any:
        return super().__getitem__(_taken_along(where))

    def __setitem__(self, where: Any, value: Any) -> None:
        super().__setitem__(_taken_along(where), value)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Far({self.near!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Makes it possible, in its `with` block, to create tensors on the fake device and to move them there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # in inference mode composite operations are not split up beforehand
            found = func.decompose(*args, **(kwargs or {}))
        return _run(func, args, kwargs or {}) if found is NotImplemented else found


def _taken_along(where: Any) -> Any:
    """Moves indices to the fake device: lists and tensors on the CPU can index a GPU's tensor as well."""
    if isinstance(where, tuple):
        return tuple(map(_taken_along, where))
    if isinstance(where, list):
        return Far(torch.tensor(where))
    return Far(where) if isinstance(where, Tensor) and not isinstance(where, Far) else where


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, asked = func._schema.name, kwargs.get("device")
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    far = [one for one in tensors if isinstance(one, Far)]
    here = [tuple(one.shape) for one in tensors if not isinstance(one, Far) and one.ndim]  # scalars may be mixed
    if far and here and name not in MOVES:
        raise RuntimeError(f"{name}: tensors here {here} and elsewhere {[tuple(one.shape) for one in far]}")
    known = {id(one.near): one for one in far}
    args, kwargs = tree_map(lambda one: one.near if isinstance(one, Far) else one, (args, kwargs))
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    with torch.inference_mode(False), torch.no_grad():
        out = func(*args, **kwargs)
        away = bool(far) if asked is None else torch.device(asked) == ELSEWHERE
        if name == "aten::copy_":
            away = id(out) in known

        def placed(one: Any) -> Any:
            if not (away and isinstance(one, Tensor)):
                return one
            return known[id(one)] if id(one) in known else Far(one)

        return tree_map(placed, out)
