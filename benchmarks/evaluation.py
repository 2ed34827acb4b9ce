"""Evaluates the recipes: privacy, look, quality, attacks, on CelebA-HQ, UTKFace and ordinary photographs.

    python benchmarks/evaluation.py make all --data FOLDER --work FOLDER              # resumable: run it again to go on
    python benchmarks/evaluation.py make default --from utkface --data FOLDER --work FOLDER   # one set of one source
    python benchmarks/evaluation.py write --data FOLDER --work FOLDER                 # measures and writes RESULTS.md
    python benchmarks/evaluation.py write-training --data FOLDER --work FOLDER        # classifiers trained on new faces

FOLDER of --data holds CelebA-HQ/ (with identities, attributes and splits), UTKFace/ and photos/images/. Which of their
photographs are taken is decided in sources.py. Training: --count-train photographs of CelebA-HQ's train split by recipe
fast, tested on val. --work holds data of real people.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import sources
from results import put_section, stamp
from sources import Source

from mien.anonymizer.load import prepare
from mien.evaluation.baselines import GENERATED, SIMPLE, make_generated_baseline, make_simple_baseline
from mien.evaluation.confidence import Estimate
from mien.evaluation.evaluate import BASELINES, EvaluationConfig, evaluate, measure_originals_and_new
from mien.evaluation.evaluation import SET_TITLES, Evaluation, Figure
from mien.evaluation.evaluators import load_detector
from mien.evaluation.findings import RANKED, VERIFIED
from mien.evaluation.metrics import METRICS, calibrate, estimate_metrics
from mien.evaluation.pairs import PhotoPairs, find_pairs, sample
from mien.evaluation.recipe_baselines import make_recipe_baseline
from mien.evaluation.retraining import compare_training
from mien.evaluation.terminal_table import (
    attack_table,
    format_beside_baselines,
    format_cell,
    format_figure,
    group_title,
    metrics_of,
    remarks,
    training_table,
)
from mien.recipe import Recipe

RECIPES = ("default", "fast", "falco-mobile")
TRAINING = "training"
OF_CELEBAHQ = ("pixelation", "blackout", "falco-mobile")  # the first two say the same of every source, the last is slow
PROCESSES = 2
MAIN = "faceplugin"  # the independent judge
ALIKE = "auc_new_to_new_alike"


@dataclass(frozen=True)
class Place:
    """The folders of data and sets, and how many photographs are anonymized."""

    data: Path
    work: Path
    count: int
    count_utkface: int
    count_train: int

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

    def sources(self) -> dict[str, Source]:
        """What is anonymized."""
        found = (sources.celebahq(self.data, self.count),
                 sources.utkface(self.data, self.work, self.count_utkface), sources.ordinary(self.data))
        return {one.name: one for one in found}

    def val(self) -> Source:
        """All photographs of val: among their originals new faces are searched."""
        return replace(sources.celebahq(self.data, self.count), sample=None, least=1)

    def train(self) -> PhotoPairs:
        return sample(find_pairs(self.data / "CelebA-HQ", self.data / "CelebA-HQ", "celebahq", "train"),
                      self.count_train, 0)


def sets_of(source: Source) -> tuple[str, ...]:
    """The sets that are made of a source."""
    return tuple(one for one in (*BASELINES, *RECIPES) if source.name == "celebahq" or one not in OF_CELEBAHQ)


@cache  # the default set is asked for with every other recipe's
def make(what: str, source: Source, place: Place) -> list[Path]:
    """Makes one set, or what is missing of it."""
    place.of(source.name)
    show, pairs = partial(_show, f"{source.name}, {what}"), source.pairs()
    if what in SIMPLE:
        return make_simple_baseline(what, pairs.root, pairs.names, place.sets, load_detector(), show)
    if what in GENERATED:
        recipe = Recipe().settled()
        return make_generated_baseline(what, pairs.root, pairs.names, place.sets, prepare(recipe), recipe, show)
    if what != "default":  # the evaluation compares recipes on the photographs that the default one could anonymize
        pairs = source.pairs(_folder(make("default", source, place), pairs))
    recipe = Recipe.load(what).settled()
    return make_recipe_baseline(recipe, pairs.root, pairs.names, place.sets, prepare(recipe), show)


def make_training(place: Place) -> list[Path]:
    """Makes the photographs that classifiers are trained on."""
    place.of("celebahq")
    pairs, recipe = place.train(), Recipe.load("fast").settled()
    return make_recipe_baseline(recipe, pairs.root, pairs.names, place.sets, prepare(recipe),
                                partial(_show, TRAINING))


def write(place: Place) -> None:
    """Evaluates the finished sets, measures how long that takes, and writes the section of RESULTS.md."""
    made = {name: {what: make(what, source, place) for what in sets_of(source)}
            for name, source in place.sources().items()}
    with _timed(place.work / "minutes.txt") as minutes:
        found, among_all = _evaluated(place, {name: sets["default"] for name, sets in made.items()})
    parts = [f"`python benchmarks/evaluation.py write`. {stamp()} From finished sets {sum(minutes):.0f} minutes"
             f"{f', added up over {len(minutes)} runs, each of which went on' * (len(minutes) > 1)}, "
             f"{PROCESSES} processes (wanted: at most 40). Floor: the same originals, shifted by 3 and 2 pixels "
             "and encoded again. Nothing of these photographs was in any training. falco-mobile stands beside "
             "CelebA-HQ alone: 22 s of one core a face.",
             "\n".join(["| own original nearest of all 1,001 originals of val, default | wanted |", "|---|---|",
                        *(f"| by {judge}: {format_figure(one, '%', True)} | at most 1 % |"
                          for judge, one in among_all.items())])]
    for name, evaluation in found.items():
        title = place.sources()[name].title
        parts += [f"### {title}: {evaluation.faces} faces", _table(evaluation),
                  f"#### Parts of {title}, default recipe (in brackets the floor, another photo where there is one)",
                  _slices(evaluation)]
        parts += [_markdown(attack_table(attack)) for attack in evaluation.attacks.values()]
    put_section("Evaluation", "\n\n".join(parts))


def _evaluated(place: Place, made: Mapping[str, Sequence[Path]]) -> tuple[dict[str, Evaluation], dict[str, Figure]]:
    """Evaluates every source, and how often an original of CelebA-HQ is the nearest of all, by judge.

    Args:
        made: source -> the files that the default recipe made of it.
    """
    found = {}
    for name, source in place.sources().items():
        found[name] = evaluate(_config(source, made[name], place), _show)
        found[name].write(place.work / f"{name}.json")
    celeba, val = place.sources()["celebahq"], place.val()
    of_all = EvaluationConfig(val.src, val.src, place.of("originals"), val.layout, val.subset, processes=PROCESSES,
                              reuse=place.of("celebahq"))
    of_many = _config(celeba, made["celebahq"], place)
    return found, {judge: Figure.of(_found_among_all(of_all, of_many, judge), "less") for judge in (MAIN, "dlib")}


@contextmanager
def _timed(path: Path) -> Iterator[list[float]]:
    """Gives the minutes of all runs that worked on these sets, this one's last; what Ctrl-C stopped counts too."""
    minutes, started = [float(line) for line in path.read_text().split()] if path.exists() else [], time.perf_counter()
    try:
        yield minutes
    finally:
        minutes.append((time.perf_counter() - started) / 60)
        path.write_text("\n".join(map(str, minutes)))


