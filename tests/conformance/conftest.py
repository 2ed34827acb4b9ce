"""Fixtures for the published networks: weights filled by a rule, and the numbers the reference networks give.

Nothing here may be skipped, so that a green run means that every number was compared: a skip counts as a failure, even
with MIEN_OFFLINE=1 where the weights that a test needs are not in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from conformance.data import fill as filling

HERE = Path(__file__).parent
LAST = "test_zz_everything_compared.py"
READ: set[tuple[str, str]] = set()  # (npz, array) that some test has asked for
States = Callable[..., dict[str, torch.Tensor]]
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def failed_if_skipped(report: Report) -> Report:
    """Turns a skip, or an expected failure, into a failure that names the reason."""
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
        report.outcome, report.longrepr = "failed", f"no conformance test may be skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails the tests of this folder that are skipped."""
    return failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fails the files of this folder that are skipped."""
    return failed_if_skipped((yield))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the test that every array was compared when only some of the conformance tests are to run."""
    narrowed = any("::" in argument for argument in config.args) or config.option.keyword
    if narrowed or set(HERE.glob("test_*.py")) - {item.path for item in items}:
        config.hook.pytest_deselected(items=[item for item in items if item.path == HERE / LAST])
        items[:] = [item for item in items if item.path != HERE / LAST]


class Arrays(dict[str, np.ndarray[Any, Any]]):
    """The arrays of one npz. It records which of them are asked for."""

    def __init__(self, name: str, content: Mapping[str, np.ndarray[Any, Any]]) -> None:
        super().__init__(content)
        self.name = name

    def __getitem__(self, key: str) -> np.ndarray[Any, Any]:
        READ.add((self.name, key))
        return super().__getitem__(key)


@pytest.fixture(scope="session")
def fill() -> ModuleType:
    """The program beside the numbers, which fills weights and draws pictures and codes by name."""
    return filling


@pytest.fixture(scope="session")
def filled() -> States:
    """Returns a function from a network's name (and a prefix to take off its keys) to its filled tensors."""

    def state(name: str, prefix: str = "") -> dict[str, torch.Tensor]:
        return {key: torch.from_numpy(value) for key, value in filling.load(name, prefix).items()}

    return state


@pytest.fixture(scope="session")
def manifest() -> Callable[[str], dict[str, Any]]:
    """Returns a function from a network's name to its manifest."""
    return filling.manifest


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Arrays]:
    """Returns a function from a name to the reference network's numbers."""

    def load(name: str) -> Arrays:
        with np.load(HERE / "data" / f"{name}.npz", allow_pickle=False) as found:
            return Arrays(name, found)

    return load


@pytest.fixture(scope="session")
def arrays_read() -> set[tuple[str, str]]:
    """The pairs (npz, array) that tests have asked for so far."""
    return READ


@pytest.fixture(scope="session")
def waves() -> Callable[..., torch.Tensor]:
    """Returns a function from names to a batch of their wave pictures [B, 3, H, W], in -1..1 by default."""

    def batch(*names: str, size: tuple[int, int], low: float = -1.0) -> torch.Tensor:
        return torch.from_numpy(np.stack([filling.wave_image(name, 3, *size, low, 1) for name in names]))

    return batch
