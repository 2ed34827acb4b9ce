"""Evaluates a set of anonymized photographs: pairs it with the originals, makes baselines, measures, estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.anonymizer.load import Loaded, prepare
from mien.datasets.dataset import plural
from mien.errors import UsageError
from mien.evaluation.attacks.run_attack import attacked_photos, check_attacks, run_attacks
from mien.evaluation.baselines import FLOOR, GENERATED, SIMPLE, make_generated_baseline, make_simple_baseline
from mien.evaluation.confidence import LEAST_FACES, LEAST_PEOPLE, are_few, with_values
from mien.evaluation.evaluation import SET_TITLES, AttackResult, Evaluation, JudgeRecord, Role, SetResult, Slice
from mien.evaluation.evaluators import load_detector
from mien.evaluation.judges.face_judges import DEFAULT_JUDGES, judge_name, load_face_judges
from mien.evaluation.judges.onnx_judge import OnnxInput
from mien.evaluation.look.compare import compare_looks, other_photo_of
from mien.evaluation.measure_sets import measure_sets
from mien.evaluation.measurements import Measurements
from mien.evaluation.metrics import STRICT, Reference, calibrate, estimate_metrics, rate_name
from mien.evaluation.pairs import PhotoPairs, find_pairs, sample
from mien.evaluation.people import People, is_named
from mien.evaluation.progress_callbacks import PartProgress
from mien.evaluation.provenance import (
    gate_warning,
    judge_roles,
    links_people,
    recipe_of,
    roles_by_inversion,
    roles_by_recipe,
)
from mien.evaluation.recipe_baselines import make_recipe_baseline
from mien.evaluation.slices import SMALL, slice_rows, telling_parts
from mien.evaluation.withholding import publish, publish_attack
from mien.evaluation.work_folder import ATTACKED, MEASURED, SETS, check_apart, opened
from mien.images.formats import printable
from mien.recipe import Recipe

OTHER = "other"  # no set of photographs: what another photograph of the same person shows, where there is one
BASELINES = (FLOOR, *GENERATED, *(kind for kind in SIMPLE if kind != FLOOR))


@dataclass(frozen=True)
class EvaluationConfig:
    """What is to be evaluated, and against what.

    Attributes:
        src: the originals. dst: the same photographs, anonymized. work: private folder. layout, subset: of `src`.
        judges: names as in `load_face_judges`; the findings go by the first independent one. onnx_input: of the
            judges that are ONNX files. baselines: some of `BASELINES`.
        recipe: inverts and pairs for the generated baselines. recipes: further baselines, the originals anonymized by
            each; their names differ.
        attacks: some of `attacks.run_attack.ATTACKS`, which take at most 1,000 of the photographs.
        sample: at most so many photographs, whole people drawn at random; None: all. least: only people with so many.
        reuse: the private folder of another evaluation, whose measurements of the same files are copied.
    """

    src: Path
    dst: Path
    work: Path
    layout: str = "auto"
    subset: str | None = None
    judges: tuple[str, ...] = DEFAULT_JUDGES
    baselines: tuple[str, ...] = BASELINES
    recipe: Recipe = field(default_factory=Recipe)
    recipes: tuple[Recipe, ...] = ()
    attacks: tuple[str, ...] = ()
    sample: int | None = None
    least: int = 1
    seed: int = 0
    processes: int = 1
    reuse: Path | None = None
    onnx_input: OnnxInput = field(default_factory=OnnxInput)

    @property
    def told_judges(self) -> list[str]:
        """The judges' names, those of ONNX files with their input."""
        return list(map(self.onnx_input.of, self.judges))


def evaluate(config: EvaluationConfig, progress: PartProgress = lambda what, done, total: None,
             load: Callable[[Recipe], Loaded] = prepare) -> Evaluation:
    """Evaluates the photographs in `config.dst`.

    Args:
        load: loads networks and pool of a recipe; called only for generated baselines and recipes.

    Raises:
        UsageError: folders without common photographs or faces, an unknown judge, baseline or attack, two recipes of
            one name, or a set that another version of mien made.
        FetchError, ModelError: weights cannot be had. OutputError: the private folder cannot be written, or another
            evaluation is at work in it.
    """
    _check(config)
    # A set's name tells the precision that it was computed in.
    config = replace(config, recipe=config.recipe.settled(),
                     recipes=tuple(recipe.settled() for recipe in config.recipes))
    load_face_judges(config.told_judges)  # unknown ones are refused before anything is made
    check_apart(config.src, config.dst, config.work)
    pairs = _sampled(config)
    if config.attacks:
        attacked_photos(pairs, config.seed)  # an attack on too few is refused before hours of work
    with opened(config.work):
        return _evaluate(config, pairs, progress, load)