def write_training(place: Place) -> None:
    """Trains classifiers on originals and on anonymized photographs, and writes how well each does on real ones."""
    train = _folder(make_training(place), place.train())
    learned = compare_training(sample(find_pairs(place.data / "CelebA-HQ", train, "celebahq", "train"), None, 0),
                               place.val().pairs(), 0, _show)
    learned.write(place.work / "training.json")
    put_section("Trained on anonymized photographs", f"`python benchmarks/evaluation.py write-training`. {stamp()} "
                f"Recipe fast, tested on real photographs of val.\n\n{_markdown(training_table(learned))}")


def _config(source: Source, default: Sequence[Path], place: Place) -> EvaluationConfig:
    named = source.name == "celebahq"
    return EvaluationConfig(source.src, _folder(default, source.pairs()), place.of(source.name), source.layout,
                            source.subset, baselines=tuple(one for one in sets_of(source) if one in BASELINES),
                            sample=source.sample, least=source.least,
                            recipes=tuple(Recipe.load(one) for one in sets_of(source) if one in RECIPES[1:]),
                            attacks=("layers", "parrot", "reversal") if named else (), processes=PROCESSES)


def _found_among_all(of_all: EvaluationConfig, of_many: EvaluationConfig, judge: str) -> Estimate:
    """How often a new face's own original is the nearest of all originals, not of those anonymized alone."""
    everything, before, _ = measure_originals_and_new(of_all)
    some, _, new = measure_originals_and_new(of_many)
    original = calibrate(before, everything.people[before.rows], None, True, [judge])
    place = {everything.names[row]: i for i, row in enumerate(before.rows)}
    rows = np.array([place[some.names[row]] for row in new.rows])
    return estimate_metrics(original.at(rows), new, [judge])[f"privacy/{judge}"][RANKED]


