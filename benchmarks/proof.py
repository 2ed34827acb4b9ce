"""Measures the proof on CelebA-HQ: baselines, recipes, attacks, and classifiers trained on anonymized photographs.

    python benchmarks/proof.py make default --data FOLDER --work FOLDER    # resumable: run it again to go on
    python benchmarks/proof.py make inversion --data FOLDER --work FOLDER  # different sets may be made side by side
    python benchmarks/proof.py make all --data FOLDER --work FOLDER        # one after the other
    python benchmarks/proof.py write --data FOLDER --work FOLDER           # measures and writes RESULTS.md

FOLDER of --data holds CelebA-HQ/ with identities, attributes and splits. Baselines: all photographs of val. Recipes:
whole people of val with three photographs and more, in a seeded order, --count photographs. Training: --count-train
photographs of train by recipe fast, tested on val. --work holds data of real people.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from results import put_section, stamp

from mien.anonymizer.load import prepare
from mien.evaluation.baselines import GENERATED, SIMPLE, make_generated_baseline, make_simple_baseline
from mien.evaluation.confidence import Estimate
from mien.evaluation.evaluate import BASELINES, SET_TITLES, EvaluationConfig, evaluate, measure_originals_and_new
from mien.evaluation.evaluation import Evaluation, Figure, Group
from mien.evaluation.evaluators import load_detector
from mien.evaluation.metrics import METRICS, calibrate, estimate_metrics
from mien.evaluation.pairs import PhotoPairs, find_pairs, sample
from mien.evaluation.recipe_baselines import make_recipe_baseline
from mien.evaluation.retraining import compare_training
from mien.evaluation.terminal_table import (
    SCALE_ENDS,
    attack_table,
    format_beside_baselines,
    format_figure,
    group_title,
    training_table,
)
from mien.recipe import Recipe

RECIPES = ("default", "fast", "falco-mobile")
TRAINING = "training"
SOURCE = "CelebA-HQ"
LEAST = 3  # photographs of a person
PROCESSES = 2
STRICT, RANK, LINKED = ("verified_own_original_far1e-3", "rank1_own_original_all_originals", "auc_new_to_new")


@dataclass(frozen=True)
class Place:
    """The folders of data and sets, and how many photographs are anonymized."""

    data: Path
    work: Path
    count: int
    count_train: int

    @property
    def src(self) -> Path:
        return self.data / SOURCE

    @property
    def sets(self) -> Path:
        """Shared by all evaluations, so that no set is made twice."""
        return self.work / "sets"

    def of(self, evaluation: str) -> Path:
        """The private folder of one evaluation."""
        folder = self.work / evaluation
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / "sets").exists():
            self.sets.mkdir(exist_ok=True, mode=0o700)
            (folder / "sets").symlink_to(self.sets.resolve())
        return folder

    def val(self) -> PhotoPairs:
        return find_pairs(self.src, self.src, "celebahq", "val")

    def of_many(self) -> PhotoPairs:
        """The photographs that recipes anonymize."""
        return sample(self.val(), self.count, 0, LEAST)

    def train(self) -> PhotoPairs:
        return sample(find_pairs(self.src, self.src, "celebahq", "train"), self.count_train, 0)


def make(what: str, place: Place) -> list[Path]:
    """Makes one set, or what is missing of it."""
    place.of("bounds")
    show = partial(_show, what)
    if what in SIMPLE:
        pairs = place.val()
        return make_simple_baseline(what, pairs.root, pairs.names, place.sets, load_detector(), show)
    if what in GENERATED:
        pairs, recipe = place.val(), Recipe().settled()
        return make_generated_baseline(what, pairs.root, pairs.names, place.sets, prepare(recipe), recipe, show)
    pairs = place.train() if what == TRAINING else place.of_many()
    recipe = Recipe.load("fast" if what == TRAINING else what).settled()
    return make_recipe_baseline(recipe, pairs.root, pairs.names, place.sets, prepare(recipe), show)


def write(place: Place) -> None:
    """Evaluates the finished sets, measures how long that takes, and writes the section of RESULTS.md."""
    made = {what: make(what, place) for what in (*BASELINES, *RECIPES, TRAINING)}
    started = time.perf_counter()
    default, train = _folder(made["default"], place.of_many()), _folder(made[TRAINING], place.train())
    of_all = EvaluationConfig(place.src, place.src, place.of("bounds"), "celebahq", "val", processes=PROCESSES)
    of_many = EvaluationConfig(place.src, default, place.of("recipes"), "celebahq", "val", sample=place.count,
                               least=LEAST, recipes=tuple(Recipe.load(one) for one in RECIPES[1:]),
                               attacks=("layers", "parrot", "reversal"), processes=PROCESSES, reuse=place.of("bounds"))
    baselines, recipes = evaluate(of_all, _show), evaluate(of_many, _show)
    among_all = Figure.of(_found_among_all(of_all, of_many), "less")
    looked = time.perf_counter() - started
    learned = compare_training(sample(find_pairs(place.src, train, "celebahq", "train"), None, 0), place.val(),
                               0, _show)
    minutes = (time.perf_counter() - started) / 60
    baselines.write(place.work / "bounds.json")
    recipes.write(place.work / "recipes.json")
    learned.write(place.work / "training.json")
    parts = [f"`python benchmarks/proof.py write`. {stamp()} From finished sets {minutes:.0f} minutes, {PROCESSES} "
             f"processes, of which evaluation with attacks {looked / 60:.0f}.",
             _wanted(recipes, baselines.faces, among_all, learned.difference, minutes),
             f"### Baselines: {baselines.faces} photographs of {baselines.people} people of val", _table(baselines),
             f"### Recipes: {recipes.faces} photographs of {recipes.people} people of val with at least {LEAST}",
             _table(recipes), "### Attackers who know the method, and half of the people"]
    for attack in recipes.attacks.values():
        parts.append(_markdown(attack_table(attack)))
    parts += ["### Trained on anonymized photographs (recipe fast), tested on real ones",
              _markdown(training_table(learned)),
              "### Parts of the data, default recipe (in brackets a random generated face, the originals)",
              _slices(recipes)]
    put_section("The proof", "\n\n".join(parts))


def _found_among_all(of_all: EvaluationConfig, of_many: EvaluationConfig) -> Estimate:
    """How often a new face's own original is the nearest of all originals, not of those anonymized alone."""
    everything, before, _ = measure_originals_and_new(of_all)
    some, _, new = measure_originals_and_new(of_many)
    original = calibrate(before, everything.people[before.rows], None, True, ["dlib"])
    place = {everything.names[row]: i for i, row in enumerate(before.rows)}
    rows = np.array([place[some.names[row]] for row in new.rows])
    return estimate_metrics(original.at(rows), new, ["dlib"])["privacy/dlib"][RANK]


