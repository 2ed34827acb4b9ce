"""Runs the verification test on LFW that published tables of face anonymization report.

It follows the table of Gonzalez-Hernandez et al., "Reconstruct, Don't Retrain: Spatially Weighted Guided Diffusion for
Face De-Identification" (github.com/ManfredGonzalez/GDDiff): 3,000 mated and 3,000 non-mated pairs, photographs of 256
px, area under the curve of verification. There the recognizer is AdaFace, the Fréchet distance is of DINOv2's features,
the photographs are aligned first, and non-mated pairs are of two originals (`published` below). Here the judges and the
features are those of mien, which the result names: compare figures of one judge with each other only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import BaseModel

from mien.anonymizer.load import Loaded, prepare
from mien.datasets.dataset import plural
from mien.errors import PhotoError, UsageError
from mien.evaluation.evaluation import Figure, Role
from mien.evaluation.judges.face_judges import judge_name, load_face_judges
from mien.evaluation.lfw.pairs import LIST, PAIRS, LfwPairs, Rows, read_lfw_pairs
from mien.evaluation.measure_sets import measure_sets
from mien.evaluation.measurements import Measurements
from mien.evaluation.pairs import find_pairs
from mien.evaluation.people import People
from mien.evaluation.privacy.verification import Distances, area_under_curve, equal_error
from mien.evaluation.progress_callbacks import CountProgress, PartProgress
from mien.evaluation.provenance import judge_roles
from mien.evaluation.quality.set_distances import frechet
from mien.evaluation.recipe_baselines import make_recipe_baseline
from mien.evaluation.work_folder import MEASURED, SETS, check_apart, key_of, opened
from mien.images.decode import read_photo
from mien.images.formats import printable
from mien.recipe import Recipe
from mien.types import Pixels
from mien.util.files import replace_file, stamp, write_file

SIZE = 256  # px, of a photograph's longer side
Vectors = npt.NDArray[np.float32]
OWN = "own_original"
# What is compared -> title. Every pair is (photograph A, photograph B).
COMPARISONS = {
    "originals": "original A and original B: what the judge can do",
    OWN: "original A and new face A, against non-mated original A and new face B",
    "other_photo": "original A and new face B",
    "published": "original A and new face B, against non-mated original A and original B",
    "new": "new face A and new face B",
}
DISTANCES = {"features": "fd_effnet_lite0", "inception": "fid_inception"}  # measured column -> name of its distance


class Verification(BaseModel):
    """How well a judge tells pairs of one person from pairs of two people.

    Attributes:
        auc: 0.5: not at all. eer: equal error rate. mated, non_mated: the pairs' numbers; mated pairs of an original
            and its own new face are as many as photographs.
    """

    auc: Figure
    eer: float
    mated: int
    non_mated: int


class LfwJudge(BaseModel):
    """The comparisons of one judge, by their names in `COMPARISONS`; `role`: its part in anonymizing."""

    role: Role
    comparisons: dict[str, Verification]


class LfwResult(BaseModel):
    """The result of the protocol, as it is kept in a JSON file.

    Attributes:
        mien: version. set: the recipe's name, or that of the folder with anonymized photographs. size: of the
            photographs, px. photos: that were compared. listed: whether the pairs are LFW's own list; else they were
            drawn with `seed`. mated, non_mated: pairs that were asked for.
        distances: Fréchet distance of the new photographs to the originals, by the name of its features.
        notes: what could not be compared, and why.
    """

    mien: str
    date: str
    set: str
    size: int
    photos: int
    listed: bool
    seed: int
    mated: int
    non_mated: int
    judges: dict[str, LfwJudge]
    distances: dict[str, float]
    notes: list[str]

    def write(self, path: Path) -> None:
        """Writes the JSON, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        replace_file(path, lambda file: file.write_text(self.model_dump_json(indent=1), "utf-8"))


@dataclass(frozen=True)
class LfwConfig:
    """What is tested.

    Attributes:
        path: a copy of LFW or of a part of it. work: private folder.
        anonymized: the same photographs, anonymized by any method; None: `recipe` anonymizes them.
        judges: names as in `load_face_judges`. most: at most so many pairs of each kind. seed: of the pairs drawn.
    """

    path: Path
    work: Path
    anonymized: Path | None = None
    recipe: Recipe = field(default_factory=Recipe)
    judges: tuple[str, ...] = ("faceplugin",)
    most: int = PAIRS
    seed: int = 0
    processes: int = 1


