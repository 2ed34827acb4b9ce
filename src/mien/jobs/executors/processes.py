"""Several processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.queues import SimpleQueue

from mien.jobs.executors.dispatch import WorkerDied, dispatch
from mien.jobs.executors.worker_process import end_with_parent, open_worker
from mien.jobs.request import Request
from mien.jobs.worker import ShardProgressFn, Task, Worker


class ProcessExecutor:
    """So many processes, each with its own copy of the networks; one that dies is replaced, and its shard done again.

    They end with this one, even if it is killed.

    Args:
        threads: of each. devices: given out in turn.
    """

    leads = True

    def __init__(self, request: Request, workers: int, threads: int, devices: Sequence[str] = ("auto",)) -> None:
        self.workers = workers
        self.devices = devices
        self.opener = partial(open_worker, request, threads)
        self.pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        yield from dispatch(tasks, self._submit, self._revive, self.workers)

    def _submit(self, task: Task) -> Future[None]:
        """A future of its own, so that the death of the pool becomes the task's."""
        answer: Future[None] = Future()
        try:
            self.pool = self.pool or self._opened()
            self.pool.submit(_do, task).add_done_callback(partial(_pass_on, answer))
        except BrokenProcessPool as error:
            answer.set_exception(WorkerDied(str(error)))
        return answer

    def _opened(self) -> ProcessPoolExecutor:
        # Forking a process in which networks have computed would hang in their threads.
        context = multiprocessing.get_context("spawn")
        places: SimpleQueue[str] = context.SimpleQueue()
        for number in range(self.workers):
            places.put(self.devices[number % len(self.devices)])
        return ProcessPoolExecutor(self.workers, context, _open, (self.opener, places))

    def _revive(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
        self.pool = None

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        if self.pool is not None:
            for process in list((self.pool._processes or {}).values()):
                process.terminate()
        self._revive()


def _pass_on(answer: Future[None], future: Future[None]) -> None:
    if answer.cancelled():
        return
    error = None if future.cancelled() else future.exception()
    if future.cancelled() or isinstance(error, BrokenProcessPool):
        answer.set_exception(WorkerDied("a process ended before its time"))
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(None)


_worker: Worker | None = None
_opener: Callable[[], Worker] | None = None


def _open(opener: Callable[[str], Worker], places: SimpleQueue[str]) -> None:
    global _opener
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started us; we end with it
    _opener = partial(opener, places.get())


def _do(task: Task) -> None:
    global _worker
    if _worker is None:
        assert _opener is not None
        _worker = _opener()
    _worker.do(task)
