"""Runs a job over a dataset: indexes faces, assigns pool faces, anonymizes shards, and writes the manifest."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from mien.anonymizer.pool import Pool
from mien.datasets.dataset import plural
from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError, UsageError
from mien.jobs.assignment.assign import is_assigned
from mien.jobs.assignment.assigner import Assigner
from mien.jobs.assignment.indexer import Indexer
from mien.jobs.executors.local import LocalExecutor
from mien.jobs.executors.workers import Workers
from mien.jobs.gate import Gate
from mien.jobs.progress import Progress, ProgressFn
from mien.jobs.request import PASSES, Request
from mien.jobs.results import Outcomes, Outputs
from mien.jobs.shard import SHARD, SHARD_SIZE, Shards, shard_size
from mien.jobs.state import COMPLETE
from mien.jobs.summary import Summary
from mien.jobs.task import Executor, Task
from mien.jobs.worker import Worker
from mien.models.bundle import Networks
from mien.util.files import write_errors

log = logging.getLogger(__name__)


class Run:
    """One call over a dataset. It does what is missing and nothing else, so that any call may be the last one.

    Three passes leave files for the next: the face index of each shard, the assignment of pool faces, the results of
    each shard. In the first and the third, shards need nothing of each other: they are done by the executor, in any
    order, or shared among ranks that a scheduler starts. The second is done by one process.
    """

    def __init__(self, request: Request, networks: Networks, pool: Pool, workers: Workers | None = None) -> None:
        self.request = request
        self.recipe = request.recipe
        self.pool = pool
        self.worker = Worker(request, networks, pool)
        self.workers = workers or Workers()
        self.state = self.worker.state
        self.same_person = networks.recognizer.same_person
        self.shard_size = shard_size(self.recipe.batch, SHARD)
        self.content_check = ContentCheck(self.worker.reader)
        self.labels = request.labels.of if request.labels else request.dataset.people

    def execute(self, progress: ProgressFn = lambda event: None, passes: Sequence[str] = PASSES,
                conclude: Callable[[Summary], None] = lambda summary: None) -> Summary:
        """Does the passes that are asked for. A process that does all of them writes the manifest at the end.

        Args:
            conclude: is called when DST is complete, while no other process can be at work in WORK.

        Returns:
            The summary of everything in DST. Where only some passes were asked for, `complete` is False, and the counts
            are of this process's finished shards.

        Raises:
            UsageError, OutputError, FaceError: see `mien.errors`. A bad photo raises nothing: it is skipped and listed.
        """
        dataset, state = self.request.dataset, self.state
        with state.opened(self._question(), self.workers.rank if self.workers.world_size > 1 else None):
            shards = Shards(self._photos(passes), self.shard_size)
            mine = range(self.workers.rank, len(shards), self.workers.world_size)
            todo = [index for index in mine if self._is_missing(shards, index)]
            if todo:
                state.remove(COMPLETE)
            log.info("%d photos in %d shards, %d shards to do", shards.photos, len(shards), len(todo))
            with self._executors() as (executor, local):
                if is_assigned(self.recipe) and (todo or tuple(passes) == ("index",)):
                    self._assign(shards, mine, todo, executor, local, progress, passes)
                if "anonymize" in passes:
                    self._anonymize(shards, mine, todo, executor, progress)
            state.sweep()
            warnings = [warning] if (warning := Gate.of(self.recipe).warning) else []
            summary = Summary(skipped=list(dataset.skipped), layout=dataset.layout, notes=warnings + dataset.notes)
            if tuple(passes) == PASSES:
                self._complete(shards, summary)
                conclude(summary)
            else:
                summary.complete = False
                for index in mine if "anonymize" in passes else ():
                    summary.add(state.finished(index))
        return summary

    def _photos(self, passes: Sequence[str]) -> list[str]:
        """The photos of the job. Only the first pass notes new ones: what is not indexed cannot go on.

        Raises:
            UsageError: no earlier pass has noted any. OutputError: SRC has lost all its photos.
        """
        found, known = self.request.dataset.names(), self.state.known_files()
        if not found and known:
            raise OutputError(f"{self.request.origin} holds none of the photographs that this run had",
                              "connect its disk, and run the same command again: without them, what was made of them "
                              "would be taken out of DST")
        if "index" in passes:
            return self.state.files(found, known)
        if not known:
            raise UsageError(f"nothing is indexed yet in {self.request.work}",
                             "run the same command with --pass index first")
        return known

    def _assign(self, shards: Shards, mine: range, todo: list[int], executor: Executor, local: Executor,
                progress: ProgressFn, passes: Sequence[str]) -> None:
        """The first two passes, as far as they are asked for; the third needs both."""
        indexer = Indexer(self.state, shards, executor, local, self.content_check, self.worker.file_states, progress,
                          may_build="index" in passes)
        assigner = Assigner(self.request, self.pool, indexer, self.same_person, self._label)
        if "index" in passes:
            indexer.build(assigner.shards_to_index(mine, todo, alone=tuple(passes) != ("index",)))
        if "assign" in passes:
            assigner.assign(todo)
        elif "anonymize" in passes:
            assigner.check(todo)

    def _anonymize(self, shards: Shards, mine: range, todo: list[int], executor: Executor,
                   progress: ProgressFn) -> None:
        """The third pass."""
        missing = set(todo)
        done = [index for index in mine if index not in missing]
        total = sum(len(shards[index]) for index in mine)
        photos = sum(len(shards[index]) for index in done)
        faces = sum(len(self.state.finished(index).outcomes) for index in done)
        new = 0

        def tell(part: int, part_faces: int) -> None:
            progress(Progress("photos", photos + part, total, faces + new + part_faces, new + part_faces))

        tell(0, 0)
        for task in executor.run((Task("anonymize", index, shards[index]) for index in todo), tell):
            result = self.state.finished(task.shard)
            photos, new = photos + len(task.names), new + len(result.outcomes)
            self.state.note(task.shard, len(task.names), result)
            tell(0, 0)

    def _complete(self, shards: Shards, summary: Summary) -> None:
        """Puts DST together: checks that all photos are there, writes annotations, manifest and run record."""
        state, dataset = self.state, self.request.dataset
        renamed, absent = dict[str, str](), set[str]()
        for index in range(len(shards)):
            result = state.finished(index)
            summary.add(result)
            absent |= set(shards[index]) - set(result.outputs)
            renamed |= {name: new for name, new in result.outputs.items() if new != name}
        summary.outcomes = Outcomes(state.finished, len(shards), summary.faces)
        outputs = summary.outputs = Outputs(shards.names, renamed, absent)
        with write_errors(self.request.dst):
            self._check_result(outputs, shards)
            left = state.writer.finish(map(outputs.among, shards))
            absent |= {one.file for one in left}
            summary.skipped, summary.photos = summary.skipped + left, summary.photos - len(left)
            summary.notes += dataset.write_annotations(self.request.dst, summary.outputs)
        summary.notes += self._shared_faces(summary)
        state.write_manifest(summary.outcomes, self._record(summary), self.recipe.hash)
        state.write_json(COMPLETE, {"photos": summary.photos})

    def _shared_faces(self, summary: Summary) -> list[str]:
        """A note for the owner where the pool was too small: people who look alike now may be taken for one."""
        new, size = summary.statuses["anonymized"], len(self.pool)
        if self.recipe.identity == "per-person" or new <= size:  # there, people are fewer than faces, and not counted
            return []
        return [f"{new:,} new faces began at a pool of {size:,}: some began at the same one. A larger pool "
                "(--pool-size, a new DST) gives each its own"]

    def _check_result(self, outputs: Outputs, shards: Shards) -> None:
        """Removes what killed runs left in DST, and checks that all photos are there."""
        writer, clash = self.state.writer, outputs.clash()
        if clash:
            raise OutputError(f"{clash} is a photograph's name, and what another one's result is called",
                              "rename one of the two, and run the same command again")
        writer.remove_unclaimed(outputs.others(self.worker.reader.as_png), outputs.claimed)
        gone = writer.count_missing(outputs.among(names).values() for names in shards)
        if gone:
            raise OutputError(f"{plural(gone, 'photograph')} of the result {'is' if gone == 1 else 'are'} gone from "
                              f"{self.request.dst_url or self.request.dst}", "run the same command again")

    @contextmanager
    def _executors(self) -> Iterator[tuple[Executor, Executor]]:
        """The executor of all tasks, and one that does tasks in this process."""
        local = LocalExecutor(self.worker)
        executor = self.executor = self.workers.open(self.request) or local
        try:
            yield executor, local
        finally:
            executor.close()

    def _is_missing(self, shards: Shards, index: int) -> bool:
        """Whether a shard has to be done (again); what is in DST of photos that changed is taken out."""
        return self.state.shard(index, self.worker.file_states(shards[index]), self.content_check) is None

    def _label(self, name: str) -> str:
        return self.labels.get(name, "")

    def _question(self) -> dict[str, Any]:
        """Everything that decides the result, as WORK keeps it."""
        request = self.request
        lists = {"only": request.only, "except": request.exclude, "labels": request.labels}
        files = {name: found.digest for name, found in lists.items() if found}
        return {"source": request.origin, "recipe": self.recipe.model_dump(mode="json"),
                "layout": request.dataset.layout, "subset": request.dataset.subset,
                "set of annotation files": request.dataset.digests,
                "weights": request.weights, "files": files, "keep_person": self.worker.selection.consent.fingerprint,
                "key": hashlib.sha256(b"mien key check" + request.key).hexdigest() if request.key else "",
                SHARD_SIZE: self.shard_size}

    def _record(self, summary: Summary) -> dict[str, Any]:
        """The run's record, for `published_record`: what decided the result, and counts; nothing of who people are."""
        return {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), **versions(),
            "recipe": self.recipe.model_dump(mode="json"), "recipe_hash": self.recipe.hash,
            "weights_sha256": self.request.weights,
            **self.request.dataset.record(summary.outputs), "notes": summary.notes,
            "device": str(self.worker.networks.device), "threads": self.workers.threads or torch.get_num_threads(),
            "workers": self.executor.workers,
            "photos": summary.photos, "faces": summary.faces,
            "statuses": dict(summary.statuses), "reasons": dict(summary.reasons),
            "stages": {name: round(value, 2) for name, value in summary.stages.items()}, "wall": round(summary.wall, 2),
            "skipped": [{"file": os.fsencode(s.file).decode("utf-8", "backslashreplace"), "reason": s.reason}
                        for s in summary.skipped]}


def versions() -> dict[str, Any]:
    """The versions of mien, Python and the libraries that decide a result's bytes."""
    others = ("torch", "numpy", "opencv-python-headless", "pillow")
    return {"mien": _version("mien"), "python": platform.python_version(),
            "versions": {name: _version(name) for name in others}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