def run_lfw_protocol(config: LfwConfig, progress: PartProgress = lambda what, done, total: None,
                     load: Callable[[Recipe], Loaded] = prepare) -> LfwResult:
    """Anonymizes the photographs of LFW's pairs where that is asked for, and verifies them.

    The private folder keeps what is done: a call that was interrupted goes on.

    Args:
        load: loads networks and pool of the recipe.

    Raises:
        UsageError: there is no such judge, the folder has no people or pairs, or no pair can be compared.
        FetchError, ModelError: weights cannot be had. OutputError: the private folder cannot be written, or another
            evaluation is at work in it.
    """
    load_face_judges(config.judges)  # unknown ones are refused before anything is made
    check_apart(config.path, config.anonymized or config.path, config.work)
    pairs, notes = read_lfw_pairs(config.path, config.most, config.seed), []
    if pairs.absent:
        absent = plural(pairs.absent, "more pair" if pairs.listed else "pair")
        notes.append(f"{LIST} lists {absent}, of which a photograph is missing"
                     f"{'.' if pairs.listed else ': pairs were drawn at random instead.'}")
    given = _anonymized(config)
    if given is not None:
        asked, pairs = len(pairs.names), pairs.only(set(given))
        if len(pairs.names) < asked:
            notes.append(f"{config.anonymized} lacks {plural(asked - len(pairs.names), 'photograph')}, or all pairs "
                         "that they are in.")
    with opened(config.work):
        originals, new, published = _make_sets(config, pairs, given, progress, load)
        measured = measure_sets(originals, {"originals": originals, "new": new}, config.judges,
                                config.work / MEASURED, config.processes, partial(progress, "measuring"))
    # A role is that of the name that was given: a user's file may be called as one of mien's recognizers.
    roles = {judge_name(given): role for given, role in judge_roles(published, config.judges).items()}
    return _result(config, pairs, measured["originals"], measured["new"], roles, notes)


def _anonymized(config: LfwConfig) -> dict[str, Path] | None:
    """Name of an original -> its anonymized photograph, where a folder of these is given."""
    if config.anonymized is None:
        return None
    both = find_pairs(config.path, config.anonymized, "lfw")
    return dict(zip(both.names, both.new, strict=True))


def _make_sets(config: LfwConfig, pairs: LfwPairs, given: dict[str, Path] | None, progress: PartProgress,
               load: Callable[[Recipe], Loaded]) -> tuple[list[Path], list[Path], Path]:
    """Makes the originals and the new photographs of 256 px.

    Returns:
        both, by the rows of the pairs; the folder with the record of how the new ones were made.
    """
    sources = [pairs.root / name for name in pairs.names]
    names = [f"{name.rpartition('.')[0]}.png" for name in pairs.names]
    # A folder of its own for these files in this state: a run refuses to go on with other photographs.
    folder = config.work / SETS / f"lfw-{key_of([SIZE, [[str(path), stamp(path)] for path in sources]])}"
    originals = _resize(sources, names, folder / "originals", partial(progress, "resizing the originals"))
    if given is not None:
        assert config.anonymized is not None
        files = [given[name] for name in pairs.names]
        target = folder / f"given-{key_of([[str(path), stamp(path)] for path in files])}"
        new = _resize(files, names, target, partial(progress, "resizing the anonymized photographs"))
        return originals, new, config.anonymized
    recipe = config.recipe.settled()
    new = make_recipe_baseline(recipe, folder / "originals", names, folder, load(recipe),
                               partial(progress, f"anonymizing: {recipe.name}"))
    return originals, new, new[0].parents[names[0].count("/")]


def _resize(files: Sequence[Path], names: Sequence[str], folder: Path, progress: CountProgress) -> list[Path]:
    """Writes copies whose longer side is 256 px, as PNG, where there are none yet; not of what cannot be read."""
    targets = [folder / name for name in names]
    for done, (file, target) in enumerate(zip(files, targets, strict=True), 1):
        if not target.exists():
            with suppress(PhotoError):
                write_file(target, _encoded(_resized(read_photo(file, file.name).pixels)))
        progress(done, len(names))
    return targets


