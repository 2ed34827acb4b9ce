"""Which engine a run gets, from what the user says."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mien.errors import UsageError
from mien.jobs.executors.base import Executor
from mien.jobs.request import Request
from mien.util.devices import listed, named
from mien.util.threads import use_threads

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Workers:
    """Who is to do a run.

    Attributes:
        engine: local or ray. workers: processes; 0: as many as the cluster has room for, or one here. threads: of a
            worker; 0: the machine's cores, shared out. rank, size: of this process among those that somebody else
            starts with the same arguments. device: auto, cpu, cuda, or a list as in cuda:0,cuda:1, given out to workers
            or ranks in turn; of several, workers are at least as many.
    """

    engine: str = "local"
    workers: int = 0
    threads: int = 0
    rank: int = 0
    size: int = 1
    device: str = "auto"

    @property
    def here(self) -> str:
        """The device of this process; where Ray has the GPUs, whatever this machine has."""
        devices = listed(self.device)
        return "auto" if self.engine == "ray" and self.device == "cuda" else devices[self.rank % len(devices)]

    def check(self) -> None:
        """Refuse what cannot mean anything.

        Raises:
            UsageError: naming the option.
        """
        if self.engine not in EXECUTORS:
            raise UsageError(f"there is no engine {self.engine!r}", f"engines: {', '.join(EXECUTORS)}")
        if min(self.workers, self.threads) < 0:
            raise UsageError("--workers and --threads cannot be negative")
        if self.engine == "ray" and self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {self.device} with --engine ray",
                             "Ray gives GPUs out itself: auto, cpu or cuda")
        listed(self.device)
        if not 0 <= self.rank < self.size:
            raise UsageError(f"--rank {self.rank} of --world-size {self.size}",
                             "ranks go from 0 to one less than the world's size")

    def open(self, request: Request) -> Executor | None:
        """The engine, its workers not yet started; None: this process does it all.

        Raises:
            UsageError: the engine is not installed.
        """
        if self.engine == "ray":
            from mien.jobs.executors.ray import RayExecutor

            return RayExecutor(request.for_workers(), self.workers or None, self.threads or 1, named(self.device))
        devices = listed(self.device) if self.size == 1 else (self.here,)
        workers = max(self.workers, len(devices))
        if workers > 1:
            from mien.jobs.executors.processes import ProcessExecutor

            threads = self.threads or max(1, (os.cpu_count() or 1) // workers)
            return ProcessExecutor(request.for_workers(), workers, threads, devices)
        if self.threads:
            use_threads(self.threads)
        return None