def _folder(files: Sequence[Path], pairs: PhotoPairs) -> Path:
    """The folder of a set's files."""
    return files[0].parents[len(Path(pairs.names[0]).parts) - 1]


def _show(what: str, done: int, total: int) -> None:
    if done % 100 < 8 or done == total:
        print(f"{what}: {done}/{total}", flush=True)


def _wanted(evaluation: Evaluation, originals: int, among_all: Figure, learned: Figure, minutes: float) -> str:
    """The table of figures that have to be reached; `originals`: how many there are in all."""
    own, falco, random = (evaluation.sets[name].figures
                          for name in (evaluation.set, "recipe falco-mobile", "random"))
    dlib, theirs = own["privacy/dlib"], falco["privacy/dlib"]
    name = "attributes_accuracy"
    least, most = random["utility"][name].value, evaluation.sets["originals"].figures["utility"][name].value

    def share(groups: dict[str, Group]) -> float:
        return (groups["utility"][name].value - least) / (most - least)

    def against(metric: str) -> str:
        return f"{format_figure(dlib[metric], '%')}, {format_figure(theirs[metric], '%')}"

    rows = [
        ("verified as their original by dlib, FAR 1e-3", format_figure(dlib[STRICT], "%", True), "at most 1 %"),
        (f"own original nearest of all {originals:,}", format_figure(among_all, "%", True), "at most 1 %"),
        (f"own original nearest of the {evaluation.faces:,} anonymized", format_figure(dlib[RANK], "%", True), ""),
        ("two new faces of one person, AUC", format_figure(dlib[LINKED], "%", True), "at most 60 %"),
        ("attributes, between a random face (0) and the original (1)", f"{share(own):.1%}", "at least 75 %"),
        ("trained on anonymized, less trained on originals", format_figure(learned, "%", True), "at least -3 %"),
        ("default, falco-mobile: verified", against(STRICT), "less"),
        ("default, falco-mobile: own original nearest", against(RANK), "less"),
        ("default, falco-mobile: linked", against(LINKED), "less"),
        ("default, falco-mobile: attributes", f"{share(own):.1%}, {share(falco):.1%}", "more"),
        ("minutes from finished sets", f"{minutes:.0f}", "at most 30"),
    ]
    return "\n".join(["| figure | measured | wanted |", "|---|---|---|",
                      *(f"| {' | '.join(row)} |" for row in rows)])


