"""Measures how often estimators of the look are right, on photographs that have labels of what they tell.

    python benchmarks/estimators.py --data FOLDER --work FOLDER    # resumable: run it again to go on

FOLDER of --data holds UTKFace/ and CelebA-HQ/. Faces of UTKFace's held-back part (training/utkface.py) have age, sex
and ethnic group in their names; CelebA-HQ's val split has 40 attributes. Every photograph goes the whole way, as in an
evaluation: found by the detector, measured by all networks. This project's own networks were trained on none of these
photographs; what dlib's and face-api's were trained on is not known. Faces of which nothing is told are left out of a
figure and counted beside it. The figures go to RESULTS.md and, for the page of an evaluation, to
src/mien/weights/look_accuracy.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from results import put_section, stamp
from sources import Labels, part_of

from mien.evaluation.look.accuracy import ACCURACY_FILE, Accuracy
from mien.evaluation.look.compare import CHILD, OLD, OPEN_MOUTH
from mien.evaluation.measure_sets import measure_sets
from mien.evaluation.measurements import Measurements
from mien.evaluation.pairs import find_pairs
from mien.models.features.attribute_network import ATTRIBUTES
from mien.models.features.expression import EXPRESSIONS
from mien.models.features.look_judge import GROUPS

PROCESSES = 2
Flags = npt.NDArray[np.bool_]
Told = npt.NDArray[np.floating]
WANTED = {"sex, UTKFace": 0.93, "ethnic group, UTKFace": 0.85, f"under {CHILD} or not, UTKFace": 0.95}
WANTED_AGE = 6.0  # years


def measured(files: list[Path], work: Path) -> Measurements:
    """Measures the largest face of every file as an original."""
    return measure_sets(files, {"originals": files}, (), work, PROCESSES, _show)["originals"]


def on_utkface(root: Path, work: Path) -> tuple[list[Accuracy], list[tuple[str, int, float]], int]:
    """Accuracies, the share of each ethnic group that is told right, and the photographs in which no face was found."""
    files = sorted(path for path in root.iterdir() if Labels.of(path.name) and part_of(path.name) == "held back")
    found = measured(files, work / "utkface")
    labels = [one for row in found.rows if (one := Labels.of(files[row].name))]
    age, woman, group = (np.array([getattr(one, name) for one in labels]) for name in ("age", "woman", "group"))
    told = found.columns
    man, years, groups, child = told["look_man"], told["look_age"], told["look_group"], age < CHILD
    right_sex, right_group = (man > 0.5) != woman, groups.argmax(axis=1) == group
    figures = [
        share("sex, UTKFace", man, right_sex),
        share(f"sex, {CHILD} and older, UTKFace", man[~child], right_sex[~child]),
        share(f"sex, under {CHILD}, UTKFace", man[child], right_sex[child]),
        share("sex, dlib's network, UTKFace", told["man"], (told["man"] > 0.5) != woman),
        share("ethnic group, UTKFace", groups, right_group),
        share(f"under {CHILD} or not, UTKFace", years, (years < CHILD) == child),
        share(f"over {OLD} or not, UTKFace", years, (years > OLD) == (age > OLD)),
        mean_error("age, UTKFace, mean error", years, age, "years"),
    ]
    each = [(name, int(here.sum()), float(right_group[here].mean()))
            for i, name in enumerate(GROUPS) if (here := (group == i) & is_told(groups)).any()]
    return figures, each, len(found.skipped)


def on_celebahq(root: Path, work: Path) -> tuple[list[Accuracy], int]:
    """Accuracies on val against its labels, and the photographs in which no face was found."""
    pairs = find_pairs(root, root, "celebahq", "val")
    found = measured([pairs.root / name for name in pairs.names], work / "celebahq")
    assert pairs.labels is not None  # as CelebA-HQ has them
    labels, told = pairs.labels[found.rows] > 0, found.columns

    def having(name: str) -> Flags:
        return np.asarray(labels[:, ATTRIBUTES.index(name)])

    smile = told["expression"].argmax(axis=1) == EXPRESSIONS.index("happy")
    eyeglasses = told["attributes"][:, ATTRIBUTES.index("Eyeglasses")]
    return [
        share("sex, CelebA-HQ", told["look_man"], (told["look_man"] > 0.5) == having("Male")),
        share("happy as Smiling, CelebA-HQ", told["expression"], smile == having("Smiling")),
        share("open mouth as Mouth_Slightly_Open, CelebA-HQ", told["mouth_open"],
              (told["mouth_open"] > OPEN_MOUTH) == having("Mouth_Slightly_Open")),
        share("glasses, CelebA-HQ", eyeglasses, (eyeglasses > 0) == having("Eyeglasses")),
    ], len(found.skipped)


def write(data: Path, work: Path) -> None:
    """Measures, and writes both files."""
    figures, groups, unfound = on_utkface(data / "UTKFace", work)
    others, unfound_celeba = on_celebahq(data / "CelebA-HQ", work)
    figures += others
    ACCURACY_FILE.write_text(json.dumps([vars(one) for one in figures], indent=1, allow_nan=False) + "\n", "utf-8")
    lines = [f"`python benchmarks/estimators.py`. {stamp()} Held-back faces of UTKFace, and CelebA-HQ's val split; "
             "none was in a training of this project's networks, but what dlib's and face-api's were trained on is not "
             f"known. No face was found in {unfound} and {unfound_celeba} photographs. Faces of which nothing was told "
             "are not counted.", "", "| what | faces | not told | right | wanted |", "|---|---|---|---|---|"]
    lines += [f"| {one.what} | {one.faces:,} | {one.untold} | {_number(one)} | {_wanted(one)} |" for one in figures]
    lines += [f"| ethnic group of those labeled {name} | {count:,} | | {100 * right:.1f} % | |"
              for name, count, right in groups]
    put_section("The estimators of the look", "\n".join(lines))


def share(what: str, told: Told, right: Flags) -> Accuracy:
    """The share of right answers among those that were given; told: [N, ...], NaN where nothing is told of a face."""
    known = is_told(told)
    return Accuracy(what, int(known.sum()), float(right[known].mean()), untold=int((~known).sum()))


def mean_error(what: str, told: Told, truth: Told, unit: str) -> Accuracy:
    """The mean distance of what is told [N] from the truth [N], likewise."""
    known = is_told(told)
    return Accuracy(what, int(known.sum()), float(np.abs(told - truth)[known].mean()), unit, int((~known).sum()))


def is_told(told: Told) -> Flags:
    """[N], whether anything is told of each face."""
    return np.asarray(np.isfinite(told.reshape(len(told), -1)).all(axis=1))


def _number(one: Accuracy) -> str:
    return f"{100 * one.value:.1f} %" if one.unit == "%" else f"{one.value:.2f} {one.unit}"


def _wanted(one: Accuracy) -> str:
    if one.unit == "years":
        return f"{WANTED_AGE:.0f} years"
    return f"{100 * WANTED[one.what]:.0f} %" if one.what in WANTED else ""


def _show(done: int, total: int) -> None:
    if done % 320 < 32 or done == total:
        print(f"{time.strftime('%H:%M')} {done}/{total}", flush=True)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    write(args.data, args.work)


if __name__ == "__main__":
    main()
