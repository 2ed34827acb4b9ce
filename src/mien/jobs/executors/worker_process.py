"""Opens a worker in a process of its own."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

from mien.anonymizer.load import prepare
from mien.errors import ModelError
from mien.jobs.request import Request
from mien.jobs.worker import Worker
from mien.util.memory import keep_freed_memory
from mien.util.threads import use_threads


def open_worker(request: Request, threads: int, device: str) -> Worker:
    """Loads what a worker needs, in a process that does nothing else.

    Args:
        threads: number of threads that compute. device: device of the networks, see `mien.util.devices`.

    Raises:
        ModelError: the weights on this machine are not those of the run.
    """
    use_threads(threads)
    keep_freed_memory()
    loaded = prepare(request.recipe, device=device)
    if loaded.weights != request.weights:
        raise ModelError("a worker has other weights than the run",
                         "give all machines the same weights; on each of them run: mien models check")
    return Worker(request, loaded.networks, loaded.pool)


def end_with_parent() -> None:
    """Makes this process end when the process that started it ends, in whatever way."""
    parent = parent_process()
    if parent is not None:
        def watch() -> None:
            wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
