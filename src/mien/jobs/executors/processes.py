"""Does tasks in several processes of this machine."""

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
from mien.jobs.task import ShardProgressFn, Task
from mien.jobs.worker import Worker
from mien.util.wait_policy import children_wait_asleep


class ProcessExecutor:
    """Processes with a copy of the networks each; one that dies is replaced, and its task is done again.

    They end with the process that made them, even if it is killed.

    Args:
        workers: how many. threads: of each process. devices: are given to the processes in turn.
    """

    def __init__(self, request: Request, workers: int, threads: int, devices: Sequence[str] = ("auto",)) -> None:
        self.workers = workers
        self.devices = devices
        self.opener = partial(open_worker, request, threads)
        self.pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Iterable[Task], tell: ShardProgressFn) -> Iterator[Task]:
        yield from dispatch(tasks, self._submit, self._revive, self.workers)

    def _submit(self, task: Task) -> Future[None]:
        """Gives a task to a process; the future fails with `WorkerDied` where the process dies."""
        answer: Future[None] = Future()
        try:
            self.pool = self.pool or self._opened()
            with children_wait_asleep():  # the first tasks start the processes
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
        """Ends the processes, whatever they are doing."""
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
