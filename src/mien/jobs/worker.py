"""What is done to one shard: look at its photos, then anonymize them. A worker does one after another, in any order."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save

from mien.anonymizer.detect import detect, overlap
from mien.anonymizer.losses import faces_of
from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pipeline import Pipeline, Subject, WorkItem
from mien.anonymizer.pool import Pool, Traits
from mien.datasets.storage.base import WritePhoto, state_of
from mien.datasets.storage.prefetch import PrefetchedPhoto, read_ahead
from mien.errors import OutputError, PhotoError
from mien.images.decode import decode_pixels
from mien.images.encode import encode_photo
from mien.images.formats import printable
from mien.jobs.assignment.assign import Assignment, is_matched
from mien.jobs.assignment.face_index import UNREAD, FaceIndex, FileStates, face_tensors
from mien.jobs.consent import Consent, load_consent
from mien.jobs.identities import Box
from mien.jobs.request import Request
from mien.jobs.shard import ShardResult
from mien.jobs.state import JobState
from mien.models.bundle import Networks
from mien.types import Face, FaceOutcome, Match, Photo, Pixels, Skipped
from mien.util.devices import enough_memory
from mien.util.files import replace_file, write_errors

GROUP_PIXELS = 40_000_000  # photos held at once
BATCH = 8  # faces whose traits are computed at once
REGION_OVERLAP = 0.2

ShardProgressFn = Callable[[int, int], None]  # photos and faces of a shard done so far


@dataclass(frozen=True)
class Task:
    """One thing to do to one shard: its number and its photos."""

    what: Literal["survey", "anonymize"]
    shard: int
    names: tuple[str, ...]


class Worker:
    """Does the tasks of one run, with one copy of the networks. What it does is in WORK and DST, nothing in itself."""

    def __init__(self, request: Request, networks: Networks, pool: Pool) -> None:
        self.request = request
        self.recipe = request.recipe
        self.networks = networks
        self.pool = pool
        self.pipeline = Pipeline(networks, pool, request.recipe)
        self.source, self.writer = request.dataset.source, request.writer
        self.store = JobState(request.dst, request.work, self.writer)
        self.only = request.only.of if request.only else None
        self.exclude = request.exclude.of if request.exclude else {}
        self.consent = load_consent(networks, request.keep_person) if request.keep_person else Consent()

    def do(self, task: Task, tell: ShardProgressFn = lambda photos, faces: None) -> None:
        """Do a task; `tell` hears of what is done after every group of photos but the last.

        Raises:
            OutputError, FaceError: see errors.py. A bad photo raises nothing: it is skipped and listed.
        """
        if task.what == "anonymize":
            survey = self._matched(task) if is_matched(self.recipe) else None
            sources = survey.sources if survey else self.stamps(task.names)
            result = self._anonymize(task, sources, survey, tell)
            self.store.finish_shard(task.shard, sources, result)
            return
        survey = self._survey(self.stamps(task.names))
        with write_errors(self.request.work):
            survey.write(self.store.path("surveys", task.shard))

    def stamps(self, names: Sequence[str]) -> FileStates:
        """The states that photos are in now."""
        return {name: state_of(self.source, name) for name in names}

    def _matched(self, task: Task) -> FaceIndex:
        """What was seen in a shard's photos when their faces were matched.

        Raises:
            OutputError: they were not, and to pair them here could give a person's new face to somebody else.
        """
        survey = FaceIndex.from_file(self.store.path("surveys", task.shard))
        if survey and tuple(survey.sources) == task.names and self.matching and self.matching.fits(task.shard, survey):
            return survey
        raise OutputError(f"the faces of shard {task.shard} have no pool faces: WORK was changed under the run",
                          "run the same command again")

    @cached_property
    def matching(self) -> Assignment | None:
        """Who starts from which pool face, as the driver decided."""
        return Assignment.from_file(self.store.matching)

    @cached_property
    def free(self) -> AvailableFaces:
        """The pool faces that nobody starts from: for those who need another one."""
        free = AvailableFaces(len(self.pool))
        if self.matching:
            free.taken[self.matching.indices] = True
        return free

    def _survey(self, sources: FileStates) -> FaceIndex:
        started, before = time.perf_counter(), dict(self.pipeline.seconds)
        read, photos, chosen, subjects, seen = [], list[list[Face]](), list[int](), list[Subject](), ShardResult()
        for reading in self._readings(tuple(sources), seen):
            work = self._open(reading, sources, seen)
            photos.append([])
            if work is not None:
                read.append(reading.name)
                first = sum(len(faces) for faces in photos)
                photos[-1] = work.found
                chosen += [first + subject.outcome.face for subject in work.subjects]
                subjects += work.subjects
        with self.pipeline.timed("pair"), enough_memory(min(BATCH, len(subjects))):
            traits = self._traits(subjects)
        return FaceIndex(sources, read, **face_tensors(photos), chosen=torch.tensor(chosen, dtype=torch.int64),
                         traits=traits, digests=seen.digests, seconds=_since(before, self.pipeline.seconds),
                         wall=time.perf_counter() - started)

    def _traits(self, subjects: Sequence[Subject]) -> Traits:
        parts = [self.pool.traits(faces_of(self.networks, [one.face for one in part], [one.crop for one in part]))
                 for part in (subjects[i : i + BATCH] for i in range(0, len(subjects), BATCH))]
        return Traits.joined(parts) if parts else Traits(*[torch.zeros(0, 1)] * 4)

    def _anonymize(self, task: Task, sources: FileStates, survey: FaceIndex | None,
                   tell: ShardProgressFn) -> ShardResult:
        started, result, names = time.perf_counter(), ShardResult(worker=f"{platform.node()}:{os.getpid()}"), task.names
        before = dict(self.pipeline.seconds)
        self.pipeline.free = self.free.copy()
        latents: dict[str, torch.Tensor] = {}
        whole = self.recipe.inversion(self.networks.generator.n_layers) == self.recipe.invert
        begun = started
        with self.writer.shard(task.shard) as write:
            for group in self._groups(task, sources, survey, result):
                self.pipeline.run(group)
                for work in group:
                    self._export(work, result, write)
                done = max(names.index(work.photo.name) for work in group) + 1
                if done < len(names):
                    tell(done, len(result.outcomes))
                _share_time([row for work in group for row in work.outcomes], time.perf_counter() - begun)
                begun = time.perf_counter()
                for work in group:
                    latents |= _latents(work, names.index(work.photo.name), whole)
        with write_errors(self.store.work):
            data = save(latents)
            replace_file(self.store.path("latents", task.shard), lambda path: path.write_bytes(data))
        result.stages = _since(before, self.pipeline.seconds)
        result.wall = time.perf_counter() - started
        if survey is not None:
            result.stages = _sum(result.stages, survey.seconds)
            result.wall += survey.wall
        return result

    def _groups(self, task: Task, sources: FileStates, survey: FaceIndex | None,
                result: ShardResult) -> Iterator[list[WorkItem]]:
        """Photos together until their faces fill a batch or their pixels the memory."""
        group: list[WorkItem] = []
        known = self._known(task, survey) if survey else {}
        for place, reading in enumerate(self._readings(task.names, result)):
            if survey and reading.name not in survey.read:
                self._unread(reading, survey, result)
                continue
            work = (self._open(reading, sources, result, survey.faces(place), survey.digests) if survey else
                    self._open(reading, sources, result))
            if work is None:
                continue
            for subject in work.subjects:
                if (place, subject.outcome.face) in known:
                    self._prepare(subject, *known[place, subject.outcome.face])
            group.append(work)
            faces = sum(len(one.subjects) for one in group)
            if faces >= self.recipe.batch or sum(one.photo.pixels.size // 3 for one in group) > GROUP_PIXELS:
                yield group
                group = []
        if group:
            yield group

    def _readings(self, names: Sequence[str], result: ShardResult) -> Iterator[PrefetchedPhoto]:
        """Photos as they come; `result` gets their digests."""
        readings = read_ahead(self.source, names)
        for _ in names:
            with self.pipeline.timed("read"):  # what is left to wait for
                reading = next(readings)
            if reading.digest:
                result.digests[reading.name] = reading.digest
            yield reading

    def _unread(self, reading: PrefetchedPhoto, survey: FaceIndex, result: ShardResult) -> None:
        """Say why a photo could not be read. One that can be now is left for the next call: it is not matched."""
        if self._open(reading, survey.sources, result, [], survey.digests) is not None:
            result.skipped.append(Skipped(reading.name, "it could not be read at first: run the same command again"))
            survey.sources[reading.name] = UNREAD

    def _known(self, task: Task, survey: FaceIndex) -> dict[tuple[int, int], tuple[Match, str, torch.Tensor]]:
        """Of each face to be anonymized (photo's place, number) its match, its person, its identity."""
        assert self.matching is not None
        matches, people = self.matching.of_shard(task.shard)
        rows = zip(survey.numbers(), matches, people or [""] * len(matches), survey.traits.identities, strict=True)
        return {number: (match, person, identity) for number, match, person, identity in rows}

    def _prepare(self, subject: Subject, match: Match, person: str, identity: torch.Tensor) -> None:
        subject.match, subject.identity, subject.outcome.person = match, identity, person
        subject.tried.add(match.index)
        subject.fixed = match if self.recipe.identity == "per-person" else None

    def _open(self, reading: PrefetchedPhoto, sources: FileStates, result: ShardResult, faces: list[Face] | None = None,
              digests: Mapping[str, str] = MappingProxyType({})) -> WorkItem | None:
        """Begin with a photo, and find its faces where they are not known.

        Args:
            sources, digests: states and contents that it must have, since faces were found in these.
        """
        name, photo = reading.name, reading.photo
        try:
            same = reading.state == sources[name] and digests.get(name, reading.digest) == reading.digest
            if reading.digest and not same:
                result.digests.pop(name, None)  # or it would be taken for done
                raise PhotoError("it changes while it is read")
            if isinstance(photo, PhotoError):
                raise photo
            if faces is None:
                with self.pipeline.timed("detect"):
                    faces = detect(self.networks, photo)
        except PhotoError as error:
            result.skipped.append(Skipped(name, error.message.removeprefix(f"{printable(name)}: ")))
            return None
        faces, extra = self._named(photo, faces)
        work = self.pipeline.prepare(photo, faces)
        for i, face in enumerate(extra, len(faces)):
            outcome = FaceOutcome(name, i, face.box, face.points.tolist(), face.score, "blurred",
                                  "named by the owner, no face found there")
            work.concealed.append((face, outcome))
        self._leave(work)
        return work

    def _named(self, photo: Photo, faces: list[Face]) -> tuple[list[Face], list[Face]]:
        """Faces found, and regions that the owner names (`--only`) where none was found: those are concealed."""
        if self.only is None:
            return faces, []
        lost = [box for box in self.only.get(photo.name, []) if not any(_meets(box, face) for face in faces)]
        return faces, [_region_face(box) for box in lost]

    def _leave(self, work: WorkItem) -> None:
        """Take out the faces that the owner excludes and the people who agreed."""
        name = work.photo.name
        kept = self.consent.matches(self.networks, work.photo, [s.face for s in work.subjects])
        stay = []
        for subject, person in zip(work.subjects, kept, strict=True):
            chosen = self.only is None or any(_meets(box, subject.face) for box in self.only.get(name, []))
            outcome = subject.outcome
            if not chosen or any(_meets(box, subject.face) for box in self.exclude.get(name, [])):
                outcome.status, outcome.reason = "excluded", "left out by the owner's list"
            elif person:
                outcome.status, outcome.reason, outcome.person = "kept", "agreed", person
            else:
                stay.append(subject)
                continue
            work.left.append((subject.face, outcome))
        work.subjects = stay

    def _export(self, work: WorkItem, result: ShardResult, write: WritePhoto) -> None:
        """Encode, decode, search again, write; a dropped photo is not written."""
        data, suffix = b"", ""

        def shown(work: WorkItem) -> Pixels:
            nonlocal data, suffix
            data, suffix = self._encode(work)
            return decode_pixels(data)

        clean = self.pipeline.finish(work, shown)
        name = self.source.as_png(work.photo.name) if suffix else work.photo.name
        result.outcomes += work.outcomes
        if not clean:
            _drop(work, result, "every search of the finished photo finds another face")
            return
        if any(row.status == "dropped" for row in work.outcomes):
            _drop(work, result, "a face could not be anonymized")
            return
        if name != work.photo.name and state_of(self.source, name) is not None:
            raise OutputError(f"{work.photo.name} would be written as {name}, which SRC has already", "rename one")
        try:
            with self.pipeline.timed("write"), write_errors(self.request.dst):
                write(name, data)
        except PhotoError as error:
            _drop(work, result, error.message)
            return
        result.outputs[work.photo.name] = name
        result.sizes.append(len(data))

    def _encode(self, work: WorkItem) -> tuple[bytes, str]:
        assert work.pixels is not None and work.changed is not None
        with self.pipeline.timed("encode"):
            return encode_photo(work.photo, work.pixels, work.changed)


def _drop(work: WorkItem, result: ShardResult, reason: str) -> None:
    """Leave a photo out, with all its faces."""
    result.skipped.append(Skipped(work.photo.name, f"dropped: {reason}"))
    for row in work.outcomes:
        row.status, row.reason = "dropped", row.reason or reason


def _latents(work: WorkItem, place: int, whole: bool) -> dict[str, torch.Tensor]:
    """The codes of a photo's new faces, for WORK; `whole`: the inversion is more than a place to begin."""
    latents: dict[str, torch.Tensor] = {}
    for subject in work.subjects:
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
    """Spread what a group of photos took besides its batches (reading, searching, blending, writing) over its faces."""
    rest = seconds - sum(outcome.seconds for outcome in outcomes)
    for outcome in outcomes:
        outcome.seconds += rest / len(outcomes)


def _meets(box: Box, face: Face) -> bool:
    x, y, width, height = face.box
    inside = box[0] <= x + width / 2 <= box[0] + box[2] and box[1] <= y + height / 2 <= box[1] + box[3]
    return inside or overlap(box, face.box) >= REGION_OVERLAP


def _region_face(box: Box) -> Face:
    """A region as a face: points where a frontal face in that box would have them."""
    x, y, width, height = box
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])
    return Face(box, (places * [width, height] + [x, y]).astype(np.float32), 0.0)
