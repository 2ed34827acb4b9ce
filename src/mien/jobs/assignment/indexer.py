"""Builds the face index of every shard that has none yet, or whose photos changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError, UsageError
from mien.jobs.face_index import FaceIndex, FileStates, digest_of
from mien.jobs.progress import Progress, ProgressFn
from mien.jobs.shard import Shards
from mien.jobs.state import JobState
from mien.jobs.task import Executor, Task
from mien.util.files import write_errors


class Indexer:
    """The face indexes of a job.

    Args:
        executor: does the tasks. local: does tasks in this process.
        content_check: tells files that were only copied or touched from changed ones.
        file_states: photos -> the states that their files are in now.
        may_build: whether indexes that are missing may be built now; where not, an earlier pass must have done it.

    Attributes:
        built: shards whose index was built by this process.
    """

    def __init__(self, state: JobState, shards: Shards, executor: Executor, local: Executor,
                 content_check: ContentCheck, file_states: Callable[[Sequence[str]], FileStates],
                 progress: ProgressFn, may_build: bool = True) -> None:
        self.state, self.shards, self.executor, self.local = state, shards, executor, local
        self.content_check, self.file_states, self.progress = content_check, file_states, progress
        self.may_build = may_build
        self.photos = self.total = 0
        self.built: set[int] = set()
        self._ready: set[int] = set()  # shards that this process has seen to

    def build(self, wanted: Iterable[int]) -> None:
        """Sees to it that shards have an index.

        Raises:
            UsageError: an index is missing and may not be built in this pass.
        """
        asked = [index for index in wanted if index not in self._ready]
        missing = [index for index in asked if self._current(index)[0] is None]
        self.photos, self.total = 0, sum(len(self.shards[index]) for index in missing)
        if missing and not self.may_build:
            raise UsageError(f"the faces of {self.total} photographs are not indexed yet",
                             "run the same command with --pass index first, in every rank")
        for task in self.executor.run(map(self._task, missing), self._tell):
            self.photos += len(task.names)
            self._tell()
        # Once more where a photo was changed meanwhile; one that goes on changing is skipped in the end.
        for _ in self.local.run([self._task(i) for i in missing if self._current(i)[0] is None], self._tell):
            self._tell()
        self._ready.update(asked)
        self.built.update(missing)

    def is_there(self, shard: int) -> bool:
        """Whether a shard has an index of its photos, in whatever state they are now."""
        found = FaceIndex.from_file(self.state.path("faces", shard))
        return found is not None and tuple(found.states) == self.shards[shard]

    def refreshed(self, shard: int) -> FaceIndex:
        """Reads the index of a shard, with the states that its files are in now where their content is the same."""
        return self._current(shard)[0] or self.index(shard)

    def index(self, shard: int) -> FaceIndex:
        """Reads the index of a shard, even if a photo of it was changed since: that photo is skipped then.

        Raises:
            OutputError: it is not there.
        """
        found = FaceIndex.from_file(self.state.path("faces", shard))
        if found is None or tuple(found.states) != self.shards[shard]:
            raise OutputError(f"{self.state.path('faces', shard)} is gone or damaged", "run the same command again")
        return found

    def digest(self, shard: int) -> int:
        """The digest of a shard's photos as they are now, like `FaceIndex.digest`."""
        found, states = self._current(shard)
        return digest_of(states, found.digests if found else self.state.digests(shard, states))

    def _current(self, shard: int) -> tuple[FaceIndex | None, FileStates]:
        """The index of a shard's photos as they are now, or None, and the states that their files are in."""
        path, states = self.state.path("faces", shard), self.file_states(self.shards[shard])
        found = FaceIndex.from_file(path)
        if found is None or found.states == states:
            return found, states
        known = self.state.digests(shard, states)
        if not self.content_check.unchanged(found.states, found.digests, states, known):
            return None, states
        found = replace(found, states=states)
        with write_errors(self.state.work):
            found.write(path)
        return found, states

    def _task(self, shard: int) -> Task:
        return Task("index", shard, self.shards[shard])

    def _tell(self, part: int = 0, faces: int = 0) -> None:
        self.progress(Progress("photos indexed", self.photos + part, self.total, 0, 0))
