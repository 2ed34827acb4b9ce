"""Compares recipes on the same train photographs, for choosing the default one; inversions are made once.

    python benchmarks/tune.py --data FOLDER --work FOLDER default default/optimize.steps=12 falco-mobile [--write]

Each argument is a recipe with settings after slashes. FOLDER of --data holds CelebA-HQ/. Each person of the train split
that has three photographs and more gives three, in a seeded order, until --people of them. Every face goes through the
whole pipeline, retries included, and is measured as `mien evaluate` does; only encoding is left out. --work holds
vectors of real people.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import put_section, stamp

from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.load import Loaded, prepare
from mien.anonymizer.losses import Faces
from mien.anonymizer.pipeline import Pipeline
from mien.anonymizer.render import render
from mien.anonymizer.work_item import Subject, WorkItem
from mien.datasets.registry import open_dataset
from mien.evaluation.evaluation import Figure
from mien.evaluation.evaluators import fingerprints, load_evaluators
from mien.evaluation.measure_face import Evaluators, largest_face, measure_face
from mien.evaluation.measurements import Columns, Measurements
from mien.evaluation.metrics import METRICS, Estimates, calibrate, estimate_metrics
from mien.evaluation.terminal_table import format_figure
from mien.evaluation.work_folder import key_of
from mien.images.decode import read_photo
from mien.models.features.attribute_network import ATTRIBUTES
from mien.recipe import InvertSettings, Recipe
from mien.types import Face, Photo

PHOTOS = 3  # a person
JUDGES = ["faceplugin", "dlib", "sface"]
LOOK = ("sex_kept", "age_change", "group_kept", "expression_kept", "gaze_difference", "pose_difference",
        "points68_difference", "skin_color", "iris_color", "light_difference", "sharpness_ratio")
SHOWN = ("verified_own_original_far1e-3", "rank1_own_original_all_originals", "auc_new_to_new", "auc_new_to_new_alike",
         "collisions_new_to_new")


@dataclass(frozen=True)
class Sample:
    """Photographs with their largest faces, whose they are, and CelebA's labels [N, 40]."""

    photos: list[Photo]
    faces: list[Face]
    people: np.ndarray
    labels: np.ndarray


class KeepingPipeline(Pipeline):
    """The pipeline, which keeps its inversions in a folder."""

    def __init__(self, ready: Loaded, recipe: Recipe, folder: Path) -> None:
        super().__init__(ready.networks, ready.pool, recipe)
        self.folder, self.weights = folder, ready.weights

    def _invert(self, subjects: list[Subject], faces: Faces, settings: InvertSettings) -> None:
        decided = [settings.model_dump(), self.recipe.precision, self.recipe.detect.model_dump(), self.weights]
        folder = self.folder / key_of(decided)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{subject.outcome.file}.pt" for subject in subjects]
        if not all(file.exists() for file in files):
            super()._invert(subjects, faces, settings)
            for subject, file in zip(subjects, files, strict=True):
                torch.save(subject.inverted, file)
        for subject, file in zip(subjects, files, strict=True):
            subject.inverted = torch.load(file)


def sampled(data: Path, people: int, evaluators: Evaluators, split: str) -> Sample:
    """Reads the photos of `people` people."""
    dataset = open_dataset(data / "CelebA-HQ", "celebahq", split)
    of: dict[str, list[str]] = {}
    for name in dataset.names():
        of.setdefault(dataset.people[name], []).append(name)
    many = sorted(who for who, names in of.items() if len(names) >= PHOTOS)
    photos, faces, whose, labels = [], [], [], []
    for number, who in enumerate(np.random.default_rng(1).permutation(many)[:people]):
        for name in sorted(of[str(who)])[:PHOTOS]:
            photo = read_photo(dataset.root / name, Path(name).name)
            face = largest_face(evaluators.detector, photo.pixels)
            if face is not None:
                photos.append(photo)
                faces.append(face)
                whose.append(number)
                labels.append(np.asarray(dataset.attributes[name]) > 0)
    assert tuple(dataset.attribute_names) == ATTRIBUTES
    return Sample(photos, faces, np.array(whose, np.int64), np.stack(labels).astype(np.int8))


def attempt(sample: Sample, recipe: Recipe, ready: Loaded, folder: Path) -> tuple[list[WorkItem], dict[str, float]]:
    """Anonymizes all photos, a few at a time, and gives the seconds by stage too."""
    pipeline = KeepingPipeline(ready, recipe, folder)
    works = [pipeline.prepare(photo, [face]) for photo, face in zip(sample.photos, sample.faces, strict=True)]
    for i in range(0, len(works), recipe.batch):
        pipeline.run(works[i : i + recipe.batch])
        print(f"{min(i + recipe.batch, len(works))}/{len(works)}", end="\r", flush=True)
    return works, pipeline.timer.seconds


