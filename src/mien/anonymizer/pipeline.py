"""The order of the stages, in one place: from photos with chosen faces to finished photos with outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.anonymizer.align_ffhq import ALIGNERS
from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.conceal import conceal
from mien.anonymizer.invert import Inversion, invert
from mien.anonymizer.losses import Faces, faces_of, identities_of
from mien.anonymizer.optimize import Optimized, optimize
from mien.anonymizer.optimize_falco import optimize_as_published
from mien.anonymizer.pairing import AvailableFaces, pair
from mien.anonymizer.pool import Pool
from mien.anonymizer.render import render, render_styles
from mien.anonymizer.seeds import seed_of
from mien.anonymizer.verify import distances, embed, find_again, nothing, same_person
from mien.errors import FaceError
from mien.models.bundle import Networks
from mien.models.generators.stylegan2 import StyleGAN2
from mien.recipe import InvertSettings, OptimizeSettings, PairSettings, Recipe
from mien.types import Crop, Face, FaceOutcome, Floats, Match, Photo, Pixels
from mien.util.devices import enough_memory

SEARCHES = 3  # of a finished photo that may conceal more, before the last
LEAST_INSIDE = 0.75  # of the crop's area within the photo, for a face that the judge does not know from nothing


@dataclass
class Subject:
    """One face on its way through the stages.

    Attributes:
        fixed: pool face that its person always gets (per-person), or None. match: the one it starts from.
        identity: the recognizer's unit vector [D] of the original. inverted: its codes, where the recipe asks for any.
        picture: the new face [1024, 1024, 3], once rendered.
    """

    face: Face
    crop: Crop
    outcome: FaceOutcome
    fixed: Match | None = None
    judged: Floats = field(default_factory=lambda: np.zeros(128, np.float32))
    identity: Tensor | None = None
    inverted: Tensor | None = None
    codes: Tensor | None = None
    match: Match | None = None
    picture: Pixels | None = None
    tried: set[int] = field(default_factory=set)
    passed: bool = False


@dataclass
class WorkItem:
    """One photo with the faces found in it: those to anonymize, those to conceal at once, those to leave."""

    photo: Photo
    found: list[Face] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    concealed: list[tuple[Face, FaceOutcome]] = field(default_factory=list)
    left: list[tuple[Face, FaceOutcome]] = field(default_factory=list)
    pixels: Pixels | None = None
    changed: npt.NDArray[np.bool_] | None = None

    @property
    def outcomes(self) -> list[FaceOutcome]:
        rows = [s.outcome for s in self.subjects] + [o for _, o in self.concealed] + [o for _, o in self.left]
        return sorted(rows, key=lambda row: row.face)


class Pipeline:
    """Anonymizes faces with one set of networks, one pool and one recipe; deterministic in these and the batches.

    Attributes:
        free: pool faces for those who come without a match, or need another one.

    Raises:
        UsageError: the generator has none of the recipe's layers.
    """

    def __init__(self, networks: Networks, pool: Pool, recipe: Recipe) -> None:
        recipe.optimize.changed(networks.generator.n_layers)  # to be heard before anything is written
        self.networks = networks
        self.pool = pool
        self.recipe = recipe
        self.align = ALIGNERS[recipe.detect.alignment]
        self.nothing = nothing(networks)
        self.free = AvailableFaces(len(pool))
        self.seconds: dict[str, float] = {}

    def prepare(self, photo: Photo, faces: list[Face]) -> WorkItem:
        """Cut the faces of a photo out; those too small for a generator are concealed."""
        work = WorkItem(photo, faces)
        for i, face in enumerate(faces):
            outcome = FaceOutcome(file=photo.name, face=i, box=face.box, points=face.points.tolist(), score=face.score,
                                  status="anonymized")
            if min(face.box[2:]) < self.recipe.detect.min_size:
                outcome.status, outcome.reason = "blurred", f"smaller than {self.recipe.detect.min_size} pixels"
                work.concealed.append((face, outcome))
                continue
            with self.timed("align"):
                work.subjects.append(Subject(face, self.align(photo.pixels, face), outcome))
        return work

    def run(self, works: list[WorkItem]) -> None:
        """Anonymize all subjects of some photos, in batches across photos; fills `pixels` and `changed` of each."""
        for work in works:
            with self.timed("verify"):
                vectors = embed(self.networks, work.photo.pixels, [s.face for s in work.subjects])
            for subject, vector in zip(list(work.subjects), vectors, strict=True):
                subject.judged = vector
                # What is mostly mirror image, and like a black picture to the judge, is a scrap of a face or none:
                # a new one there would look odd.
                known = np.linalg.norm(vector - self.nothing) >= self.recipe.verify.threshold
                if not known and subject.crop.inside.mean() < LEAST_INSIDE:
                    subject.outcome.status = "blurred"
                    subject.outcome.reason = "cut off by the edge, and the judge cannot tell it from nothing"
                    work.subjects.remove(subject)
                    work.concealed.append((subject.face, subject.outcome))
        waiting = [s for work in works for s in work.subjects]
        for attempt in range(self.recipe.verify.attempts):
            for i in range(0, len(waiting), self.recipe.batch):
                batch = waiting[i : i + self.recipe.batch]
                with enough_memory(len(batch)):
                    self._attempt(batch, attempt)
            for work in works:
                if any(not s.passed for s in work.subjects) or attempt == 0:
                    self._judge(work, last=attempt + 1 == self.recipe.verify.attempts)
            waiting = [s for work in works for s in work.subjects if not s.passed]
            if not waiting:
                break
        for work in works:
            self._fail(work)

    def _attempt(self, subjects: list[Subject], attempt: int) -> None:
        """One batch through invert, pair, optimize and render, harder at each attempt."""
        started = time.perf_counter()
        self._pair(subjects, another=attempt >= 2)
        inversion = self.recipe.inversion(self.networks.generator.n_layers)
        now = inversion if attempt == 0 else None
        # Of the pictures that are looked at: all other sizes are shrunk from it.
        size = max(self.recipe.optimize.size, now.size if now else 0)
        faces = faces_of(self.networks, [s.face for s in subjects], [s.crop for s in subjects], size)
        if now is not None:
            self._invert(subjects, faces, now)
        settings = _harder(self.recipe.optimize, attempt, self.networks.generator.n_layers)
        if self.recipe.identity == "per-person":
            weight = max(settings.target_weight, settings.identity_weight)
            settings = settings.model_copy(update={"target_weight": weight})
        target = torch.stack([self.pool.identities[s.match.index] for s in subjects if s.match])
        start = torch.stack([self.pool.codes[s.match.index] for s in subjects if s.match])
        inverted = start[:, None].expand(-1, self.networks.generator.n_layers, -1)
        if inversion is not None:
            inverted = torch.stack([s.inverted for s in subjects if s.inverted is not None])
        with self.timed("optimize"):
            seed = seed_of(self.recipe.seed, attempt, [(s.outcome.file, s.outcome.face) for s in subjects])
            done = optimize_faces(self.networks, faces, inverted, start, settings, seed, target)
        with self.timed("render"):
            pictures = render_faces(self.networks, done, settings)
        share = (time.perf_counter() - started) / len(subjects)
        for i, subject in enumerate(subjects):
            subject.picture, subject.codes = pictures[i], done.codes[i]
            _note(subject.outcome, done, i, share)

    def _invert(self, subjects: list[Subject], faces: Faces, settings: InvertSettings) -> None:
        with self.timed("invert"):
            result: Inversion = invert(self.networks, faces, settings)
        for i, subject in enumerate(subjects):
            subject.inverted = result.codes[i]
            subject.outcome.steps += result.steps

    def _pair(self, subjects: list[Subject], another: bool) -> None:
        """Match those who have no match or need another one; a person's new face is the same in all photos, or none."""
        waiting = [s for s in subjects if s.match is None or (another and s.fixed is None)]
        if not waiting:
            return
        with self.timed("pair"):
            seen = faces_of(self.networks, [s.face for s in waiting], [s.crop for s in waiting])
            traits = self.pool.traits(seen)
            settings = _farther(self.recipe.pair) if another else self.recipe.pair
            for i, subject in enumerate(waiting):
                subject.identity = traits.identities[i]
                seed = seed_of(self.recipe.seed, 0, [(subject.outcome.file, subject.outcome.face)])
                (subject.match,) = pair(self.pool, traits.rows(slice(i, i + 1)), settings, self.free, [seed],
                                        but=subject.tried)
                subject.tried.add(subject.match.index)

    def _judge(self, work: WorkItem, last: bool) -> None:
        """Blend, and let the judge decide about each new face where the photo will show it."""
        with self.timed("blend"):
            self._compose(work)
        assert work.pixels is not None
        faces = [s.face for s in work.subjects]
        with self.timed("verify"):
            found = find_again(self.networks.detector, work.pixels, faces)
            originals = np.stack([s.judged for s in work.subjects]) if faces else np.zeros((0, 128), np.float32)
            same = same_person(originals, self.recipe.verify.threshold)
            measured = distances(self.networks, originals, work.pixels, faces, found, same)
            self._measure_similarity(work, work.pixels)
        for subject, distance, again in zip(work.subjects, measured, found, strict=True):
            subject.outcome.judge_distance = float(distance)
            stranger = distance >= self.recipe.verify.threshold + self.recipe.verify.reserve
            # A result that no detector sees is a poor face: tried again, taken only if nothing better comes.
            subject.passed = bool(stranger and (again is not None or last or subject.passed))

    def _measure_similarity(self, work: WorkItem, pixels: Pixels) -> None:
        """The loss's own recognizer on the new photo: what the optimization saw, confirmed at full size."""
        if not work.subjects:
            return
        faces = [s.face for s in work.subjects]
        new = identities_of(self.networks, faces, [self.align(pixels, face) for face in faces])
        for subject, vector in zip(work.subjects, new, strict=True):
            if subject.identity is not None:
                subject.outcome.similarity = float(vector @ subject.identity)

    def _compose(self, work: WorkItem) -> None:
        hidden = [face for face, _ in work.concealed]
        pixels, changed = conceal(work.photo.pixels, hidden)
        # New faces go in after: a concealed neighbor must not cover them.
        patches = [Patch(s.crop, s.picture) for s in work.subjects if s.picture is not None]
        pixels, blended = blend(pixels, patches, work.photo.pixels)
        work.pixels, work.changed = pixels, changed | blended

    def _fail(self, work: WorkItem, reason: str = "still verifies as the original after every attempt") -> None:
        """Conceal what could not be anonymized, and say so."""
        failed = [s for s in work.subjects if not s.passed]
        for subject in failed:
            subject.outcome.status, subject.outcome.reason = "blurred", reason
            subject.outcome.judge_distance = None
            work.subjects.remove(subject)
            work.concealed.append((subject.face, subject.outcome))
        if failed or work.pixels is None:
            self._compose(work)
        if failed:
            self._mind(work, failed[0].outcome)

    def _mind(self, work: WorkItem, outcome: FaceOutcome) -> None:
        if self.recipe.on_failure == "error":
            raise FaceError(f"{outcome.file}: face {outcome.face} could not be anonymized: {outcome.reason}",
                            "run with --on-failure blur to have such faces blurred")
        if self.recipe.on_failure == "drop":
            for row in work.outcomes:
                row.status, row.reason = "dropped", row.reason or f"face {outcome.face} of this photo failed"

    def finish(self, work: WorkItem, shown: Callable[[WorkItem], Pixels]) -> bool:
        """Search the finished photo, and conceal what is found, until a search finds nothing.

        Args:
            shown: the photo's pixels as it would leave.

        Returns:
            Whether a search found nothing: else the photo must not leave.
        """
        return any(not self.search_again(work, shown(work)) for _ in range(SEARCHES + 1))

    def search_again(self, work: WorkItem, decoded: Pixels) -> bool:
        """Search the finished, decoded photo once more; conceal what still verifies or was missed before.

        Returns:
            Whether anything was concealed, so that the photo has to be encoded anew.
        """
        with self.timed("verify"):
            found = self.networks.detector.detect(decoded)
            held = [s.face for s in work.subjects]
            originals = np.stack([s.judged for s in work.subjects]) if held else np.zeros((0, 128), np.float32)
            same = same_person(originals, self.recipe.verify.threshold)
            vectors = embed(self.networks, decoded, found)
            there = embed(self.networks, decoded, held)
        known = [*held, *(face for face, _ in work.concealed), *(face for face, _ in work.left)]
        guilty: set[int] = set()
        missed: list[Face] = []
        for face, vector in zip(found, vectors, strict=True):
            if _about(face, [f for f, _ in work.left]):
                continue  # the owner wants it as it is
            # A neighbor whom it happens to resemble, as strangers do, is no leak; a double of the person is.
            likes = np.linalg.norm(originals - vector, axis=1) < self.recipe.verify.threshold
            guilty.update(i for i, one in enumerate(held) if _about(face, [one]) and (likes & same[i]).any())
            if not _about(face, known):
                missed.append(face)
        guilty.update(i for i, vector in enumerate(there)  # NaN: cannot be judged, so guilty
                      if not np.linalg.norm(vector - originals[same[i]], axis=1).min() >= self.recipe.verify.threshold)
        for i in sorted(guilty, reverse=True):
            work.subjects[i].passed = False
        self._fail(work, "verifies as the original in the finished photo")
        for face in missed:
            outcome = FaceOutcome(work.photo.name, len(work.outcomes), face.box, face.points.tolist(), face.score,
                                  "blurred", "found only in the finished photo")
            work.concealed.append((face, outcome))
            self._mind(work, outcome)
        if missed:
            self._compose(work)
        return bool(guilty or missed)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


