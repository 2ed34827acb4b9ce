"""The order of an evaluation: match, make the bounds, look at every set, count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial, reduce
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.anonymizer.load import Loaded, prepare
from mien.datasets.dataset import plural
from mien.errors import UsageError
from mien.evaluation.attacks.run_attack import ATTACKS, carry_out
from mien.evaluation.attacks.split import enough_people, of_named
from mien.evaluation.baselines import GENERATED, SIMPLE, generated_set, simple_set
from mien.evaluation.evaluation import Evaluation, Figure, Groups, JudgeRecord, SetResult, Slice
from mien.evaluation.evaluators import open_detector
from mien.evaluation.judges import open_judges
from mien.evaluation.measurements import Measurements, observe_sets
from mien.evaluation.metrics import METRICS, STRICT, Reference, figures, rate_name, reference
from mien.evaluation.pairs import PhotoPairs, find_counterparts, sample
from mien.evaluation.privacy import People, named
from mien.evaluation.provenance import judges_in_loss, links_people
from mien.evaluation.recipe_baselines import make_recipe_set
from mien.evaluation.slices import SMALL, groups
from mien.evaluation.work_folder import opened
from mien.images.formats import printable
from mien.jobs.request import check_folders
from mien.recipe import Recipe

TITLES = {"originals": "originals", "inversion": "inversion alone", "nearest": "nearest generated face",
          "random": "random generated face", "blur": "Gaussian blur", "pixelation": "pixelation",
          "blackout": "blackout"}
BOUNDS = (*GENERATED, *SIMPLE)
EvaluationProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is to be evaluated.

    Attributes:
        judges: the first that was not in the loss counts in the verdict. bounds: of `BOUNDS`. work: private folder.
        recipe: of the generated bounds. recipes: anonymized by these too, each by a name of its own.
        attacks: of `attacks.attack.ATTACKS`. known: another question's work, whose looks at the same files serve.
        sample: at most so many photographs, whole people drawn at random; None: all. least: only people with so many.
    """

    src: Path
    dst: Path
    work: Path
    layout: str = "auto"
    subset: str | None = None
    judges: tuple[str, ...] = ("dlib", "sface")
    bounds: tuple[str, ...] = BOUNDS
    recipe: Recipe = field(default_factory=Recipe)
    recipes: tuple[Recipe, ...] = ()
    attacks: tuple[str, ...] = ()
    sample: int | None = None
    least: int = 1
    seed: int = 0
    processes: int = 1
    known: Path | None = None


def evaluate(question: EvaluationConfig, progress: EvaluationProgress = lambda what, done, total: None,
             ready: Callable[[Recipe], Loaded] = prepare) -> Evaluation:
    """Answer it.

    Args:
        ready: gives networks and pool, asked only for generated bounds and recipes.

    Raises:
        UsageError: folders without common photographs or faces, an unknown judge or bound, two recipes of one name.
        FetchError, ModelError: weights cannot be had. OutputError: the private folder cannot be written, or another
            evaluation is at work in it.
    """
    _check(question)
    # A set's name tells the precision that it was computed in.
    question = replace(question, recipe=question.recipe.settled(),
                       recipes=tuple(recipe.settled() for recipe in question.recipes))
    open_judges(list(question.judges))  # refused before anything is made
    if question.src.resolve() != question.dst.resolve():
        check_folders(question.src, question.dst, question.work)
    pairs = find_counterparts(question.src, question.dst, question.layout, question.subset)
    chosen = sample(pairs, question.sample, question.seed, question.least)
    if question.attacks:
        enough_people(of_named(chosen).people)
    with opened(question.work):
        return _answer(question, chosen, progress, ready)


