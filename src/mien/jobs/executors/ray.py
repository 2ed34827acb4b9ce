"""Does tasks on a Ray cluster. Results are files, so all its machines must have access to SRC, DST and WORK."""

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
from mien.jobs.executors.ray_task import _do
from mien.jobs.executors.worker_process import open_worker
from mien.jobs.request import Request
from mien.jobs.task import ShardProgressFn, Task
from mien.jobs.worker import Worker


class RayExecutor:
    """Gives each task to Ray with `threads` cores and, where it computes on GPUs, one GPU.

    Args:
        workers: number of tasks at once; None: as many as the cluster has room for.
        threads: number of cores of a task.
        device: "auto" (GPUs where the cluster has some), "cpu" or "cuda"; Ray decides which GPU.

    Raises:
        UsageError: Ray is not installed, or the cluster does not answer or has no GPU. MienError: no cluster starts.
    """

    def __init__(self, request: Request, workers: int | None = None, threads: int = 1, device: str = "auto") -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("Ray is not installed", "run: pip install 'mien[ray]'") from error
        self.ray: Any = ray
        self.joined = not ray.is_initialized()
        if self.joined:
            _begin(ray)
        resources = self.ray.cluster_resources()
        if device == "cuda" and resources.get("GPU", 0) < 1:
            self.close()
            raise UsageError("the cluster has no GPU to give", "leave out --device, or give --device cpu")
        gpus = int(device != "cpu" and resources.get("GPU", 0) >= 1)
        self.workers = workers or max(1, int(resources.get("GPU", 1) if gpus else resources.get("CPU", 1) // threads))
        # It is small, and sent with each task: an object in Ray's store would end this process when its node dies.
        self.opener = partial(_open_in, Path.cwd(), open_worker, request, threads, "cuda" if gpus else "cpu")
        self.key = os.urandom(8).hex()  # names this run in processes that other runs may have used before
        self.remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0,
                                 max_calls=0)(_do)  # processes with a GPU would end after each task

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        yield from dispatch(tasks, self._submit, lambda: None, self.workers)

    def _submit(self, task: Task) -> Future[None]:
        answer: Future[None] = Future()
        data = self.ray.cloudpickle.dumps((self.opener, task))
        self.remote.remote(self.key, data).future().add_done_callback(partial(self._pass_on, answer))
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
        """Leaves the cluster, unless the caller had joined it before; one that was started here ends."""
        if self.joined:
            self.ray.shutdown()


def _begin(ray: Any) -> None:
    """Joins the cluster that RAY_ADDRESS names, or else starts one on this machine.

    Raises:
        UsageError: the cluster does not answer. MienError: no cluster starts here.
    """
    try:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    except Exception as error:  # Ray raises a plain Exception where a part of a new cluster dies too early
        reason = str(error).partition("\n")[0]
        if isinstance(error, ConnectionError) and "RAY_ADDRESS" in os.environ:
            raise UsageError(f"no Ray cluster answers at {os.environ['RAY_ADDRESS']}: {reason}",
                             "start it, or unset RAY_ADDRESS for one on this machine") from error
        raise MienError(f"Ray does not start: {reason}", "run the same command again") from error


def _open_in(folder: Path, opener: Callable[..., Worker], *arguments: Any) -> Worker:
    """Opens a worker in the driver's folder: paths of the owner's may be relative to it."""
    with suppress(OSError):  # the folder may be missing on this machine, where absolute paths still work
        os.chdir(folder)
    return opener(*arguments)