def _check(config: EvaluationConfig) -> None:
    """Refuses what can be refused before a photograph is read."""
    unknown = set(config.baselines) - set(BASELINES)
    if unknown:
        raise UsageError(f"there is no baseline {min(unknown)!r}",
                         f"the baselines (--bounds) are {', '.join(BASELINES)}")
    check_attacks(config.attacks)
    names = Counter(recipe.name for recipe in set(config.recipes))
    if names and max(names.values()) > 1:
        raise UsageError(f"different recipes are called {names.most_common(1)[0][0]!r}",
                         'give each a name of its own: name = "..." in its file, Recipe(name="...") in Python')
    recipe_of(config.dst)


def _sampled(config: EvaluationConfig) -> PhotoPairs:
    pairs = find_pairs(config.src, config.dst, config.layout, config.subset)
    return sample(pairs, config.sample, config.seed, config.least)


def _evaluate(config: EvaluationConfig, pairs: PhotoPairs, progress: PartProgress,
              load: Callable[[Recipe], Loaded]) -> Evaluation:
    """Measures all sets and estimates their metrics."""
    measured, roles = _measure(config, pairs, progress, load), _roles(config)
    common, own = _common(config, measured), set_name(config.dst)
    labels = None if pairs.labels is None else pairs.labels[common]
    judges, people = list(map(judge_name, config.judges)), pairs.people[common]
    named = is_named(people)
    known = len(np.unique(people[named])) > 1
    original = calibrate(measured["originals"].only(common), people, labels, known, judges)
    sets = {name: _set_result(name, original, one, judges, roles.get(name, {})) for name, one in measured.items()}
    if named.any():
        sets |= _other_photos(original)
    attacks, failed = _attack(config, pairs, progress)
    return Evaluation(
        mien=version("mien"), date=datetime.now(UTC).date().isoformat(), source=printable(config.src.resolve().name),
        set=own, faces=len(common), people=len(np.unique(people[named])),
        unnamed=int((~named).sum()),
        truth="labels" if labels is not None else "the attribute judge on the originals", sample=config.sample,
        seed=config.seed,
        judges={name: JudgeRecord(role=roles[own][name], thresholds=_thresholds(original, name)) for name in judges},
        sets=sets, attacks=attacks,
        missing=len(pairs.missing),
        skipped=dict(Counter(one.reason for one in measured[own].skipped)),
        linked=links_people(config.dst),
        notes=[*_notes(config, pairs, people), *_notes_on_sets(sets, len(common)), *failed,
               *(_notes_on_judges(sets[own], judges) if known else ())],
    )


def _attack(config: EvaluationConfig, pairs: PhotoPairs,
            progress: PartProgress) -> tuple[dict[str, AttackResult], list[str]]:
    """Runs the attacks; where one cannot be made, a note says why, and the others are kept."""
    run = partial(run_attacks, pairs=pairs, work=config.work / ATTACKED, seed=config.seed, progress=progress)
    failed = []
    try:
        found = run(config.attacks)
    except UsageError:
        found = {}
        for name in config.attacks:  # those that were made are read again
            try:
                found |= run((name,))
            except UsageError as error:
                failed.append(f"The attack {name} was not made: {error.message}.")
    return {name: publish_attack(one) for name, one in found.items()}, failed


def _common(config: EvaluationConfig, measured: dict[str, Measurements]) -> npt.NDArray[np.int64]:
    """The rows of the photographs that were measured both before and after; a baseline may lack some of them.

    Raises:
        UsageError: there are none.
    """
    new = measured[set_name(config.dst)]
    common: npt.NDArray[np.int64] = np.intersect1d(measured["originals"].rows, new.rows)
    if not len(common):
        raise UsageError(f"no face of {config.src} can be compared with {config.dst}",
                         "; ".join(sorted({one.reason for one in new.skipped})[:3]))
    return common


def _roles(config: EvaluationConfig) -> dict[str, dict[str, Role]]:
    """Set -> judge -> its part in making the set; a set that is not named was made without any recognizer."""
    made = {set_name(config.dst): judge_roles(config.dst, config.judges),
            "inversion": roles_by_inversion(config.recipe.model_dump(), config.judges),
            **{_recipe_set(recipe): roles_by_recipe(recipe.model_dump(), config.judges) for recipe in config.recipes}}
    return {name: {judge_name(given): role for given, role in roles.items()} for name, roles in made.items()}