def _table(evaluation: Evaluation) -> str:
    """All figures of all sets."""
    # The baselines' evaluation is of the originals themselves, whose set is called as their folder.
    columns = [name for name in dict.fromkeys(("originals", evaluation.set, *evaluation.sets)) if name != SOURCE]
    titles = [SET_TITLES.get(name, "default" if name == evaluation.set else name) for name in columns]
    lines = [f"| | {' | '.join(titles)} |", f"|---{'|---' * len(columns)}|"]
    for kind in evaluation.sets[columns[0]].figures:
        lines.append(f"| **{group_title(evaluation, kind)}** |{' |' * len(columns)}")
        for metric, about in METRICS.items():
            found = [evaluation.sets[name].figures.get(kind, {}).get(metric) for name in columns]
            if any(found):
                cells = [format_figure(one, about.unit, interval=name == evaluation.set)
                         for name, one in zip(columns, found, strict=True)]
                lines.append(f"| {about.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _slices(evaluation: Evaluation) -> str:
    metrics = [("privacy/dlib", STRICT), ("privacy/dlib", RANK), ("privacy/dlib", LINKED),
               ("utility", "attributes_accuracy"), ("utility", "age_difference")]
    lines = [f"| part | faces | {' | '.join(METRICS[name].title for _, name in metrics)} |",
             f"|---|---{'|---' * len(metrics)}|"]
    for name, part in evaluation.sets[evaluation.set].slices.items():
        found = [evaluation.sets[one].slices[name].figures for one in (evaluation.set, *SCALE_ENDS)]
        cells = [format_beside_baselines(found, kind, metric) for kind, metric in metrics]
        lines.append(f"| {name}{' (few)' if part.small else ''} | {part.faces} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _markdown(table: object) -> str:
    """A rich table as Markdown."""
    columns = [(str(one.header), list(one.cells)) for one in table.columns]  # type: ignore[attr-defined]
    lines = [f"| {' | '.join(head for head, _ in columns)} |", f"|---{'|---' * (len(columns) - 1)}|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in zip(*(cells for _, cells in columns), strict=True)]
    return f"{table.title}\n\n" + "\n".join(lines)  # type: ignore[attr-defined]


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("make", "write"))
    parser.add_argument("what", nargs="?", default="all", choices=("all", *BASELINES, *RECIPES, TRAINING))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--count-train", type=int, default=1000)
    args = parser.parse_args()
    place = Place(args.data, args.work, args.count, args.count_train)
    if args.task == "write":
        write(place)
    else:
        for what in (*BASELINES, *RECIPES, TRAINING) if args.what == "all" else (args.what,):
            make(what, place)


if __name__ == "__main__":
    main()
