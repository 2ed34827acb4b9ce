"""Does the two tasks of a shard: builds its face index, and anonymizes its photos."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import torch
from safetensors.torch import save

from mien.anonymizer.detect import detect
from mien.anonymizer.losses import faces_of
from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pipeline import Pipeline
from mien.anonymizer.pool import Pool, Traits
from mien.anonymizer.work_item import Subject, WorkItem
from mien.datasets.storage.base import WritePhoto, state_of
from mien.datasets.storage.prefetch import PrefetchedPhoto, prefetch
from mien.errors import OutputError, PhotoError
from mien.images.decode import decode_pixels
from mien.images.encode import encode_photo
from mien.images.formats import printable
from mien.jobs.assignment.assign import is_assigned
from mien.jobs.assignment.assignment import Assignment
from mien.jobs.face_index import UNREAD, FaceIndex, FileStates, face_tensors
from mien.jobs.request import Request
from mien.jobs.selection import Selection
from mien.jobs.shard import ShardResult
from mien.jobs.state import JobState
from mien.jobs.task import ShardProgressFn, Task
from mien.models.bundle import Networks
from mien.types import Face, FaceOutcome, Match, Pixels, Skipped
from mien.util.devices import memory_errors
from mien.util.files import replace_file, write_errors

GROUP_PIXELS = 40_000_000  # of photos that are in memory together
BATCH = 8  # faces whose traits are computed together


class Worker:
    """Does tasks of one job with one copy of the networks.

    All that it leaves is in WORK and DST, so that any worker may do any task, also a second time.
    """

    def __init__(self, request: Request, networks: Networks, pool: Pool) -> None:
        self.request = request
        self.recipe = request.recipe
        self.networks = networks
        self.pool = pool
        self.pipeline = Pipeline(networks, pool, request.recipe)
        self.reader, self.writer = request.dataset.reader, request.writer
        self.state = JobState(request.dst, request.work, self.writer)
        self.selection = Selection(request, networks)

    def do(self, task: Task, tell: ShardProgressFn = lambda photos, faces: None) -> None:
        """Does a task; `tell` is called after every group of photos but the last.

        Raises:
            OutputError, FaceError: see `mien.errors`. A bad photo raises nothing: it is skipped and listed.
        """
        if task.what == "anonymize":
            face_index = self._assigned_index(task) if is_assigned(self.recipe) else None
            states = face_index.states if face_index else self.file_states(task.names)
            result = self._anonymize(task, states, face_index, tell)
            self.state.finish_shard(task.shard, states, result)
            return
        face_index = self._index(self.file_states(task.names))
        with write_errors(self.request.work):
            face_index.write(self.state.path("faces", task.shard))

    def file_states(self, names: Sequence[str]) -> FileStates:
        """The states that the files of photos are in now."""
        return {name: state_of(self.reader, name) for name in names}

    def _assigned_index(self, task: Task) -> FaceIndex:
        """The index by which the faces of a shard were assigned their pool faces.

        Raises:
            OutputError: they have none, and to choose them here could give a person's new face to somebody else.
        """
        found = FaceIndex.from_file(self.state.path("faces", task.shard))
        is_same = found is not None and tuple(found.states) == task.names
        if found is not None and is_same and self.assignment and self.assignment.fits(task.shard, found):
            return found
        raise OutputError(f"the faces of shard {task.shard} have no pool faces: WORK was changed under the run",
                          "run the same command again")

    @cached_property
    def assignment(self) -> Assignment | None:
        """The pool face that each face of the job starts from."""
        return Assignment.from_file(self.state.assignment)

    @cached_property
    def free(self) -> AvailableFaces:
        """The pool faces that no face of the job starts from; they are for faces that need another one."""
        free = AvailableFaces(len(self.pool))
        if self.assignment:
            free.taken[self.assignment.indices] = True
        return free

    def _index(self, states: FileStates) -> FaceIndex:
        started, before = time.perf_counter(), dict(self.pipeline.timer.seconds)
        read, photos, chosen, subjects, seen = [], list[list[Face]](), list[int](), list[Subject](), ShardResult()
        for reading in self._readings(tuple(states), seen):
            item = self._open(reading, states, seen)
            photos.append([])
            if item is not None:
                read.append(reading.name)
                first = sum(len(faces) for faces in photos)
                photos[-1] = item.found
                chosen += [first + subject.outcome.face for subject in item.subjects]
                subjects += item.subjects
        with self.pipeline.timer.timed("pair"), memory_errors(min(BATCH, len(subjects))):
            traits = self._traits(subjects)
        return FaceIndex(states, read, **face_tensors(photos), chosen=torch.tensor(chosen, dtype=torch.int64),
                         traits=traits, digests=seen.digests, seconds=_since(before, self.pipeline.timer.seconds),
                         wall=time.perf_counter() - started)

    def _traits(self, subjects: Sequence[Subject]) -> Traits:
        parts = [self.pool.traits(faces_of(self.networks, [one.face for one in part], [one.crop for one in part]))
                 for part in (subjects[i : i + BATCH] for i in range(0, len(subjects), BATCH))]
        return Traits.joined(parts) if parts else Traits(*[torch.zeros(0, 1)] * 4)

    def _anonymize(self, task: Task, states: FileStates, face_index: FaceIndex | None,
                   tell: ShardProgressFn) -> ShardResult:
        started, result, names = time.perf_counter(), ShardResult(worker=f"{platform.node()}:{os.getpid()}"), task.names
        before = dict(self.pipeline.timer.seconds)
        self.pipeline.free = self.free.copy()
        self.pipeline.secret = self.state.secret(self.recipe.seed)
        latents: dict[str, torch.Tensor] = {}
        whole = self.recipe.inversion(self.networks.generator.n_layers) == self.recipe.invert
        begun = started
        with self.writer.shard(task.shard) as write:
            for group in self._groups(task, states, face_index, result):
                self.pipeline.run(group)
                for item in group:
                    self._export(item, result, write)
                done = max(names.index(item.photo.name) for item in group) + 1
                if done < len(names):
                    tell(done, len(result.outcomes))
                _share_time([row for item in group for row in item.outcomes], time.perf_counter() - begun)
                begun = time.perf_counter()
                for item in group:
                    latents |= _latents(item, names.index(item.photo.name), whole)
        with write_errors(self.state.work):
            data = save(latents)
            replace_file(self.state.path("latents", task.shard), lambda path: path.write_bytes(data))
        result.stages = _since(before, self.pipeline.timer.seconds)
        result.wall = time.perf_counter() - started
        if face_index is not None:
            result.stages = _sum(result.stages, face_index.seconds)
            result.wall += face_index.wall
        return result

    def _groups(self, task: Task, states: FileStates, face_index: FaceIndex | None,
                result: ShardResult) -> Iterator[list[WorkItem]]:
        """Yields photos in groups whose faces fill a batch or whose pixels fill the memory."""
        group: list[WorkItem] = []
        known = self._known(task, face_index) if face_index else {}
        for place, reading in enumerate(self._readings(task.names, result)):
            if face_index and reading.name not in face_index.read:
                self._unread(reading, face_index, result)
                continue
            item = (self._open(reading, states, result, face_index.faces(place), face_index.digests) if face_index else
                    self._open(reading, states, result))
            if item is None:
                continue
            for subject in item.subjects:
                if (place, subject.outcome.face) in known:
                    self._prepare(subject, *known[place, subject.outcome.face])
            group.append(item)
            faces = sum(len(one.subjects) for one in group)
            if faces >= self.recipe.batch or sum(one.photo.pixels.size // 3 for one in group) > GROUP_PIXELS:
                yield group
                group = []
        if group:
            yield group

    def _readings(self, names: Sequence[str], result: ShardResult) -> Iterator[PrefetchedPhoto]:
        """Yields photos as they are read; `result` gets their digests."""
        photos_read = prefetch(self.reader, names)
        for _ in names:
            with self.pipeline.timer.timed("read"):  # what is left to wait for
                reading = next(photos_read)
            if reading.digest:
                result.digests[reading.name] = reading.digest
            yield reading

    def _unread(self, reading: PrefetchedPhoto, face_index: FaceIndex, result: ShardResult) -> None:
        """Notes why a photo could not be read. One that can be read now has no pool faces: the next call does it."""
        if self._open(reading, face_index.states, result, [], face_index.digests) is not None:
            result.skipped.append(Skipped(reading.name, "it could not be read at first: run the same command again"))
            face_index.states[reading.name] = UNREAD

    def _known(self, task: Task, face_index: FaceIndex) -> dict[tuple[int, int], tuple[Match, str, torch.Tensor]]:
        """Maps each face to be anonymized (photo's place, number) to its match, its person and its identity."""
        assert self.assignment is not None
        matches, people = self.assignment.of_shard(task.shard)
        rows = zip(face_index.numbers(), matches, people or [""] * len(matches), face_index.traits.identities,
                   strict=True)
        return {number: (match, person, identity) for number, match, person, identity in rows}

    def _prepare(self, subject: Subject, match: Match, person: str, identity: torch.Tensor) -> None:
        subject.match, subject.identity, subject.outcome.person = match, identity, person
        subject.tried.add(match.index)
        subject.fixed = match if self.recipe.identity == "per-person" else None

    def _open(self, reading: PrefetchedPhoto, states: FileStates, result: ShardResult, faces: list[Face] | None = None,
              digests: Mapping[str, str] = MappingProxyType({})) -> WorkItem | None:
        """Makes a photo's work item, and finds its faces where they are not known; gives None for a bad photo.

        Args:
            states, digests: file states and content digests in which faces were found; the photo must have the same.
        """
        name, photo = reading.name, reading.photo
        try:
            same = reading.state == states[name] and digests.get(name, reading.digest) == reading.digest
            if reading.digest and not same:
                result.digests.pop(name, None)  # or it would be taken for done
                raise PhotoError("it changes while it is read")
            if isinstance(photo, PhotoError):
                raise photo
            if faces is None:
                with self.pipeline.timer.timed("detect"):
                    faces = detect(self.networks, photo)
        except PhotoError as error:
            result.skipped.append(Skipped(name, error.message.removeprefix(f"{printable(name)}: ")))
            return None
        regions = self.selection.regions_without_face(photo, faces)
        item = self.pipeline.prepare(photo, faces)
        self.selection.conceal_regions(item, regions)
        self.selection.leave(item)
        return item

    def _export(self, item: WorkItem, result: ShardResult, write: WritePhoto) -> None:
        """Finishes a photo and writes it; a photo that is dropped or refused is not written."""
        data, suffix = b"", ""

        def encoded(item: WorkItem) -> Pixels:
            nonlocal data, suffix
            data, suffix = self._encode(item)
            return decode_pixels(data)

        decision = self.pipeline.finish(item, encoded)
        name = self.reader.as_png(item.photo.name) if suffix else item.photo.name
        result.outcomes += item.outcomes
        if decision == "refused":
            _drop(item, result, "every search of the finished photo finds another face")
            return
        if decision == "dropped":
            _drop(item, result, "a face could not be anonymized")
            return
        if name != item.photo.name and state_of(self.reader, name) is not None:
            raise OutputError(f"{item.photo.name} would be written as {name}, which SRC has already", "rename one")
        try:
            with self.pipeline.timer.timed("write"), write_errors(self.request.dst):
                write(name, data)
        except PhotoError as error:
            _drop(item, result, error.message)
            return
        result.outputs[item.photo.name] = name
        result.sizes.append(len(data))

    def _encode(self, item: WorkItem) -> tuple[bytes, str]:
        assert item.pixels is not None and item.changed is not None
        with self.pipeline.timer.timed("encode"):
            return encode_photo(item.photo, item.pixels, item.changed)


def _drop(item: WorkItem, result: ShardResult, reason: str) -> None:
    """Notes that a photo is left out, with all its faces."""
    result.skipped.append(Skipped(item.photo.name, f"dropped: {reason}"))
    for row in item.outcomes:
        row.status, row.reason = "dropped", row.reason or reason


def _latents(item: WorkItem, place: int, whole: bool) -> dict[str, torch.Tensor]:
    """The codes of a photo's new faces, for WORK; `whole`: the inversion is refined, and so worth keeping."""
    latents: dict[str, torch.Tensor] = {}
    for subject in item.subjects:
        if subject.codes is not None and subject.match is not None:
            name = f"{place}.{subject.outcome.face}"
            latents |= {f"{name}.result": subject.codes.half(), f"{name}.pair": torch.tensor(subject.match.index)}
            if whole and subject.inverted is not None:
                latents[f"{name}.inversion"] = subject.inverted.half()
    return latents


def _since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {stage: value - before.get(stage, 0.0) for stage, value in after.items()}


def _sum(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {stage: a.get(stage, 0.0) + b.get(stage, 0.0) for stage in a | b}


def _share_time(outcomes: list[FaceOutcome], seconds: float) -> None:
    """Divides what a group of photos took besides its batches (reading, searching, writing) among its faces."""
    rest = seconds - sum(outcome.seconds for outcome in outcomes)
    for outcome in outcomes:
        outcome.seconds += rest / len(outcomes)