def _recipe_set(recipe: Recipe) -> str:
    return f"recipe {recipe.name}"


def set_name(dst: Path) -> str:
    """The name of the evaluated set in an `Evaluation`: its folder's, unless a baseline is called so."""
    name = printable(dst.resolve().name)
    return f"{name} (asked)" if name in SET_TITLES or name.startswith("recipe ") else name


def measure_originals_and_new(config: EvaluationConfig) -> tuple[PhotoPairs, Measurements, Measurements]:
    """Measures the originals and the evaluated set, or reads what `evaluate` has kept of them.

    Returns:
        All photographs; measurements of the originals and of the set, whose rows are the same photographs.

    Raises:
        UsageError, FetchError, ModelError, OutputError: as `evaluate`.
    """
    pairs = _sampled(config)
    with opened(config.work):
        measured = _measure(replace(config, baselines=(), recipes=()), pairs, lambda what, done, total: None, prepare)
    before, after = measured["originals"], measured[set_name(config.dst)]
    common = np.intersect1d(before.rows, after.rows)
    return pairs, before.only(common), after.only(common)


def _measure(config: EvaluationConfig, pairs: PhotoPairs, progress: PartProgress,
             load: Callable[[Recipe], Loaded]) -> dict[str, Measurements]:
    """Measures every set: the originals first, then the evaluated set, then its baselines."""
    originals = [pairs.root / name for name in pairs.names]
    reuse = config.reuse and config.reuse / MEASURED

    def measure(what: str, sets: Mapping[str, Sequence[Path]]) -> dict[str, Measurements]:
        return measure_sets(originals, sets, config.told_judges, config.work / MEASURED, config.processes,
                            partial(progress, f"measuring {what}"), reuse)

    both = {"originals": originals, set_name(config.dst): pairs.new}
    if list(pairs.new) == originals:  # they are evaluated themselves
        measured = dict.fromkeys(both, measure("the originals", {"originals": originals})["originals"])
    else:
        measured = measure("originals and new photographs", both)
    _common(config, measured)  # before baselines are made in vain
    return measured | measure("baselines", _make_baselines(config, pairs, progress, lru_cache(maxsize=1)(load)))


def _make_baselines(config: EvaluationConfig, pairs: PhotoPairs, progress: PartProgress,
                    load: Callable[[Recipe], Loaded]) -> dict[str, Sequence[Path]]:
    """The files of every baseline by its name."""
    sets: dict[str, Sequence[Path]] = {}
    folder = (config.work / SETS).resolve()  # one name for a folder that several evaluations link to
    for kind in config.baselines:
        count = partial(progress, f"making {SET_TITLES[kind]}")
        if kind in SIMPLE:
            sets[kind] = make_simple_baseline(kind, pairs.root, pairs.names, folder, load_detector(), count)
        else:
            sets[kind] = make_generated_baseline(kind, pairs.root, pairs.names, folder, load(config.recipe),
                                                 config.recipe, count)
    for recipe in config.recipes:
        name = _recipe_set(recipe)
        sets[name] = make_recipe_baseline(recipe, pairs.root, pairs.names, folder, load(recipe),
                                          partial(progress, f"anonymizing: {name}"))
    return sets


def _other_photos(original: Reference) -> dict[str, SetResult]:
    """How far the look of one person's photographs differs: each against the next one of the same person."""
    others, slices = other_photo_of(original.people), {}
    for name, rows in {"": np.arange(len(others)), **slice_rows(original)}.items():
        rows = rows[others[rows] >= 0]
        if len(rows):
            found = compare_looks(original.measurements.at(rows), original.measurements.at(others[rows]),
                                  original.people[rows])
            figures, withheld = publish({"look": with_values(found)})
            slices[name] = Slice(small=len(rows) < SMALL, faces=len(rows), figures=figures, withheld=withheld)
    if "" not in slices:
        return {}
    whole = slices.pop("")
    return {OTHER: SetResult(title=SET_TITLES[OTHER], figures=whole.figures, withheld=whole.withheld, slices=slices,
                             lacks=len(others) - whole.faces)}