def optimize_faces(networks: Networks, faces: Faces, inverted: Tensor, paired: Tensor, settings: OptimizeSettings,
                   seed: int, target: Tensor | None = None) -> Optimized:
    """Optimize a batch by the method that the settings ask for, see `optimize` and `optimize_as_published`."""
    if settings.method == "published":
        return optimize_as_published(networks, faces, inverted, paired, settings)
    return optimize(networks, faces, inverted, paired, settings, seed, target)


def render_faces(networks: Networks, done: Optimized, settings: OptimizeSettings) -> list[Pixels]:
    """Draw new faces [1024, 1024, 3] from their codes, or from their styles where they have left W+."""
    if done.styles is not None and isinstance(networks.generator, StyleGAN2):
        return render_styles(networks.generator, done.styles, settings.reference)
    return render(networks, done.codes, settings.reference)


def _harder(settings: OptimizeSettings, attempt: int, n_layers: int) -> OptimizeSettings:
    """More layers where there are more, then a larger margin; another pool face comes with the second retry.

    Nothing of the inversion is begun with any more, which takes more steps.
    """
    if attempt == 0:
        return settings
    now = settings.changed(n_layers)
    more = {now[0] - 1, *now, now[-1] + 1, now[-1] + 2}
    layers = tuple(sorted(layer for layer in more if 0 <= layer < n_layers))
    farther = attempt if layers == now else attempt - 1
    return settings.model_copy(update={
        "layers": layers, "margin": max(settings.margin - 0.15 * farther, -1.0), "attribute_goal": 0.0,
        "share": 0.0, "steps": settings.steps if settings.method == "published" else 2 * settings.steps})


def _farther(settings: PairSettings) -> PairSettings:
    """Those nearest in attributes may all be like the person: of ten times as many the one who is least."""
    return settings.model_copy(update={"k": 10 * settings.k, "choice": "unlike"})


def _note(outcome: FaceOutcome, done: Optimized, i: int, seconds: float) -> None:
    outcome.attempts += 1
    outcome.steps += int(done.steps[i])
    outcome.seconds += seconds
    outcome.similarity = float(done.similarity[i])
    outcome.attribute_distance = float(done.attribute_distance[i])


def _about(face: Face, others: list[Face]) -> bool:
    """Whether a face's middle lies in one of the others' boxes, or the other way round."""
    return any(_holds(face, other) or _holds(other, face) for other in others)


def _holds(outer: Face, inner: Face) -> bool:
    x, y, w, h = outer.box
    cx, cy = inner.box[0] + inner.box[2] / 2, inner.box[1] + inner.box[3] / 2
    return x <= cx <= x + w and y <= cy <= y + h
