"""Opens the device that networks compute on: the CPU or a GPU. Everything else stays in the machine's main memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mien.errors import UsageError

CPU = torch.device("cpu")


def resolve_auto(name: str) -> str:
    """Resolves `auto` to $MIEN_DEVICE if that is set; returns every other name unchanged."""
    return (os.environ.get("MIEN_DEVICE") or "auto") if name == "auto" else name


def open_device(name: str) -> torch.device:
    """Returns the device of a name, once it has computed something.

    Args:
        name: cpu, cuda, cuda:1 or whatever torch knows; auto is $MIEN_DEVICE if that is set, else a GPU if there is
            one that computes, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    name = resolve_auto(name)
    try:
        if name == "auto":
            return _checked("cuda:0") if torch.cuda.is_available() else CPU
        return _checked(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts
        if name == "auto":
            return CPU  # a GPU that is too old for this torch, full, or reserved for another process
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise UsageError(f"there is no device {name!r}: {reason}", "devices: auto, cpu, cuda, cuda:1, ...") from error


def _checked(name: str) -> torch.device:
    """Runs a tiny convolution, so that a broken GPU fails here rather than mid-run."""
    device = torch.device(name)
    if device.type != "cpu":
        torch.conv2d(torch.zeros(1, 1, 4, 4, device=device), torch.zeros(1, 1, 3, 3, device=device)).cpu()
    return device


@contextmanager
def memory_errors(faces: int) -> Iterator[None]:
    """Turns an error of a device's memory into one that says what to do.

    Args:
        faces: how many the device computes at once.

    Raises:
        UsageError: the device has too little memory for them.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(f"the device has too little memory for {faces} faces at once",
                         f"give a new DST and --batch {max(faces // 2, 1)}, or fewer workers a device") from error


def split_devices(names: str) -> tuple[str, ...]:
    """Splits a list of device names, as in cuda:0,cuda:1.

    Raises:
        UsageError: one of them is empty.
    """
    devices = tuple(name.strip() for name in names.split(","))
    if "" in devices:
        raise UsageError(f"--device {names}: a device without a name", "for instance: --device cuda:0,cuda:1")
    return devices