def _check(question: EvaluationConfig) -> None:
    """What can be told before anything is read."""
    unknown = set(question.bounds) - set(BOUNDS)
    if unknown:
        raise UsageError(f"there is no bound {min(unknown)!r}", f"the bounds are {', '.join(BOUNDS)}")
    unknown = set(question.attacks) - set(ATTACKS)
    if unknown:
        raise UsageError(f"there is no attack {min(unknown)!r}", f"the attacks are {', '.join(ATTACKS)}")
    names = Counter(recipe.name for recipe in set(question.recipes))
    if names and max(names.values()) > 1:
        raise UsageError(f"different recipes are called {names.most_common(1)[0][0]!r}",
                         'give each a name of its own: name = "..." in its file, Recipe(name="...") in Python')


def _answer(question: EvaluationConfig, chosen: PhotoPairs, progress: EvaluationProgress,
            ready: Callable[[Recipe], Loaded]) -> Evaluation:
    """Look and count."""
    seen, loss = _look(question, chosen, progress, ready), judges_in_loss(question.dst)
    common = _common(question, seen)
    rows = {name: one.only(common) for name, one in seen.items()}
    labels = None if chosen.labels is None else chosen.labels[common]
    judges = list(question.judges)
    people = chosen.people[common]
    somebody = named(people)
    known = len(np.unique(people[somebody])) > 1
    original = reference(rows["originals"], people, labels, known, judges)
    sets = {name: SetResult(title=TITLES.get(name, name), figures=_named(original, one, judges),
                            slices=_slices(original, one, judges)) for name, one in rows.items()}
    return Evaluation(
        mien=version("mien"), date=datetime.now(UTC).date().isoformat(), source=printable(question.src.resolve().name),
        set=asked(question.dst), faces=len(common), people=len(np.unique(people[somebody])),
        unnamed=int((~somebody).sum()),
        truth="labels" if labels is not None else "the attribute judge on the originals", sample=question.sample,
        seed=question.seed,
        judges={name: JudgeRecord(in_loss=name in loss, thresholds={
            rate_name(rate): limit for rate, limit in original.limits.get(name, {}).items()}) for name in judges},
        sets=sets, attacks=carry_out(question.attacks, chosen, question.work / "attacks", question.seed, progress),
        missing=len(chosen.missing),
        skipped=dict(Counter(one.reason for one in seen[asked(question.dst)].skipped)),
        linked=links_people(question.dst),
        notes=_notes(question, chosen, people),
    )


def _common(question: EvaluationConfig, seen: dict[str, Measurements]) -> npt.NDArray[np.int64]:
    """The photographs that are seen in every set.

    Raises:
        UsageError: there are none.
    """
    common: npt.NDArray[np.int64] = reduce(np.intersect1d, (one.rows for one in seen.values()))
    if not len(common):
        raise UsageError(f"no face of {question.src} can be compared with {question.dst}",
                         "; ".join(sorted({one.reason for one in seen[asked(question.dst)].skipped})[:3]))
    return common


def asked(dst: Path) -> str:
    """The set's name in the result: its folder's, unless a bound is called so."""
    name = printable(dst.resolve().name)
    return f"{name} (asked)" if name in TITLES or name.startswith("recipe ") else name


def originals_and_new(question: EvaluationConfig) -> tuple[PhotoPairs, Measurements, Measurements]:
    """What has been seen of the originals and of the set asked about: (photographs, both row by row the same)."""
    pairs = find_counterparts(question.src, question.dst, question.layout, question.subset)
    chosen = sample(pairs, question.sample, question.seed, question.least)
    with opened(question.work):
        seen = _look(replace(question, bounds=(), recipes=()), chosen, lambda what, done, total: None, prepare)
    before, after = seen["originals"], seen[asked(question.dst)]
    common = np.intersect1d(before.rows, after.rows)
    return chosen, before.only(common), after.only(common)