def _set_result(name: str, original: Reference, measured: Measurements, judges: list[str],
                roles: dict[str, Role]) -> SetResult:
    """Estimates the figures of those of the originals' faces that the set has; `roles`: the judges' in making it."""
    title, rows = SET_TITLES.get(name, name), np.flatnonzero(np.isin(original.measurements.rows, measured.rows))
    lacks = len(original.people) - len(rows)
    if not len(rows):
        return SetResult(title=title, figures={}, roles=roles, lacks=lacks)
    original = original.at(rows)
    measured = measured.only(original.measurements.rows)
    figures, withheld = publish(estimate_metrics(original, measured, judges))
    return SetResult(title=title, figures=figures, withheld=withheld, slices=_slices(original, measured, judges),
                     roles=roles, lacks=lacks)


def _thresholds(original: Reference, judge: str) -> dict[str, float]:
    """The judge's thresholds by rate; none from so few originals that a threshold is the distance of two of them."""
    people = original.people[original.places.get(judge, np.full(len(original.people), -1)) >= 0]
    if are_few(people):
        return {}
    pairs = _pairs_of_different(people[is_named(people)])
    return {rate_name(rate): limit for rate, limit in original.limits[judge].items()
            if np.isfinite(limit) and pairs * rate >= 1}


def _slices(original: Reference, measured: Measurements, judges: list[str]) -> dict[str, Slice]:
    # Distances between so small sets say little and take long.
    whole_sets = ("features", "inception", "texture")
    original = replace(original, measurements=original.measurements.without(*whole_sets))
    measured, slices = measured.without(*whole_sets), {}
    parts = slice_rows(original)
    telling = telling_parts(parts, original.people)
    for name, rows in parts.items():
        figures, withheld = publish(estimate_metrics(original.at(rows), measured.at(rows), judges), name in telling)
        slices[name] = Slice(small=len(rows) < SMALL, faces=len(rows), figures=figures, withheld=withheld)
    return slices


def _notes(config: EvaluationConfig, pairs: PhotoPairs, people: People) -> list[str]:
    """Sentences about what could not be measured, or says little; `people`: [N] of the faces compared."""
    notes = [*filter(None, [gate_warning(config.dst)]), *_notes_on_people(people)]
    if pairs.labels is None:
        few = f"{plural(pairs.unlabeled, 'photograph')} without" if pairs.unlabeled else "There are no"
        notes.append(f"{few} labels of CelebA's 40 attributes: what the attribute judge tells of the originals "
                     "takes their place.")
    if not config.baselines:
        notes.append("No baselines were made: a figure without them says little (--bounds all).")
    if len(people) < SMALL:
        notes.append(f"{plural(len(people), 'face')}: every figure is no more than a hint.")
    if are_few(people):
        notes.append(f"Fewer than {LEAST_FACES} faces or {LEAST_PEOPLE} people: figures of privacy and differences to "
                     "the originals are withheld, since they would be those of single faces.")
    return notes


def _notes_on_sets(sets: Mapping[str, SetResult], faces: int) -> list[str]:
    """Says which sets are compared on fewer faces than the evaluated one, and on how many."""
    return [f"The set {one.title!r} lacks {one.lacks:,} of the {plural(faces, 'face')}: its figures are of the others."
            for name, one in sets.items() if one.lacks and name != OTHER]


def _notes_on_judges(own: SetResult, judges: list[str]) -> list[str]:
    """Says which judges have nothing to say of the evaluated set."""
    return [f"The judge {name} could compare no two faces: nothing is said by it." for name in judges
            if not own.figures.get(f"privacy/{name}") and not own.withheld.get(f"privacy/{name}")]


def _pairs_of_different(people: People) -> int:
    """How many pairs of faces are of two people."""
    counts = np.unique(people, return_counts=True)[1]
    return (int(counts.sum()) ** 2 - int((counts**2).sum())) // 2


def _notes_on_people(people: People) -> list[str]:
    named = is_named(people)
    counts = np.unique(people[named], return_counts=True)[1]
    pairs, unnamed, notes = _pairs_of_different(people[named]), int((~named).sum()), []
    if unnamed == len(people):
        notes.append("Nobody is named: without people no threshold can be calibrated, so nothing is said about "
                     "privacy. Name them: mien datasets check DIR shows what is known.")
    elif len(counts) < 2:
        notes.append("Only one person is named: a threshold needs pairs of different people, so nothing is said about "
                     "privacy.")
    elif unnamed:
        notes.append(f"Nobody is named on {plural(unnamed, 'photograph')}: left out of what is said about privacy and "
                     "of attacks.")
    if len(counts) > 1 and pairs * STRICT < 1:
        notes.append(f"{plural(pairs, 'pair')} of different people: a threshold for a false match rate of "
                     f"{rate_name(STRICT)} needs {round(1 / STRICT):,} at least; here it is just below the smallest "
                     "distance of two people, and is not published.")
    return notes
