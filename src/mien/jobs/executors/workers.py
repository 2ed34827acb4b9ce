"""The public description of the processes that do a job, and the executor that it stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mien.errors import UsageError
from mien.jobs.request import Request
from mien.jobs.task import Executor
from mien.util.devices import resolve_auto, split_devices
from mien.util.threads import use_threads

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Workers:
    """The processes that do a job, and what each of them computes with.

    A script that asks for several needs `if __name__ == "__main__":` around its calls, since each process loads the
    script's file again.

    Attributes:
        count: processes with a copy of the networks each. 0: with the local engine this process alone, with Ray as many
            as the cluster has room for.
        engine: "local" for processes of this machine, "ray" for a cluster.
        threads: threads of each process. 0: the machine's cores, divided among them.
        device: "auto", "cpu", "cuda", or several as in "cuda:0,cuda:1", which are given to workers (or ranks) in turn;
            there are then at least as many workers as devices.
        rank, world_size: number of this process, from 0, among several that a scheduler starts with the same arguments
            (Slurm, torchrun). Each takes every `world_size`-th shard and knows nothing of the others.
    """

    count: int = 0
    engine: str = "local"
    threads: int = 0
    device: str = "auto"
    rank: int = 0
    world_size: int = 1

    @property
    def here(self) -> str:
        """The device of this process; where Ray gives the GPUs out, the best one of this machine."""
        devices = split_devices(self.device)
        return "auto" if self.engine == "ray" and self.device == "cuda" else devices[self.rank % len(devices)]

    def check(self) -> None:
        """Refuses values that mean nothing.

        Raises:
            UsageError: names the option.
        """
        if self.engine not in ENGINES:
            raise UsageError(f"there is no engine {self.engine!r}", f"engines: {', '.join(ENGINES)}")
        if min(self.count, self.threads) < 0:
            raise UsageError("--workers and --threads cannot be negative")
        if self.engine == "ray" and self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {self.device} with --engine ray",
                             "Ray gives GPUs out itself: auto, cpu or cuda")
        split_devices(self.device)
        if not 0 <= self.rank < self.world_size:
            raise UsageError(f"--rank {self.rank} of --world-size {self.world_size}",
                             "ranks go from 0 to one less than the world's size")

    def open(self, request: Request) -> Executor | None:
        """Makes the executor, whose workers are not started yet; None where this process does everything itself.

        Raises:
            UsageError: the engine is not installed.
        """
        if self.engine == "ray":
            from mien.jobs.executors.ray import RayExecutor

            return RayExecutor(request.for_workers(), self.count or None, self.threads or 1, resolve_auto(self.device))
        devices = split_devices(self.device) if self.world_size == 1 else (self.here,)
        count = max(self.count, len(devices))
        if count > 1:
            from mien.jobs.executors.processes import ProcessExecutor

            threads = self.threads or max(1, (os.cpu_count() or 1) // count)
            return ProcessExecutor(request.for_workers(), count, threads, devices)
        if self.threads:
            use_threads(self.threads)
        return None
