"""A whole dataset: resume, who starts from which pool face, manifest. What is done to the photos is the workers'."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from mien.anonymizer.pool import Pool
from mien.datasets.dataset import plural
from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError
from mien.jobs.assignment.assign import is_matched
from mien.jobs.assignment.driver import Assigner
from mien.jobs.assignment.indexer import Indexer
from mien.jobs.executors.base import Executor, LocalExecutor
from mien.jobs.executors.config import Workers
from mien.jobs.executors.rank_registry import Peers
from mien.jobs.executors.ranks import Ranks
from mien.jobs.outputs import Outputs
from mien.jobs.progress import Progress, ProgressFn
from mien.jobs.request import Request
from mien.jobs.results import Outcomes
from mien.jobs.shard import SHARD, SHARD_SIZE, ShardResult, shard_size
from mien.jobs.worker import Task, Worker
from mien.models.bundle import Networks
from mien.types import FaceOutcome, Skipped
from mien.util.files import write_errors

__all__ = ["Progress", "ProgressFn", "Run", "Shards", "Summary", "versions"]

PATIENCE = 1800.0  # seconds without anything new by other ranks after which the first does what they left


@dataclass
class Summary:
    """What a run did, for the closing table, `mien.json` and scripts.

    Attributes:
        outcomes: of all faces, read from WORK as they are asked for. outputs: source name -> name in DST.
    """

    photos: int = 0
    faces: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    outcomes: Sequence[FaceOutcome] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    wall: float = 0.0
    layout: str = "folder"
    notes: list[str] = field(default_factory=list)

    def add(self, shard: ShardResult) -> None:
        """Count one shard in."""
        self.skipped += shard.skipped
        self.photos += len(shard.outputs)
        self.faces += len(shard.outcomes)
        self.statuses.update(outcome.status for outcome in shard.outcomes)
        self.reasons.update(outcome.reason for outcome in shard.outcomes if outcome.reason)
        for stage, value in shard.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + value
        self.wall += shard.wall


class Run:
    """One run over a dataset. `execute` does all that is missing and returns the summary of everything.

    First every photo is looked at (survey), then all faces are matched with pool faces, then they are anonymized. The
    matching is done here; the rest shard by shard, by the engine, in any order.
    """

    def __init__(self, request: Request, networks: Networks, pool: Pool, crew: Workers | None = None) -> None:
        self.request = request
        self.recipe = request.recipe
        self.pool = pool
        self.worker = Worker(request, networks, pool)
        self.crew = crew or Workers()
        self.store = self.worker.store
        self.near = networks.recognizer.same_person
        self.shard = shard_size(self.recipe.batch, SHARD)
        self.touched = ContentCheck(self.worker.source)
        self.peers = Peers(self.store, self.crew.rank, self.crew.size, self.worker.stamps)
        self.labels = request.labels.of if request.labels else request.dataset.people

    def execute(self, progress: ProgressFn = lambda event: None) -> Summary:
        """Anonymize what is missing, then write manifest and run record.

        Raises:
            UsageError, OutputError, FaceError: see errors.py. A bad photo raises nothing: it is skipped and listed.
        """
        dataset, store = self.request.dataset, self.store
        summary = Summary(skipped=list(dataset.skipped), layout=dataset.layout, notes=list(dataset.notes))
        with store.opened(self._question(), self.crew.rank if self.crew.size > 1 else None, self.crew.size):
            found = dataset.names()
            if not found and store.files([]):
                raise OutputError(f"{self.request.origin} holds none of the photographs that this run had",
                                  "is its disk there? What was made of them would be taken out of DST")
            shards = Shards(store.files(found), self.shard)
            todo = [index for index in range(len(shards)) if self._is_missing(shards, index)]
            with self._engines() as (engine, own):
                if todo and is_matched(self.recipe):
                    surveyor = Indexer(store, shards, engine, own, self.peers, self.touched, progress)
                    Assigner(self.request, self.pool, surveyor, self.near, self._label, PATIENCE).match(todo)
                self._anonymize(shards, todo, progress)
            if not self.engine.leads:
                return summary
            store.settle()
            renamed, absent = dict[str, str](), set[str]()
            for index in range(len(shards)):
                result = store.finished(index)
                summary.add(result)
                absent |= set(shards[index]) - set(result.outputs)
                renamed |= {name: new for name, new in result.outputs.items() if new != name}
            summary.outcomes = Outcomes(store.finished, len(shards), summary.faces)
            outputs = summary.outputs = Outputs(shards.names, renamed, absent)
            with write_errors(self.request.dst):
                self._check_result(outputs, shards)
                left = store.writer.finish(map(outputs.among, shards))
                absent |= {one.file for one in left}
                summary.skipped, summary.photos = summary.skipped + left, summary.photos - len(left)
                summary.notes += dataset.write_annotations(self.request.dst, summary.outputs)
            summary.notes += self._shared_faces(summary)
            store.write_manifest(summary.outcomes, self._record(summary), self.recipe.hash)
        return summary

    def _shared_faces(self, summary: Summary) -> list[str]:
        """What the owner should know of a pool that was too small: people who look alike now may be taken for one."""
        new, size = summary.statuses["anonymized"], len(self.pool)
        if self.recipe.identity == "per-person" or new <= size:  # people are fewer than faces: nobody counts them here
            return []
        return [f"{new:,} new faces began at a pool of {size:,}: some began at the same one. A larger pool "
                "(--pool-size, a new DST) gives each its own"]

    def _check_result(self, outputs: Outputs, shards: Shards) -> None:
        """Take out what killed runs left in DST, and see that all photos are there."""
        writer, clash = self.store.writer, outputs.clash()
        if clash:
            raise OutputError(f"{clash} is a photograph's name, and what another one's result is called",
                              "rename one of the two, and run the same command again")
        writer.clear(outputs.others(self.worker.source.as_png), outputs.claimed)
        gone = writer.gone(outputs.among(names).values() for names in shards)
        if gone:
            raise OutputError(f"{plural(gone, 'photograph')} of the result {'is' if gone == 1 else 'are'} gone from "
                              f"{self.request.dst_url or self.request.dst}", "run the same command again")

    @contextmanager
    def _engines(self) -> Iterator[tuple[Executor, Executor]]:
        """Who does all tasks, and who does them here."""
        own = self.engine = self.crew.open(self.request) or LocalExecutor(self.worker)
        if self.crew.size > 1:
            self.engine = Ranks(own, self.peers, PATIENCE)
        try:
            yield self.engine, own
        finally:
            own.close()

    def _is_missing(self, shards: Shards, index: int) -> bool:
        """Whether a shard has to be done (again); what is in DST of one that is no longer the same is taken out."""
        self.peers.remember("anonymize", index)
        return self.store.shard(index, self.worker.stamps(shards[index]), self.touched) is None

    def _anonymize(self, shards: Shards, todo: list[int], progress: ProgressFn) -> None:
        missing = set(todo)
        photos = sum(len(shards[index]) for index in range(len(shards)) if index not in missing)
        faces = sum(len(self.store.finished(index).outcomes) for index in range(len(shards)) if index not in missing)
        new = 0

        def tell(part: int, part_faces: int) -> None:
            progress(Progress("photos", photos + part, shards.photos, faces + new + part_faces, new + part_faces,
                              self.peers.waiting))

        tell(0, 0)
        for task in self.engine.run((Task("anonymize", index, shards[index]) for index in todo), tell):
            result = self.store.finished(task.shard)
            photos, new = photos + len(task.names), new + len(result.outcomes)
            if self.engine.leads:
                self.store.note(task.shard, len(task.names), result)
            tell(0, 0)

    def _label(self, name: str) -> str:
        return self.labels.get(name, "")

    def _question(self) -> dict[str, Any]:
        request = self.request
        lists = {"only": request.only, "except": request.exclude, "labels": request.labels}
        files = {name: found.digest for name, found in lists.items() if found}
        return {"source": request.origin, "recipe": self.recipe.model_dump(mode="json"),
                "layout": request.dataset.layout, "subset": request.dataset.subset,
                "set of annotation files": request.dataset.digests,
                "weights": request.weights, "files": files, "keep_person": self.worker.consent.fingerprint,
                "key": hashlib.sha256(b"mien key check" + request.key).hexdigest() if request.key else "",
                **({SHARD_SIZE: self.shard} if self.shard != SHARD else {})}

    def _record(self, summary: Summary) -> dict[str, Any]:
        """`mien.json`: everything that decided the result, and the counts. Nothing of who the people are."""
        return {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), **versions(),
            "recipe": self.recipe.model_dump(mode="json"), "recipe_hash": self.recipe.hash,
            "weights_sha256": self.request.weights,
            **self.request.dataset.record(summary.outputs), "notes": summary.notes,
            "device": str(self.worker.networks.device), "threads": self.crew.threads or torch.get_num_threads(),
            "workers": self.engine.workers,
            "photos": summary.photos, "faces": summary.faces,
            "statuses": dict(summary.statuses), "reasons": dict(summary.reasons),
            "stages": {name: round(value, 2) for name, value in summary.stages.items()}, "wall": round(summary.wall, 2),
            "skipped": [{"file": os.fsencode(s.file).decode("utf-8", "backslashreplace"), "reason": s.reason}
                        for s in summary.skipped]}


@dataclass(frozen=True)
class Shards:
    """The photos of a run, cut into shards of so many."""

    names: list[str]
    size: int

    @property
    def photos(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return -(-len(self.names) // self.size)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> tuple[str, ...]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return tuple(self.names[index * self.size : (index + 1) * self.size])


def versions() -> dict[str, Any]:
    """Of everything that decides a result's bytes."""
    others = ("torch", "numpy", "opencv-python-headless", "pillow")
    return {"mien": _version("mien"), "python": platform.python_version(),
            "versions": {name: _version(name) for name in others}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