def _look(question: EvaluationConfig, pairs: PhotoPairs, progress: EvaluationProgress,
          ready: Callable[[Recipe], Loaded]) -> dict[str, Measurements]:
    """Every set, the originals first, then what was asked about, then its bounds."""
    ready = lru_cache(maxsize=1)(ready)
    originals = [pairs.root / name for name in pairs.names]
    known = question.known and question.known / "seen"

    def look_at(what: str, sets: Mapping[str, Sequence[Path]]) -> dict[str, Measurements]:
        return observe_sets(originals, sets, question.judges, question.work / "seen", question.processes,
                            partial(progress, f"looking at {what}"), known)

    both = {"originals": originals, asked(question.dst): pairs.new}
    if list(pairs.new) == originals:  # asked of themselves
        seen = dict.fromkeys(both, look_at("the originals", {"originals": originals})["originals"])
    else:
        seen = look_at("originals and new photographs", both)
    _common(question, seen)  # before bounds are made for nothing
    sets: dict[str, Sequence[Path]] = {}
    folder = (question.work / "sets").resolve()  # or they would go by two names
    for kind in question.bounds:
        tell = partial(progress, f"making {TITLES[kind]}")
        if kind in SIMPLE:
            sets[kind] = simple_set(kind, pairs.root, pairs.names, folder, open_detector(), tell)
        else:
            sets[kind] = generated_set(kind, pairs.root, pairs.names, folder, ready(question.recipe), question.recipe,
                                       tell)
    for recipe in question.recipes:
        name = f"recipe {recipe.name}"
        sets[name] = make_recipe_set(recipe, pairs.root, pairs.names, folder, ready(recipe),
                                     partial(progress, f"anonymizing: {name}"))
    return seen | look_at("bounds", sets)


def _named(original: Reference, seen: Measurements, judges: list[str]) -> Groups:
    return {group: {name: Figure.of(one, METRICS[name].better) for name, one in found.items()}
            for group, found in figures(original, seen, judges).items()}


def _slices(original: Reference, seen: Measurements, judges: list[str]) -> dict[str, Slice]:
    # Distances of so small sets say little and take long.
    apart = ("features", "inception")
    original, seen, out = replace(original, seen=original.seen.without(*apart)), seen.without(*apart), {}
    for name, rows in groups(original).items():
        found = _named(original.at(rows), seen.at(rows), judges)
        out[name] = Slice(small=len(rows) < SMALL, faces=len(rows), figures=found)
    return out


def _notes(question: EvaluationConfig, chosen: PhotoPairs, people: People) -> list[str]:
    """What could not be asked, or says little; `people`: [N] of the faces compared."""
    somebody = named(people)
    counts = np.unique(people[somebody], return_counts=True)[1]
    known, strange = len(counts) > 1, (int(counts.sum()) ** 2 - int((counts**2).sum())) // 2
    notes, faces, unnamed = [], len(somebody), int((~somebody).sum())
    if unnamed == faces:
        notes.append("Nobody is named: without people no threshold can be calibrated, so nothing is said about "
                     "privacy. Name them: mien datasets check DIR shows what is known.")
    elif not known:
        notes.append("Only one person is named: a threshold needs pairs of different people, so nothing is said about "
                     "privacy.")
    elif unnamed:
        notes.append(f"Nobody is named on {plural(unnamed, 'photograph')}: left out of what is said about privacy and "
                     "of attacks.")
    if known and strange * STRICT < 1:
        notes.append(f"{strange:,} pairs of different people: a threshold for a false match rate of "
                     f"{rate_name(STRICT)} needs {round(1 / STRICT):,} at least; here it lets nobody pass.")
    if chosen.labels is None:
        few = f"{plural(chosen.unlabeled, 'photograph')} without" if chosen.unlabeled else "There are no"
        notes.append(f"{few} labels of CelebA's 40 attributes: what the attribute judge sees in the originals "
                     "takes their place.")
    if not question.bounds:
        notes.append("No bounds were made: a figure without them says little (--bounds all).")
    if faces < SMALL:
        notes.append(f"{plural(faces, 'face')}: every figure is no more than a hint.")
    return notes
