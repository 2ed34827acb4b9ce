"""The devices that networks compute on: this machine's processor, or GPUs. All else lies in the machine's memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mien.errors import UsageError

CPU = torch.device("cpu")


def named(name: str) -> str:
    """What auto stands for, where the environment's MIEN_DEVICE says it; any other name is itself."""
    return (os.environ.get("MIEN_DEVICE") or "auto") if name == "auto" else name


def open_device(name: str) -> torch.device:
    """The device of a name: cpu, cuda, cuda:1 or whatever torch knows.

    Args:
        name: auto: what the environment's MIEN_DEVICE says, else a GPU where there is one that computes.

    Raises:
        UsageError: there is no such device here.
    """
    name = named(name)
    try:
        if name == "auto":
            return _tried("cuda:0") if torch.cuda.is_available() else CPU
        return _tried(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts
        if name == "auto":
            return CPU  # a GPU too old for this torch, full, or somebody else's alone
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise UsageError(f"there is no device {name!r}: {reason}", "devices: auto, cpu, cuda, cuda:1, ...") from error


def _tried(name: str) -> torch.device:
    """The device, once it has computed something: what is wrong should not be heard of in the midst of a run."""
    device = torch.device(name)
    if device.type != "cpu":
        torch.conv2d(torch.zeros(1, 1, 4, 4, device=device), torch.zeros(1, 1, 3, 3, device=device)).cpu()
    return device


@contextmanager
def enough_memory(faces: int) -> Iterator[None]:
    """Say what to do where a device's memory is too small for so many faces at once.

    Raises:
        UsageError: it is.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(f"the device has too little memory for {faces} faces at once",
                         f"give a new DST and --batch {max(faces // 2, 1)}, or fewer workers a device") from error


def listed(names: str) -> tuple[str, ...]:
    """The devices of a list, as in cuda:0,cuda:1.

    Raises:
        UsageError: one has no name.
    """
    devices = tuple(name.strip() for name in names.split(","))
    if "" in devices:
        raise UsageError(f"--device {names}: a device without a name", "for instance: --device cuda:0,cuda:1")
    return devices
