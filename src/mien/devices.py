"""The devices that networks compute on: this machine's processor, or GPUs. All else lies in the machine's memory."""

from __future__ import annotations

import os

import torch

from mien.errors import UsageError

CPU = torch.device("cpu")


def open_device(name: str) -> torch.device:
    """The device of a name: cpu, cuda, cuda:1 or whatever torch knows.

    Args:
        name: auto: what the environment's MIEN_DEVICE says, else a GPU where there is one.

    Raises:
        UsageError: there is no such device here.
    """
    name = os.environ.get("MIEN_DEVICE", "auto") if name == "auto" else name
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else CPU
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # else a wrong number would be heard of in the midst of a run
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise UsageError(f"there is no device {name!r}: {reason}", "devices: auto, cpu, cuda, cuda:1, ...") from error
    return device


def listed(names: str) -> tuple[str, ...]:
    """The devices of a list, as in cuda:0,cuda:1.

    Raises:
        UsageError: one has no name.
    """
    devices = tuple(name.strip() for name in names.split(","))
    if "" in devices:
        raise UsageError(f"--device {names}: a device without a name", "for instance: --device cuda:0,cuda:1")
    return devices
