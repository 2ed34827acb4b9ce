"""A whole dataset: resume, who starts from which pool face, manifest. What is done to the photos is the workers'."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mien.engines import Engine, Here
from mien.engines.choice import Crew
from mien.engines.ranks import Ranks
from mien.errors import OutputError
from mien.matching import Matched, Matching, match_people, match_shards
from mien.models.networks import Networks
from mien.people import read_labels
from mien.records import Outcome, Skipped
from mien.request import Request
from mien.stages.pair import Free
from mien.stages.pool import Pool
from mien.store import SHARD, Outcomes, Outputs, ShardResult, write_errors
from mien.survey import Sources, Survey, digest_of
from mien.worker import Task, Worker

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
    outcomes: Sequence[Outcome] = ()
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


@dataclass(frozen=True)
class Event:
    """Progress: photos done of all, faces done so far, and how many of them in this call.

    Attributes:
        what: is done to the photos, as it is shown.
    """

    what: str
    photos: int
    total: int
    faces: int
    new_faces: int


Progress = Callable[[Event], None]


class Run:
    """One run over a dataset. `execute` does all that is missing and returns the summary of everything.

    First every photo is looked at (survey), then all faces are matched with pool faces, then they are anonymised. The
    matching is done here; the rest shard by shard, by the engine, in any order.
    """

    def __init__(self, request: Request, networks: Networks, pool: Pool, crew: Crew | None = None) -> None:
        self.request = request
        self.recipe = request.recipe
        self.pool = pool
        self.worker = Worker(request, networks, pool)
        self.crew = crew or Crew()
        self.store = self.worker.store
        self.near = networks.recogniser.same_person
        self.labels = read_labels(request.labels) if request.labels else request.dataset.people

    def execute(self, progress: Progress = lambda event: None) -> Summary:
        """Anonymise what is missing, then write manifest and run record.

        Raises:
            UsageError, OutputError, FaceError: see errors.py. A bad photo raises nothing: it is skipped and listed.
        """
        dataset, store = self.request.dataset, self.store
        summary = Summary(skipped=list(dataset.skipped), layout=dataset.layout, notes=list(dataset.notes))
        with store.opened(self._question(), self.crew.rank if self.crew.size > 1 else None):
            found = dataset.names()
            if not found and store.files([]):
                raise OutputError(f"{self.request.origin} holds none of the photographs that this run had",
                                  "is its disk there? What was made of them would be taken out of DST")
            shards = Shards(store.files(found))
            todo = [index for index in range(len(shards)) if store.shard(index, self._sources(shards[index])) is None]
            with self._engine():
                if self.recipe.identity == "per-person" or self.recipe.pair.unique:
                    self._match(shards, todo, progress)
                self._anonymise(shards, todo, progress)
            if not self.engine.leads:
                return summary
            store.settle()
            renamed, absent = dict[str, str](), set[str]()
            for index in range(len(shards)):
                result = store.finished(index)
                summary.add(result)
                absent |= set(shards[index]) - set(result.outputs)
                renamed |= {name: new for name, new in result.outputs.items() if new != name}
            summary.outcomes = Outcomes(store, len(shards), summary.faces)
            summary.outputs = Outputs(shards.names, renamed, absent)
            with write_errors(self.request.dst):
                left = store.sink.finish(store.finished(index).outputs for index in range(len(shards)))
                absent |= {one.file for one in left}
                summary.skipped, summary.photos = summary.skipped + left, summary.photos - len(left)
                summary.notes += dataset.write_annotations(self.request.dst, summary.outputs)
            store.write_manifest(summary.outcomes, self._record(summary), self.recipe.hash)
        return summary

    @contextmanager
    def _engine(self) -> Iterator[None]:
        self.engine: Engine = self.crew.open(self.request) or Here(self.worker)
        if self.crew.size > 1:
            self.engine = Ranks(self.engine, self.crew.rank, self.crew.size, self._there, PATIENCE)
        try:
            yield
        finally:
            self.engine.close()

    def _there(self, task: Task) -> bool:
        """Whether somebody has done a task."""
        sources = self._sources(task.names)
        if task.what == "survey":
            return Survey.from_file(self.store.path("surveys", task.shard), sources) is not None
        return self.store.shard(task.shard, sources, asking=True) is not None

    def _anonymise(self, shards: Shards, todo: list[int], progress: Progress) -> None:
        missing = set(todo)
        photos = sum(len(shards[index]) for index in range(len(shards)) if index not in missing)
        faces = sum(len(self.store.finished(index).outcomes) for index in range(len(shards)) if index not in missing)
        new = 0

        def tell(part: int, part_faces: int) -> None:
            progress(Event("photos", photos + part, shards.photos, faces + new + part_faces, new + part_faces))

        tell(0, 0)
        for task in self.engine.run((Task("anonymise", index, shards[index]) for index in todo), tell):
            result = self.store.finished(task.shard)
            photos, new = photos + len(task.names), new + len(result.outcomes)
            if self.engine.leads:
                self.store.note(task.shard, len(task.names), result)
            tell(0, 0)

    def _match(self, shards: Shards, todo: list[int], progress: Progress) -> None:
        """Decide which pool face every face of the shards to be done starts from; what was decided before stays."""
        people, before = self.recipe.identity == "per-person", Matching.from_file(self.store.matching)
        digests = [digest_of(self._sources(shards[index])) for index in range(len(shards))]
        kept = [index for index, digest in enumerate(digests) if before is not None and before.knows(index, digest)]
        rest = sorted(set(range(len(shards))) - set(kept))
        wanted = kept + rest if people else rest
        if not set(todo) - set(kept):
            self._survey(shards, todo, progress)  # what is there is not done again
            return
        self._survey(shards, wanted, progress)
        matched: dict[int, Matched] = {index: before.of_shard(index) for index in kept} if before else {}
        surveys = (self._surveyed(shards, index) for index in wanted)
        if people:
            known = dict(pair for matches, who in matched.values() for pair in zip(who, matches, strict=True))
            key = self.request.key or b""
            found: Iterable[Matched] = match_people(self.pool, self.recipe, surveys, known, key, self.near, self._label,
                                                    [matched[index][1] for index in kept])
        else:
            free = Free(len(self.pool), (match.index for matches, _ in matched.values() for match in matches))
            found = match_shards(self.pool, self.recipe, surveys, free)
        matched |= zip(wanted, found, strict=True)
        rows = [(digest, *matched[index]) if index in matched else (-1, [], []) for index, digest in enumerate(digests)]
        with write_errors(self.request.work):
            Matching.of(rows).write(self.store.matching)

    def _survey(self, shards: Shards, wanted: Sequence[int], progress: Progress) -> None:
        """Have the photos of shards looked at, where they were not."""
        missing = [index for index in wanted if self._looked_at(shards, index) is None]
        total, photos = sum(len(shards[index]) for index in missing), 0

        def tell(part: int, faces: int) -> None:
            progress(Event("photos looked at", photos + part, total, 0, 0))

        for task in self.engine.run((Task("survey", index, shards[index]) for index in missing), tell):
            photos += len(task.names)
            tell(0, 0)

    def _sources(self, names: Sequence[str]) -> Sources:
        return {name: self.worker.source.stamp(name) for name in names}

    def _looked_at(self, shards: Shards, index: int) -> Survey | None:
        return Survey.from_file(self.store.path("surveys", index), self._sources(shards[index]))

    def _surveyed(self, shards: Shards, index: int) -> Survey:
        survey = self._looked_at(shards, index)
        if survey is None:
            raise OutputError("photographs were changed while they were looked at", "run the same command again")
        return survey

    def _label(self, name: str) -> str:
        return self.labels.get(name) or self.labels.get(name.rsplit("/", 1)[-1], "")

    def _question(self) -> dict[str, Any]:
        request = self.request
        files = {name: _digest(path) for name, path in (("only", request.only), ("except", request.exclude),
                                                       ("labels", request.labels)) if path}
        return {"source": request.origin, "recipe": self.recipe.model_dump(mode="json"),
                "layout": request.dataset.layout, "subset": request.dataset.subset,
                "set of annotation files": request.dataset.digests,
                "weights": request.weights, "files": files, "keep_person": self.worker.consent.fingerprint,
                "key": hashlib.sha256(b"mien key check" + request.key).hexdigest() if request.key else ""}

    def _record(self, summary: Summary) -> dict[str, Any]:
        """`mien.json`: everything that decided the result, and the counts. Nothing of who the people are."""
        return {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), **versions(),
            "recipe": self.recipe.model_dump(mode="json"), "recipe_hash": self.recipe.hash,
            "weights_sha256": self.request.weights,
            **self.request.dataset.record(summary.outputs), "notes": summary.notes,
            "threads": self.crew.threads or torch.get_num_threads(), "workers": self.engine.workers,
            "photos": summary.photos, "faces": summary.faces,
            "statuses": dict(summary.statuses), "reasons": dict(summary.reasons),
            "stages": {name: round(value, 2) for name, value in summary.stages.items()}, "wall": round(summary.wall, 2),
            "skipped": [{"file": os.fsencode(s.file).decode("utf-8", "backslashreplace"), "reason": s.reason}
                        for s in summary.skipped]}


@dataclass(frozen=True)
class Shards:
    """The photos of a run, cut into shards."""

    names: list[str]

    @property
    def photos(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return -(-len(self.names) // SHARD)

    def __getitem__(self, index: int) -> tuple[str, ...]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return tuple(self.names[index * SHARD : (index + 1) * SHARD])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
