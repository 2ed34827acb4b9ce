"""Has the photos of a run looked at, shard by shard, where they were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError
from mien.jobs.assignment.face_index import FaceIndex, FileStates, digest_of
from mien.jobs.executors.base import Executor
from mien.jobs.executors.rank_registry import Peers
from mien.jobs.progress import Progress, ProgressFn
from mien.jobs.state import JobState
from mien.jobs.worker import Task
from mien.util.files import write_errors


class Shards(Protocol):
    """The photos of each shard."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[str, ...]: ...


class Indexer:
    """The surveys of a run.

    Args:
        engine: does what is missing, here and elsewhere. own: does it here. touched: knows photos again.
    """

    def __init__(self, store: JobState, shards: Shards, engine: Executor, own: Executor, peers: Peers,
                 touched: ContentCheck, progress: ProgressFn) -> None:
        self.store, self.shards, self.engine, self.own, self.peers = store, shards, engine, own, peers
        self.touched, self.progress = touched, progress
        self.photos = self.total = 0

    def look(self, wanted: Sequence[int]) -> set[int]:
        """Have the photos of shards looked at, where they were not; gives these shards."""
        missing = [index for index in wanted if not self._is_there(index)]
        self.photos, self.total = 0, sum(len(self.shards[index]) for index in missing)
        for task in self.engine.run(map(self._task, missing), self._tell):
            self.photos += len(task.names)
            self._tell()
        if self.engine.leads:
            # Once more where a photo was changed meanwhile; one that goes on changing is skipped in the end.
            for _ in self.own.run([self._task(index) for index in missing if not self._is_there(index)], self._tell):
                self._tell()
        return set(missing)

    def wait(self, ranks: Sequence[int]) -> None:
        """Say that this rank waits for others, which have to look at theirs; for nobody, when that is over."""
        self.peers.wait(ranks)
        self._tell()

    def survey(self, index: int) -> FaceIndex:
        """What was seen in a shard's photos, even if one was changed since: it is skipped then.

        Raises:
            OutputError: it is not there.
        """
        survey = FaceIndex.from_file(self.store.path("surveys", index))
        if survey is None or tuple(survey.sources) != self.shards[index]:
            raise OutputError(f"{self.store.path('surveys', index)} is gone or damaged", "run the same command again")
        return survey

    def digest(self, index: int) -> int:
        """Of a shard's photos as they are now, like `FaceIndex.digest`."""
        survey, sources = self._current(index)
        return digest_of(sources, survey.digests if survey else self.store.digests(index, sources))

    def _is_there(self, index: int) -> bool:
        self.peers.remember("survey", index)
        return self._current(index)[0] is not None

    def _current(self, index: int) -> tuple[FaceIndex | None, FileStates]:
        """What is known of a shard's photos as they are now, and the states they are in."""
        path, sources = self.store.path("surveys", index), self.peers.stamps(self.shards[index])
        survey = FaceIndex.from_file(path)
        if survey is None or survey.sources == sources:
            return survey, sources
        if not self.touched.same(survey.sources, survey.digests, sources, self.store.digests(index, sources)):
            return None, sources
        survey = replace(survey, sources=sources)
        with write_errors(self.store.work):
            survey.write(path)
        return survey, sources

    def _task(self, index: int) -> Task:
        return Task("survey", index, self.shards[index])

    def _tell(self, part: int = 0, faces: int = 0) -> None:
        self.progress(Progress("photos looked at", self.photos + part, self.total, 0, 0, self.peers.waiting))
