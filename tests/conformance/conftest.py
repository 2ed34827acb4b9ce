"""Fixtures for the published networks: weights filled by a rule, and the numbers the reference networks give."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[3] / "shared" / "conformance"

READ: set[tuple[str, str]] = set()  # (npz, array) that some test has asked for
States = Callable[..., dict[str, torch.Tensor]]


class Arrays(dict[str, np.ndarray[Any, Any]]):
    """The arrays of one npz; what is asked for is written down."""

    def __init__(self, name: str, content: Mapping[str, np.ndarray[Any, Any]]) -> None:
        super().__init__(content)
        self.name = name

    def __getitem__(self, key: str) -> np.ndarray[Any, Any]:
        READ.add((self.name, key))
        return super().__getitem__(key)


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of the conformance vectors; without it the test is skipped."""
    if not (FOLDER / "fill.py").exists():
        pytest.skip("the conformance vectors are not at ../shared/conformance")
    return FOLDER


@pytest.fixture(scope="session")
def fill(folder: Path) -> ModuleType:
    """The vectors' own program: weights, pictures and codes by name."""
    spec = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def filled(folder: Path, fill: ModuleType) -> States:
    """Returns a function from a manifest's name (and a prefix to take off) to its filled tensors."""

    def state(name: str, prefix: str = "") -> dict[str, torch.Tensor]:
        arrays = fill.load(str(folder / f"{name}.manifest.json"), prefix, prefix)
        return {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}

    return state


@pytest.fixture(scope="session")
def manifest(folder: Path) -> Callable[[str], dict[str, Any]]:
    """Returns a function from a name to its manifest."""
    return lambda name: json.loads((folder / f"{name}.manifest.json").read_text())


@pytest.fixture(scope="session")
def vectors(folder: Path) -> Callable[[str], Arrays]:
    """Returns a function from a name to the reference network's numbers."""

    def load(name: str) -> Arrays:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as found:
            return Arrays(name, found)

    return load


@pytest.fixture(scope="session")
def arrays_read() -> set[tuple[str, str]]:
    """(npz, array) of all that tests have asked for so far."""
    return READ


@pytest.fixture(scope="session")
def waves(fill: ModuleType) -> Callable[..., torch.Tensor]:
    """Returns a function from names to a batch of their made-up pictures [B, C, H, W], in -1..1 unless told."""

    def batch(*names: str, size: tuple[int, int], low: float = -1.0) -> torch.Tensor:
        return torch.from_numpy(np.stack([fill.wave_image(name, 3, *size, low, 1) for name in names]))

    return batch