def _folder(files: Sequence[Path], pairs: PhotoPairs) -> Path:
    """The folder of a set's files."""
    return files[0].parents[len(Path(pairs.names[0]).parts) - 1]


def _show(what: str, done: int, total: int) -> None:
    if done % 100 < 8 or done == total:
        print(f"{time.strftime('%H:%M')} {what}: {done}/{total}", flush=True)


def _table(evaluation: Evaluation) -> str:
    """All figures of all sets."""
    first = ("originals", "floor", "other", evaluation.set)
    columns = [name for name in dict.fromkeys((*first, *evaluation.sets)) if name in evaluation.sets]
    titles = [SET_TITLES.get(name, "default" if name == evaluation.set else name) for name in columns]
    lines = [f"| | {' | '.join(titles)} |", f"|---{'|---' * len(columns)}|"]
    for kind in evaluation.sets[evaluation.set].figures:
        lines.append(f"| **{group_title(evaluation, kind)}** |{' |' * len(columns)}")
        for metric in metrics_of(evaluation, kind, columns):
            cells = [format_cell(evaluation, name, kind, metric, name == evaluation.set) for name in columns]
            own = evaluation.sets[evaluation.set].figures.get(kind, {}).get(metric)
            lines.append(f"| {METRICS[metric].title} ({own.count if own else 0}) | {' | '.join(cells)} |")
        lines += [f"| {remark} |{' |' * len(columns)}" for remark in remarks(evaluation, kind, columns)]
    return "\n".join(lines)


def _slices(evaluation: Evaluation) -> str:
    metrics = [(f"privacy/{MAIN}", VERIFIED), (f"privacy/{MAIN}", ALIKE)] if evaluation.people > 1 else []
    metrics += [("look", name) for name in ("sex_kept", "age_change", "group_kept", "expression_kept", "eyes_kept",
                                            "pose_difference", "skin_color", "iris_color", "light_difference",
                                            "facial_hair_kept", "sharpness_ratio")]
    lines = [f"| part | faces | {' | '.join(METRICS[name].title for _, name in metrics)} |",
             f"|---|---{'|---' * len(metrics)}|"]
    for name, part in evaluation.sets[evaluation.set].slices.items():
        if not part.small:
            found = [evaluation.sets[one].slices[name].figures for one in (evaluation.set, "floor", "other")
                     if one in evaluation.sets and name in evaluation.sets[one].slices]
            cells = [format_beside_baselines(found, kind, metric) for kind, metric in metrics]
            lines.append(f"| {name} | {part.faces} | {' | '.join(cells)} |")
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
    parser.add_argument("task", choices=("make", "write", "write-training"))
    parser.add_argument("what", nargs="?", default="all", choices=("all", *BASELINES, *RECIPES, TRAINING))
    parser.add_argument("--from", dest="source", choices=("celebahq", "utkface", "photos"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--count-utkface", type=int, default=400)
    parser.add_argument("--count-train", type=int, default=1000)
    args = parser.parse_args()
    place = Place(args.data, args.work, args.count, args.count_utkface, args.count_train)
    if args.task == "write":
        return write(place)
    if args.task == "write-training":
        return write_training(place)
    for name, source in place.sources().items():
        for what in sets_of(source):
            if args.what in ("all", what) and args.source in (None, name):
                make(what, source, place)
    if args.what in ("all", TRAINING):
        make_training(place)


if __name__ == "__main__":
    main()