def _resized(pixels: Pixels) -> Pixels:
    scale = SIZE / max(pixels.shape[:2])
    width, height = (max(round(scale * side), 1) for side in pixels.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _encoded(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _result(config: LfwConfig, pairs: LfwPairs, before: Measurements, after: Measurements, roles: dict[str, Role],
            notes: list[str]) -> LfwResult:
    """Compares what was measured of both sets.

    Raises:
        UsageError: no pair of one person, or none of two people, can be compared.
    """
    common = np.intersect1d(before.rows, after.rows)
    before, after = before.only(common), after.only(common)
    place = np.full(len(pairs.names), -1)
    place[common] = np.arange(len(common))
    judges = {name: LfwJudge(role=role, comparisons=verify(
        before.columns.get(f"vector_{name}"), after.columns.get(f"vector_{name}"), place[pairs.mated],
        place[pairs.non_mated], pairs.people[common])) for name, role in roles.items()}
    fewest = min(one.mated + one.non_mated for judge in judges.values()
                 for name, one in judge.comparisons.items() if name != OWN)
    if fewest < len(pairs.mated) + len(pairs.non_mated):
        notes = [*notes, "Pairs with a photograph in which no face can be measured are left out: "
                 f"{plural(len(pairs.names) - len(common), 'photograph')} could not be measured at all."]
    distances = {name: frechet(torch.from_numpy(before.columns[column]), torch.from_numpy(after.columns[column]))
                 for column, name in DISTANCES.items() if column in before.columns and column in after.columns}
    return LfwResult(
        mien=version("mien"), date=datetime.now(UTC).date().isoformat(),
        set=printable(config.anonymized.resolve().name) if config.anonymized else f"recipe {config.recipe.name}",
        size=SIZE, photos=len(common), listed=pairs.listed, seed=config.seed, mated=len(pairs.mated),
        non_mated=len(pairs.non_mated), judges=judges,
        distances={name: one for name, one in distances.items() if np.isfinite(one)}, notes=notes)


def verify(before: Vectors | None, after: Vectors | None, mated: Rows, non_mated: Rows,
           people: People) -> dict[str, Verification]:
    """Makes all `COMPARISONS` of one judge on the same pairs.

    Args:
        before, after: vectors [N, D] of originals and new faces, NaN where a face cannot be judged.
        mated, non_mated: rows [M, 2] and [K, 2]; -1 where a photograph was not measured. people: [N].

    Raises:
        UsageError: no pair of one person, or none of two people, can be compared.
    """
    usable = np.zeros(1, bool) if before is None or after is None else np.append(
        np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1), False)  # the last place is that of -1
    mated, non_mated = (pairs[usable[np.minimum(pairs, len(usable) - 1)].all(axis=1)] for pairs in (mated, non_mated))
    if before is None or after is None or not len(mated) or not len(non_mated):
        raise UsageError("no pair of photographs can be compared", "in most of them no face is found: give others")
    (a, b), (x, y) = mated.T, non_mated.T
    own = np.unique(mated)

    def compared(same: Distances, different: Distances, rows: npt.NDArray[np.int64]) -> Verification:
        area = area_under_curve(same, different, people[rows], people[non_mated])
        return Verification(auc=Figure.of(area, "less"), eer=equal_error(same, different), mated=len(same),
                            non_mated=len(different))

    def apart(one: Vectors, first: npt.NDArray[np.int64], other: Vectors, second: npt.NDArray[np.int64]) -> Distances:
        return np.asarray(np.linalg.norm(one[first] - other[second], axis=1))

    found, strangers = apart(before, a, after, b), apart(before, x, after, y)
    originals = apart(before, x, before, y)
    return {
        "originals": compared(apart(before, a, before, b), originals, a),
        OWN: compared(apart(before, own, after, own), strangers, own),
        "other_photo": compared(found, strangers, a),
        "published": compared(found, originals, a),
        "new": compared(apart(after, a, after, b), apart(after, x, after, y), a),
    }
