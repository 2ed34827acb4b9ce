"""Runs jobs that are killed at a chosen moment, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import fake_run

SHARD = 2


def run_in_shards_of_two(src: Path, dst: Path) -> None:
    """Runs a quick job in shards of two photos."""
    fake_run.use_brush(fake_run.set_attribute)
    fake_run.set_attribute("mien.jobs.run.SHARD", SHARD)
    fake_run.run(src, dst)


def run_and_die(moment: int, src: Path, dst: Path) -> None:
    """Runs a job that is killed just before the `moment`-th time that any file is synced or renamed.

    A run that comes to its end writes the number of these moments to a file `moments` beside DST.
    """
    count = 0

    def deadly(name: str) -> None:
        really = getattr(os, name)

        def counted(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return really(*args, **more)

        setattr(os, name, counted)

    deadly("fsync")
    deadly("replace")
    run_in_shards_of_two(src, dst)
    dst.with_name("moments").write_text(str(count))


def in_a_process(target: Callable[..., None], *args: Any) -> int | None:
    """Runs a function in a process forked from one that has imported all modules, and returns the exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.fake_run", "helpers.containers", "helpers.killed_runs"])
    process = context.Process(target=target, args=args)
    process.start()
    process.join(600)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode
