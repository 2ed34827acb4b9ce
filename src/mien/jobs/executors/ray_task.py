"""What a process of Ray runs. It imports nothing heavy: torch must not be loaded before the wait policy is set."""

from __future__ import annotations

from typing import Any

from mien.util.wait_policy import wait_asleep

_workers: dict[str, Any] = {}  # of the run at work in this process, by its key


def _do(key: str, data: bytes) -> None:
    """Does a task; the worker stays for the next one.

    Args:
        key: names the run. data: what makes its worker, and the task, pickled.
    """
    wait_asleep()
    from ray import cloudpickle

    opener, task = cloudpickle.loads(data)
    if key not in _workers:
        _workers.clear()
        _workers[key] = opener()
    _workers[key].do(task)
