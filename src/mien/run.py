"""A whole folder: resume, shards, people, manifest, report. The pictures themselves are the pipeline's."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from mien.consent import Consent, load_consent
from mien.datasets.dataset import Dataset
from mien.errors import OutputError, PhotoError, UsageError
from mien.files import replace_file, stamp
from mien.losses import faces_of
from mien.models.networks import Networks
from mien.people import Gallery, Region, read_labels, read_regions
from mien.photo_files import printable
from mien.pipeline import Pipeline, Work
from mien.recipe import Recipe
from mien.records import Face, Match, Outcome, Photo, Skipped
from mien.stages.detect import detect, overlap
from mien.stages.export import encode_photo, write_bytes
from mien.stages.pair import distances, pair_person
from mien.stages.pool import Pool
from mien.stages.read import decode_pixels, read_photo
from mien.store import SHARD, ShardResult, Store, write_errors

GROUP_PIXELS = 40_000_000  # photos held at once
PERSON_FACES = 8  # faces a person's new face is chosen by
REGION_OVERLAP = 0.2
SEARCHES = 3  # of a finished photo; each may conceal more


@dataclass(frozen=True)
class Request:
    """What the owner asks of a run.

    Attributes:
        only, exclude: regions to anonymise alone, or to leave. keep_person: folder of reference photos.
        dataset: SRC as it was read, with the layout and the subset that are asked for.
        labels: file -> person, instead of the dataset's own. key: secret, for `per-person`.
    """

    src: Path
    dst: Path
    work: Path
    recipe: Recipe
    dataset: Dataset
    only: Path | None = None
    exclude: Path | None = None
    keep_person: Path | None = None
    labels: Path | None = None
    key: bytes | None = None
    weights: dict[str, str] = field(default_factory=dict)


@dataclass
class Summary:
    """What a run did, for the closing table, `mien.json` and scripts."""

    photos: int = 0
    faces: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    wall: float = 0.0
    layout: str = "folder"
    notes: list[str] = field(default_factory=list)

    def add(self, shard: ShardResult) -> None:
        """Count one shard in."""
        self.outcomes += shard.outcomes
        self.skipped += shard.skipped
        self.outputs |= shard.outputs
        self.photos += len(shard.outputs)
        self.faces += len(shard.outcomes)
        self.statuses.update(outcome.status for outcome in shard.outcomes)
        self.reasons.update(outcome.reason for outcome in shard.outcomes if outcome.reason)
        for stage, value in shard.stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + value
        self.wall += shard.wall


@dataclass(frozen=True)
class Event:
    """Progress: photos done of all, faces done so far, and how many of them in this call."""

    photos: int
    total: int
    faces: int
    new_faces: int


Progress = Callable[[Event], None]


def check_folders(src: Path, dst: Path, work: Path, name: str = "WORK") -> None:
    """Refuse folders that lie in one another; `name`: what the private one is called.

    Raises:
        UsageError: SRC does not exist, or DST or WORK would be read as photos or published by mistake.
    """
    try:
        a, b, c = (path.resolve() for path in (src, dst, work))
        there = src.exists()
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError before Python 3.13
        raise UsageError(f"cannot follow a folder's path: {error}", "check SRC, DST and --work") from error
    if not there:
        raise UsageError(f"{src} does not exist", "give a folder of photographs, or one photograph")
    for inner, outer, words in ((b, a, "DST lies inside SRC"), (a, b, "SRC lies inside DST"),
                                (c, a, f"{name} lies inside SRC"), (c, b, f"{name}, which is private, lies inside DST"),
                                (b, c, f"DST lies inside {name}"), (a, c, f"SRC lies inside {name}")):
        if inner == outer or outer in inner.parents:
            raise UsageError(f"{words}: {inner}", "give folders beside one another")


class Run:
    """One run over a folder. `execute` does all that is missing and returns the summary of everything."""

    def __init__(self, request: Request, networks: Networks, pool: Pool) -> None:
        self.request = request
        self.recipe = request.recipe
        self.networks = networks
        self.pipeline = Pipeline(networks, pool, request.recipe)
        self.pool = pool
        self.root = request.dataset.root
        self.only = _by_file(read_regions(request.only)) if request.only else None
        self.exclude = _by_file(read_regions(request.exclude)) if request.exclude else {}
        self.consent = load_consent(networks, request.keep_person) if request.keep_person else Consent()
        self.labels = read_labels(request.labels) if request.labels else request.dataset.people
        self.people: dict[str, Match] = {}
        self.who: dict[str, list[str]] = {}

    def execute(self, progress: Progress = lambda event: None) -> Summary:
        """Anonymise what is missing, then write manifest and run record.

        Raises:
            UsageError, OutputError, FaceError: see errors.py. A bad photo raises nothing: it is skipped and listed.
        """
        store, dataset = Store(self.request.dst, self.request.work), self.request.dataset
        summary = Summary(skipped=list(dataset.skipped), layout=dataset.layout, notes=list(dataset.notes))
        with store.opened(self._question()):
            names = store.files(dataset.names())
            if self.recipe.identity == "per-person":
                self._meet(names)
            new_faces = 0
            progress(Event(0, len(names), 0, 0))
            for index, first in enumerate(range(0, len(names), SHARD)):
                part = names[first : first + SHARD]
                sources = {name: stamp(self.root / name) for name in part}  # taken before the photos are read
                result = store.shard(index, sources)
                if result is None:
                    before = Event(first, len(names), summary.faces, new_faces)
                    result = self._shard(store, index, part, partial(_tell, progress, before))
                    store.finish_shard(index, sources, result)
                    new_faces += len(result.outcomes)
                self.pipeline.used.update(result.used)
                summary.add(result)
                progress(Event(first + len(part), len(names), summary.faces, new_faces))
            with write_errors(self.request.dst):
                summary.notes += dataset.write_annotations(self.request.dst, summary.outputs)
            store.write_manifest(summary.outcomes, self._record(summary), self.recipe.hash)
        return summary

    def _question(self) -> dict[str, Any]:
        request = self.request
        files = {name: _digest(path) for name, path in (("only", request.only), ("except", request.exclude),
                                                       ("labels", request.labels)) if path}
        return {"source": str(request.src.resolve()), "recipe": self.recipe.model_dump(mode="json"),
                "layout": request.dataset.layout, "subset": request.dataset.subset,
                "set of annotation files": request.dataset.digests,
                "weights": request.weights, "files": files, "keep_person": self.consent.fingerprint,
                "key": hashlib.sha256(b"mien key check" + request.key).hexdigest() if request.key else ""}

    def _shard(self, store: Store, index: int, names: Sequence[str],
               tell: Callable[[int, int], None]) -> ShardResult:
        """Do one shard; `tell` hears of photos and faces done after every group of photos but the last."""
        started, result = time.perf_counter(), ShardResult()
        before, used = dict(self.pipeline.seconds), set(self.pipeline.used)
        latents: dict[str, torch.Tensor] = {}
        begun = started
        for group in self._groups(names, result):
            self.pipeline.run(group)
            for work in group:
                self._export(work, result)
            done = max(names.index(work.photo.name) for work in group) + 1
            if done < len(names):
                tell(done, len(result.outcomes))
            _share_time([row for work in group for row in work.outcomes], time.perf_counter() - begun)
            begun = time.perf_counter()
            for work in group:
                for subject in work.subjects:
                    if subject.codes is not None and subject.inverted is not None:
                        place = f"{names.index(subject.outcome.file)}.{subject.outcome.face}"
                        latents[f"{place}.result"] = subject.codes.half()
                        latents[f"{place}.inversion"] = subject.inverted.half()
                        assert subject.match is not None
                        latents[f"{place}.pair"] = torch.tensor(subject.match.index)
        with write_errors(store.work):
            replace_file(store.work / "latents" / f"{index:06d}.safetensors",
                         lambda path: path.write_bytes(save(latents)))
        result.stages = {stage: value - before.get(stage, 0.0) for stage, value in self.pipeline.seconds.items()}
        result.used = sorted(self.pipeline.used - used)
        result.wall = time.perf_counter() - started
        return result

    def _groups(self, names: Sequence[str], result: ShardResult) -> Iterator[list[Work]]:
        """Photos together until their faces fill a batch or their pixels the memory."""
        group: list[Work] = []
        for name in names:
            work = self._open(name, result)
            if work is None:
                continue
            group.append(work)
            faces = sum(len(one.subjects) for one in group)
            if faces >= self.recipe.batch or sum(one.photo.pixels.size // 3 for one in group) > GROUP_PIXELS:
                yield group
                group = []
        if group:
            yield group

    def _open(self, name: str, result: ShardResult) -> Work | None:
        try:
            with self.pipeline.timed("read"):
                photo = read_photo(self.root / name, name)
            with self.pipeline.timed("detect"):
                faces = detect(self.networks, photo)
        except PhotoError as error:
            result.skipped.append(Skipped(name, error.message.removeprefix(f"{printable(name)}: ")))
            return None
        faces, extra = self._named(photo, faces)
        work = self.pipeline.prepare(photo, faces)
        for i, face in enumerate(extra, len(faces)):
            outcome = Outcome(name, i, face.box, face.points.tolist(), face.score, "blurred",
                              "named by the owner, no face found there")
            work.concealed.append((face, outcome))
        self._leave(work)
        for subject in work.subjects:
            people = self.who.get(name, [])
            if subject.outcome.face < len(people):
                subject.outcome.person = people[subject.outcome.face]
                subject.fixed = self.people[subject.outcome.person]
        return work

    def _named(self, photo: Photo, faces: list[Face]) -> tuple[list[Face], list[Face]]:
        """Faces found, and regions that the owner names (`--only`) where none was found: those are concealed."""
        if self.only is None:
            return faces, []
        lost = [box for box in self.only.get(photo.name, []) if not any(_meets(box, face) for face in faces)]
        return faces, [_region_face(box) for box in lost]

    def _leave(self, work: Work) -> None:
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

    def _export(self, work: Work, result: ShardResult) -> None:
        """Encode, decode, search again, write; a dropped photo is not written."""
        data, suffix = self._encode(work)
        for _ in range(SEARCHES):
            if not self.pipeline.search_again(work, decode_pixels(data)):
                break
            data, suffix = self._encode(work)
        name = work.photo.name + suffix
        result.outcomes += work.outcomes
        if any(row.status == "dropped" for row in work.outcomes):
            result.skipped.append(Skipped(work.photo.name, "dropped: a face could not be anonymised"))
            return
        target = self.request.dst / name
        if name != work.photo.name and (self.root / name).exists():
            raise OutputError(f"{work.photo.name} would be written as {name}, which SRC has already", "rename one")
        with self.pipeline.timed("write"), write_errors(self.request.dst):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, data)
        result.outputs[work.photo.name] = name

    def _encode(self, work: Work) -> tuple[bytes, str]:
        assert work.pixels is not None and work.changed is not None
        with self.pipeline.timed("encode"):
            return encode_photo(work.photo, work.pixels, work.changed)

    def _meet(self, names: Sequence[str]) -> None:
        """Before anything is changed: who is in which photo, and which new face each person gets."""
        gallery = Gallery(self.networks.recogniser.same_person)
        rows: dict[str, list[torch.Tensor]] = {}  # each face's distances to the pool, a few kB
        for name in names:
            try:
                photo = read_photo(self.root / name, name)
                faces = detect(self.networks, photo)
            except PhotoError:
                continue
            label, largest = self._label(name), max((face.box[2] * face.box[3] for face in faces), default=0)
            self.who[name] = []
            for face in faces:
                target = faces_of(self.networks, [face], [self.pipeline.align(photo.pixels, face)])
                labelled = label and face.box[2] * face.box[3] == largest
                person = f"label:{label}" if labelled else gallery.assign(target.identity[0].numpy())
                self.who[name].append(person)
                known = rows.setdefault(person, [])
                if len(known) < PERSON_FACES:
                    known.append(distances(self.pool, target, self.recipe.pair)[0])
        for person in sorted(rows):
            mean = torch.stack(rows[person]).mean(dim=0)
            self.people[person] = pair_person(mean, self.recipe.pair, self.request.key or b"",
                                              self.pipeline.used)
            self.pipeline.used.add(self.people[person].index)

    def _label(self, name: str) -> str:
        return self.labels.get(name) or self.labels.get(name.rsplit("/", 1)[-1], "")

    def _record(self, summary: Summary) -> dict[str, Any]:
        """`mien.json`: everything that decided the result, and the counts. Nothing of who the people are."""
        return {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), **versions(),
            "recipe": self.recipe.model_dump(mode="json"), "recipe_hash": self.recipe.hash,
            "weights_sha256": self.request.weights,
            **self.request.dataset.record(summary.outputs), "notes": summary.notes,
            "threads": torch.get_num_threads(), "photos": summary.photos, "faces": summary.faces,
            "statuses": dict(summary.statuses), "reasons": dict(summary.reasons),
            "stages": {name: round(value, 2) for name, value in summary.stages.items()}, "wall": round(summary.wall, 2),
            "skipped": [{"file": os.fsencode(s.file).decode("utf-8", "backslashreplace"), "reason": s.reason}
                        for s in summary.skipped]}


def _tell(progress: Progress, before: Event, photos: int, faces: int) -> None:
    progress(Event(before.photos + photos, before.total, before.faces + faces, before.new_faces + faces))


def _share_time(outcomes: list[Outcome], seconds: float) -> None:
    """Spread what a group of photos took besides its batches (reading, searching, blending, writing) over its faces."""
    rest = seconds - sum(outcome.seconds for outcome in outcomes)
    for outcome in outcomes:
        outcome.seconds += rest / len(outcomes)


def _by_file(regions: list[Region]) -> dict[str, list[tuple[float, float, float, float]]]:
    table: dict[str, list[tuple[float, float, float, float]]] = {}
    for region in regions:
        table.setdefault(region.file, []).append(region.box)
    return table


def _meets(box: tuple[float, float, float, float], face: Face) -> bool:
    x, y, width, height = face.box
    inside = box[0] <= x + width / 2 <= box[0] + box[2] and box[1] <= y + height / 2 <= box[1] + box[3]
    return inside or overlap(box, face.box) >= REGION_OVERLAP


def _region_face(box: tuple[float, float, float, float]) -> Face:
    """A region as a face: points where a frontal face in that box would have them."""
    x, y, width, height = box
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])
    return Face(box, (places * [width, height] + [x, y]).astype(np.float32), 0.0)


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
