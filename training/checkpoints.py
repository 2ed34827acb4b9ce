"""Saves and loads checkpoints, so that a killed training goes on, and saves final weights in half precision."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mien.util.files import replace_file

Network = TypeVar("Network", bound=nn.Module)
MEAN = 0.998  # share of a running mean of weights that is kept at a step


def save_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, step: int,
                    mean: dict[str, Tensor] | None = None) -> None:
    """Saves weights, the optimizer's state and the number of steps taken; a kill leaves the earlier checkpoint.

    Args:
        mean: the running mean of the weights, where there is one.
    """
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "mean": mean or {}}
    replace_file(path, partial(_save, state))


def _save(state: dict[str, object], path: Path) -> None:
    with path.open("wb") as file:  # torch refuses to open a hidden file by its name
        torch.save(state, file)


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer,
                    mean: dict[str, Tensor] | None = None) -> int:
    """Loads what `save_checkpoint` saved, if anything, and returns the number of steps taken, 0 without."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    if mean is not None:
        mean.update(state["mean"])
    return int(state["step"])


def save_half(network: nn.Module, path: Path) -> None:
    """Writes final weights as float16 (safetensors)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in network.state_dict().items()}, path)


class Averaged(Generic[Network]):
    """Keeps a running mean of a network's weights."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.mean = {key: value.clone() for key, value in network.state_dict().items()}

    def update(self, step: int) -> None:
        """Moves the mean towards the current weights; early steps move it more."""
        keep = min(MEAN, (1 + step) / (10 + step))
        for key, value in self.network.state_dict().items():
            self.mean[key].lerp_(value, 1 - keep)

    def copy(self) -> Network:
        """Returns another network with the mean weights, to be measured while the training goes on."""
        other = type(self.network)()
        other.load_state_dict(self.mean)
        return other.eval()
