"""A Ray cluster: tasks go to whichever machine has room; results are files, so SRC, DST and WORK are shared by all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mien.errors import MienError, UsageError
from mien.jobs.executors.dispatch import WorkerDied, dispatch
from mien.jobs.executors.worker_process import open_worker
from mien.jobs.request import Request
from mien.jobs.worker import ShardProgressFn, Task, Worker


class RayExecutor:
    """Tasks of Ray, one core (or `threads`) and, where it computes on GPUs, one GPU each; the driver holds no pictures.

    Args:
        device: auto (GPUs where the cluster has some), cpu or cuda: which of them, Ray decides.

    Raises:
        UsageError: Ray is not installed, or the cluster does not answer or has no GPU to give. MienError: none starts.
    """

    leads = True

    def __init__(self, request: Request, workers: int | None = None, threads: int = 1, device: str = "auto") -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("Ray is not installed", "run: pip install 'mien[ray]'") from error
        self.ray: Any = ray
        if not ray.is_initialized():
            _begin(ray)
        room = self.ray.cluster_resources()
        if device == "cuda" and room.get("GPU", 0) < 1:
            self.ray.shutdown()
            raise UsageError("the cluster has no GPU to give", "leave --device out, or take --device cpu")
        gpus = int(device != "cpu" and room.get("GPU", 0) >= 1)
        self.workers = workers or max(1, int(room.get("GPU", 1) if gpus else room.get("CPU", 1) // threads))
        # Small, and so sent with each task: what is put into the store takes this process along when the node dies.
        self.opener = partial(_open_in, Path.cwd(), open_worker, request, threads, "cuda" if gpus else "cpu")
        self.key = os.urandom(8).hex()  # of this run, in processes that others may have used before
        self.remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0,
                                 max_calls=0)(_do)  # processes with a GPU would end after each task

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        yield from dispatch(tasks, self._submit, lambda: None, self.workers)

    def _submit(self, task: Task) -> Future[None]:
        answer: Future[None] = Future()
        self.remote.remote(self.key, self.opener, task).future().add_done_callback(partial(self._pass_on, answer))
        return answer

    def _pass_on(self, answer: Future[None], future: Future[None]) -> None:
        error = future.exception()
        if answer.cancelled():
            return
        if error is None:
            answer.set_result(None)
        elif isinstance(error, self.ray.exceptions.RayTaskError):
            answer.set_exception(error.cause or error)  # what the task itself raised
        elif isinstance(error, self.ray.exceptions.LocalRayletDiedError):
            answer.set_exception(MienError("Ray's node on this machine is gone", "run the same command again"))
        else:
            answer.set_exception(WorkerDied(type(error).__name__))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ray.shutdown()


def _begin(ray: Any) -> None:
    """Join the cluster that RAY_ADDRESS names; without it one is started on this machine.

    Raises:
        UsageError: the cluster does not answer. MienError: none comes up here.
    """
    try:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    except Exception as error:  # Ray raises it as it is, where a part of a new cluster dies before all are there
        said = str(error).partition("\n")[0]
        if isinstance(error, ConnectionError) and "RAY_ADDRESS" in os.environ:
            raise UsageError(f"no Ray cluster answers at {os.environ['RAY_ADDRESS']}: {said}",
                             "start it, or unset RAY_ADDRESS for one on this machine") from error
        raise MienError(f"Ray does not start: {said}", "run the same command again") from error


def _open_in(folder: Path, opener: Callable[..., Worker], *what: Any) -> Worker:
    """Paths that the owner gave may go from the driver's folder; a cluster's processes were started elsewhere."""
    with suppress(OSError):  # not there on this machine: whole paths may be all the same
        os.chdir(folder)
    return opener(*what)


_workers: dict[str, Worker] = {}


def _do(key: str, opener: Callable[[], Worker], task: Task) -> None:
    """In a process of Ray: the worker stays for the next task."""
    if key not in _workers:
        _workers.clear()
        _workers[key] = opener()
    _workers[key].do(task)
