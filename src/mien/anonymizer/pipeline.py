"""Runs the stages in their order, from photos with detected faces to finished photos with the outcome of each face."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mien.anonymizer.align_ffhq import ALIGNERS
from mien.anonymizer.finish import Decision, compose, conceal_failed, finish
from mien.anonymizer.invert import Inversion, invert
from mien.anonymizer.losses import Faces, faces_of, identities_of
from mien.anonymizer.optimize import Optimized, optimize
from mien.anonymizer.optimize_falco import optimize_as_published
from mien.anonymizer.pairing import AvailableFaces, pair
from mien.anonymizer.pool import Pool
from mien.anonymizer.render import render, render_styles
from mien.anonymizer.seeds import secret_of, seed_of
from mien.anonymizer.stage_timer import StageTimer
from mien.anonymizer.verify import distances, embed, embed_black, find_again, same_person
from mien.anonymizer.work_item import Subject, WorkItem
from mien.models.bundle import Networks
from mien.models.generators.stylegan2 import StyleGAN2
from mien.recipe import InvertSettings, OptimizeSettings, PairSettings, Recipe
from mien.types import Face, FaceOutcome, Photo, Pixels
from mien.util.devices import memory_errors

LEAST_INSIDE = 0.75  # share of the crop within the photo, for a face that is like a black picture to the judge


class Pipeline:
    """Anonymizes faces with one set of networks, one pool and one recipe.

    The result depends on these, on the secret, on the photos and on which faces share a batch, and on nothing else. A
    pipeline serves one thread at a time; several may share their networks and pool.

    Attributes:
        secret: all random draws derive from it; by default from the recipe's seed, or a new one where that has none.
        free: the pool faces that may be chosen for a subject that has no match yet or needs another one.
        timer: seconds by stage.

    Raises:
        UsageError: the generator has none of the recipe's layers.
    """

    def __init__(self, networks: Networks, pool: Pool, recipe: Recipe) -> None:
        recipe.optimize.changed(networks.generator.n_layers)  # fails here rather than at the first face
        self.networks = networks
        self.pool = pool
        self.recipe = recipe
        self.align = ALIGNERS[recipe.detect.alignment]
        self.black = embed_black(networks)
        self.secret = secret_of(recipe.seed)
        self.free = AvailableFaces(len(pool))
        self.timer = StageTimer()

    def prepare(self, photo: Photo, faces: list[Face]) -> WorkItem:
        """Cuts the faces out of a photo and decides that those too small for a generator are concealed."""
        item = WorkItem(photo, faces)
        for i, face in enumerate(faces):
            outcome = FaceOutcome(file=photo.name, face=i, box=face.box, points=face.points.tolist(), score=face.score,
                                  status="anonymized")
            if min(face.box[2:]) < self.recipe.detect.min_size:
                outcome.status, outcome.reason = "blurred", f"smaller than {self.recipe.detect.min_size} pixels"
                item.concealed.append((face, outcome))
                continue
            with self.timer.timed("align"):
                item.subjects.append(Subject(face, self.align(photo.pixels, face), outcome))
        return item

    def run(self, items: list[WorkItem]) -> None:
        """Anonymizes all subjects of some photos, in batches across photos; fills `pixels` and `changed` of each."""
        for item in items:
            with self.timer.timed("verify"):
                vectors = embed(self.networks, item.photo.pixels, [s.face for s in item.subjects])
            for subject, vector in zip(list(item.subjects), vectors, strict=True):
                subject.judged = vector
                # A crop that is mostly mirrored, and like a black picture to the judge, shows a scrap of a face or
                # none: a new face there would look odd.
                known = np.linalg.norm(vector - self.black) >= self.recipe.verify.threshold
                if not known and subject.crop.inside.mean() < LEAST_INSIDE:
                    subject.outcome.status = "blurred"
                    subject.outcome.reason = "cut off by the edge, and the judge cannot tell it from nothing"
                    item.subjects.remove(subject)
                    item.concealed.append((subject.face, subject.outcome))
        waiting = [s for item in items for s in item.subjects]
        for attempt in range(self.recipe.verify.attempts):
            for i in range(0, len(waiting), self.recipe.batch):
                batch = waiting[i : i + self.recipe.batch]
                with memory_errors(len(batch)):
                    self._attempt(batch, attempt)
            for item in items:
                if any(not s.passed for s in item.subjects) or attempt == 0:
                    self._judge(item, last=attempt + 1 == self.recipe.verify.attempts)
            waiting = [s for item in items for s in item.subjects if not s.passed]
            if not waiting:
                break
        for item in items:
            conceal_failed(item, self.recipe, "still verifies as the original after every attempt")

    def finish(self, item: WorkItem, encode: Callable[[WorkItem], Pixels]) -> Decision:
        """Searches the photo as it would leave and decides about it, see `mien.anonymizer.finish.finish`."""
        return finish(self.networks, item, self.recipe, encode, self.timer)

    def _attempt(self, subjects: list[Subject], attempt: int) -> None:
        """Pairs, inverts, optimizes and renders one batch, with harder settings at each retry."""
        started = time.perf_counter()
        self._pair(subjects, another=attempt if attempt >= 2 else 0)
        inversion = self.recipe.inversion(self.networks.generator.n_layers)
        to_invert = inversion if attempt == 0 else None
        # The largest preview that is compared: the targets of smaller ones are shrunk from it.
        size = max(self.recipe.optimize.size, to_invert.size if to_invert else 0)
        faces = faces_of(self.networks, [s.face for s in subjects], [s.crop for s in subjects], size)
        if to_invert is not None:
            self._invert(subjects, faces, to_invert)
        settings = _harder(self.recipe.optimize, attempt, self.networks.generator.n_layers)
        if self.recipe.identity == "per-person":
            weight = max(settings.target_weight, settings.identity_weight)
            settings = settings.model_copy(update={"target_weight": weight})
        target = torch.stack([self.pool.identities[s.match.index] for s in subjects if s.match])
        start = torch.stack([self.pool.codes[s.match.index] for s in subjects if s.match])
        inverted = start[:, None].expand(-1, self.networks.generator.n_layers, -1)
        if inversion is not None:
            inverted = torch.stack([s.inverted for s in subjects if s.inverted is not None])
        with self.timer.timed("optimize"):
            seed = seed_of(self.secret, attempt, [(s.outcome.file, s.outcome.face) for s in subjects])
            done = optimize_faces(self.networks, faces, inverted, start, settings, seed, target)
        with self.timer.timed("render"):
            pictures = render_faces(self.networks, done, settings)
        share = (time.perf_counter() - started) / len(subjects)
        for i, subject in enumerate(subjects):
            subject.picture, subject.codes = pictures[i], done.codes[i]
            _note(subject.outcome, done, i, share)

    def _invert(self, subjects: list[Subject], faces: Faces, settings: InvertSettings) -> None:
        with self.timer.timed("invert"):
            result: Inversion = invert(self.networks, faces, settings)
        for i, subject in enumerate(subjects):
            subject.inverted = result.codes[i]
            subject.outcome.steps += result.steps

    def _pair(self, subjects: list[Subject], another: int = 0) -> None:
        """Pairs subjects that have no match or need another one; a `fixed` match of a person is never replaced.

        Args:
            another: number of the attempt for which all need another match, or 0.
        """
        waiting = [s for s in subjects if s.match is None or (another and s.fixed is None)]
        if not waiting:
            return
        with self.timer.timed("pair"):
            traits = self.pool.traits(faces_of(self.networks, [s.face for s in waiting], [s.crop for s in waiting]))
            settings, among = self.recipe.pair, None
            if another:
                settings, among = _farther(settings), settings.k
            for i, subject in enumerate(waiting):
                subject.identity = traits.identities[i]
                seed = seed_of(self.secret, another, [(subject.outcome.file, subject.outcome.face)])
                (subject.match,) = pair(self.pool, traits.rows(slice(i, i + 1)), settings, self.free, [seed],
                                        excluded=subject.tried, unlike=among)
                subject.tried.add(subject.match.index)

    def _judge(self, item: WorkItem, last: bool) -> None:
        """Blends the new faces in, and lets the judge decide about each one where the photo will show it."""
        with self.timer.timed("blend"):
            compose(item)
        assert item.pixels is not None
        faces = [s.face for s in item.subjects]
        with self.timer.timed("verify"):
            found = find_again(self.networks.detector, item.pixels, faces)
            originals = item.originals
            same = same_person(originals, self.recipe.verify.threshold)
            measured = distances(self.networks, originals, item.pixels, faces, found, same)
            self._measure_similarity(item, item.pixels)
        for subject, distance, again in zip(item.subjects, measured, found, strict=True):
            subject.outcome.judge_distance = float(distance)
            stranger = distance >= self.recipe.verify.threshold + self.recipe.verify.reserve
            # A result that the detector does not find is a poor face: it is tried again, and taken only in the end.
            subject.passed = bool(stranger and (again is not None or last or subject.passed))

    def _measure_similarity(self, item: WorkItem, pixels: Pixels) -> None:
        """Measures the new faces' cosine to the originals by the loss's recognizer, in the photo at full size."""
        if not item.subjects:
            return
        faces = [s.face for s in item.subjects]
        new = identities_of(self.networks, faces, [self.align(pixels, face) for face in faces])
        for subject, vector in zip(item.subjects, new, strict=True):
            if subject.identity is not None:
                subject.outcome.similarity = float(vector @ subject.identity)


def optimize_faces(networks: Networks, faces: Faces, inverted: Tensor, paired: Tensor, settings: OptimizeSettings,
                   seed: int, target: Tensor | None = None) -> Optimized:
    """Optimizes a batch by the method that the settings ask for, see `optimize` and `optimize_as_published`."""
    if settings.method == "published":
        return optimize_as_published(networks, faces, inverted, paired, settings)
    return optimize(networks, faces, inverted, paired, settings, seed, target)


def render_faces(networks: Networks, done: Optimized, settings: OptimizeSettings) -> list[Pixels]:
    """Renders new faces [1024, 1024, 3] from their codes, or from their styles where the result is in S space."""
    if done.styles is not None and isinstance(networks.generator, StyleGAN2):
        return render_styles(networks.generator, done.styles, settings.reference)
    return render(networks, done.codes, settings.reference)


def _harder(settings: OptimizeSettings, attempt: int, n_layers: int) -> OptimizeSettings:
    """Returns the settings of a retry: more layers where there are more, else a larger margin than before.

    The inversion has no share in the initial codes any more, which takes more steps. Another pool face comes with the
    second retry.
    """
    if attempt == 0:
        return settings
    first = settings.changed(n_layers)
    more = {first[0] - 1, *first, first[-1] + 1, first[-1] + 2}
    layers = tuple(sorted(layer for layer in more if 0 <= layer < n_layers))
    farther = attempt if layers == first else attempt - 1
    return settings.model_copy(update={
        "layers": layers, "margin": max(settings.margin - 0.15 * farther, -1.0), "attribute_goal": 0.0,
        "share": 0.0, "steps": settings.steps if settings.method == "published" else 2 * settings.steps})


def _farther(settings: PairSettings) -> PairSettings:
    """Returns settings that choose among ten times as many: the nearest may all be like the person."""
    return settings.model_copy(update={"k": 10 * settings.k})


def _note(outcome: FaceOutcome, done: Optimized, i: int, seconds: float) -> None:
    outcome.attempts += 1
    outcome.steps += int(done.steps[i])
    outcome.seconds += seconds
    outcome.similarity = float(done.similarity[i])
    outcome.attribute_distance = float(done.attribute_distance[i])