def rendered(sample: Sample, ready: Loaded) -> list[WorkItem]:
    """Puts a random face of the pool in every face's place."""
    pipeline = Pipeline(ready.networks, ready.pool, Recipe().with_changes({"seed": 0}))
    works = [pipeline.prepare(photo, [face]) for photo, face in zip(sample.photos, sample.faces, strict=True)]
    drawn = np.random.default_rng(2).integers(len(ready.pool.codes), size=len(works))
    for work, index in zip(works, drawn, strict=True):
        codes = ready.pool.codes[index].expand(1, ready.networks.generator.n_layers, -1)
        work.pixels, work.changed = blend(work.photo.pixels, [Patch(work.subjects[0].crop,
                                                                    render(ready.networks, codes)[0])])
    return works


def measured(sample: Sample, works: list[WorkItem] | None, evaluators: Evaluators, file: Path) -> Measurements:
    """The measurements of all photographs, kept in a file."""
    if not file.exists():
        rows: list[Columns] = []
        for i, (photo, face) in enumerate(zip(sample.photos, sample.faces, strict=True)):
            pixels = photo.pixels if works is None else works[i].pixels
            assert pixels is not None
            rows.append(measure_face(evaluators, pixels, face, photo.pixels))
        np.savez(file, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})
    with np.load(file) as held:
        return Measurements(np.arange(len(sample.photos)), {name: held[name] for name in held.files}, [])


COLUMNS = ("recipe", "verified, FAR 1e-3", "own original nearest", "two new faces linked (AUC)", "among people alike",
           "different people alike", "the last but one by dlib", "attributes, random to original",
           *(METRICS[name].title for name in LOOK), METRICS["spot_the_fake"].title, "found by the second detector",
           "anonymized", "attempts", "s a face without inversion")


def line(name: str, found: dict[str, Estimates], ends: tuple[float, float], held: dict[str, Any]) -> str:
    """One row of the table; `ends`: attributes of the random face and of the original."""
    own, dlib, utility, look = (found[group] for group in ("privacy/faceplugin", "privacy/dlib", "utility", "look"))
    place = (utility["attributes_accuracy"].value - ends[0]) / (ends[1] - ends[0])
    cells = [name, *(f"{100 * own[key].value:.1f} %" for key in SHOWN),
             f"{100 * dlib['auc_new_to_new_alike'].value:.1f} %", f"{place:.0%}",
             *(format_figure(Figure.of(look[key], METRICS[key].better), METRICS[key].unit) for key in LOOK),
             f"{100 * found['quality']['spot_the_fake'].value:.1f} %",
             f"{100 * utility['found_centerface'].value:.1f} %"]
    if held:  # by a recipe
        cells += [f"{held['anonymized']:.1%}", f"{held['attempts']:.2f}", f"{sum(held['seconds'].values()):.1f}"]
    return f"| {' | '.join([*cells, *[''] * (len(COLUMNS) - len(cells))])} |"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", help="recipe/table.field=value/...")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--split", default="train")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    args = parser.parse_args()
    folder = args.work / f"{args.split}-{args.people}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    evaluators = load_evaluators(JUDGES)
    sample = sampled(args.data, args.people, evaluators, args.split)
    print(f"{len(sample.photos)} photos of {args.people} people of {args.split}")
    measured_by = fingerprints(JUDGES)
    original = calibrate(measured(sample, None, evaluators, folder / f"originals-{key_of(measured_by)}.npz"),
                         sample.people, sample.labels, True, JUDGES)
    ready = prepare(Recipe())
    kept = folder / f"random-{key_of([measured_by, ready.weights])}.npz"
    random = measured(sample, None if kept.exists() else rendered(sample, ready), evaluators, kept)
    sets = {"originals": original.measurements, "random generated face": random}
    baselines = {name: estimate_metrics(original, one, JUDGES) for name, one in sets.items()}
    ends = tuple(one["utility"]["attributes_accuracy"].value for one in reversed(baselines.values()))
    rows = [line(name, one, ends, {}) for name, one in baselines.items()]
    for variant in args.variants:
        base, *settings = variant.split("/")
        recipe = Recipe.load(base).with_settings(settings).with_changes({"seed": 0}).settled()
        ready = prepare(recipe)
        file = folder / f"{base}-{recipe.hash}-{key_of([measured_by, ready.weights])}.npz"
        note = file.with_suffix(".json")
        works = None
        if not file.exists():
            works, seconds = attempt(sample, recipe, ready, folder / "inverted")
            outcomes = [work.outcomes[0] for work in works]
            note.write_text(json.dumps({
                "anonymized": float(np.mean([one.status == "anonymized" for one in outcomes])),
                "attempts": float(np.mean([one.attempts for one in outcomes])),
                "seconds": {stage: round(x / len(works), 2) for stage, x in seconds.items()}}))
        found = measured(sample, works, evaluators, file)
        rows.append(line(f"`{variant}`", estimate_metrics(original, found, JUDGES), ends, json.loads(note.read_text())))
        print(rows[-1], flush=True)
    head = f"| {' | '.join(COLUMNS)} |\n|---{'|---' * (len(COLUMNS) - 1)}|"
    table = "\n".join([head, *rows])
    if args.write:
        about = (f"{len(sample.photos)} photographs of {args.people} people of {args.split}, three each; privacy by "
                 "faceplugin.")
        put_section("Recipes tried on train photographs", f"`python benchmarks/tune.py`. {stamp()} {about}\n\n{table}")
    else:
        print(table)


if __name__ == "__main__":
    main()
