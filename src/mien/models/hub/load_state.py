"""Loads the weights of a network from a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mien.errors import ModelError
from mien.models.hints import IMPORT

M = TypeVar("M", bound=nn.Module)


def load_into(network: M, path: Path, name: str, hint: str = IMPORT) -> M:
    """Loads weights into a network and returns it.

    The file must have all of the network's tensors and no others. The network keeps its precision, whatever the file's.

    Args:
        name: the network's name in the error message. hint: what the error tells the user to do.

    Raises:
        ModelError: the file cannot be read or does not hold this network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold {name}: {str(error).splitlines()[0]}", hint) from error
    return network
