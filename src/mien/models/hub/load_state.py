"""Filling a network from a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mien.errors import ModelError

M = TypeVar("M", bound=nn.Module)


def load_into(network: M, path: Path, name: str, hint: str = "run: mien models import FILE") -> M:
    """Fill a network, all tensors required and no others; its precision is kept, whatever the file's.

    Raises:
        ModelError: the file cannot be read or holds something else.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold {name}: {str(error).splitlines()[0]}", hint) from error
    return network
