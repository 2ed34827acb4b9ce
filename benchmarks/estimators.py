"""Measures how often the estimators of the look are right, on labeled photographs that none of them was trained on.

    python benchmarks/estimators.py --data FOLDER --work FOLDER    # resumable: run it again to go on

FOLDER of --data holds UTKFace/ and CelebA-HQ/. Faces of UTKFace's held-back part (training/utkface.py) have age, sex
and ethnic group in their names; CelebA-HQ's val split has 40 attributes. Every photograph goes the whole way, as in an
evaluation: found by the detector, measured by all networks. The figures go to RESULTS.md and, for the page of an
evaluation, to src/mien/weights/look_accuracy.json.
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
from mien.evaluation.look.compare import CHILD, CLOSED_EYE, OLD, OPEN_MOUTH
from mien.evaluation.measure_sets import measure_sets
from mien.evaluation.measurements import Measurements
from mien.evaluation.pairs import find_pairs
from mien.models.features.attribute_network import ATTRIBUTES
from mien.models.features.expression import EXPRESSIONS
from mien.models.features.look_judge import GROUPS

PROCESSES = 2
Flags = npt.NDArray[np.bool_]
WANTED = {"sex, UTKFace": 0.93, "ethnic group, UTKFace": 0.85, f"under {CHILD} or not, UTKFace": 0.95}
WANTED_AGE = 6.0  # years


def measured(files: list[Path], work: Path) -> Measurements:
    """Measures the largest face of every file as an original."""
    return measure_sets(files, {"originals": files}, (), work, PROCESSES, _show)["originals"]


def on_utkface(root: Path, work: Path) -> tuple[list[Accuracy], float, list[tuple[str, int, float]]]:
    """Accuracies, the mean error of the age in years, and the share of each ethnic group that is told right."""
    files = sorted(path for path in root.iterdir() if Labels.of(path.name) and part_of(path.name) == "held back")
    found = measured(files, work / "utkface")
    labels = [one for row in found.rows if (one := Labels.of(files[row].name))]
    age, woman, group = (np.array([getattr(one, name) for one in labels]) for name in ("age", "woman", "group"))
    told = found.columns
    told_group = told["look_group"].argmax(axis=1)
    shares = [
        _share("sex, UTKFace", (told["look_man"] > 0.5) != woman),
        _share(f"sex, {CHILD} and older, UTKFace", ((told["look_man"] > 0.5) != woman)[age >= CHILD]),
        _share(f"sex, under {CHILD}, UTKFace", ((told["look_man"] > 0.5) != woman)[age < CHILD]),
        _share("sex, dlib's network, UTKFace", (told["man"] > 0.5) != woman),
        _share("ethnic group, UTKFace", told_group == group),
        _share(f"under {CHILD} or not, UTKFace", (told["look_age"] < CHILD) == (age < CHILD)),
        _share(f"over {OLD} or not, UTKFace", (told["look_age"] > OLD) == (age > OLD)),
    ]
    each = [(name, int((group == i).sum()), float((told_group == i)[group == i].mean()))
            for i, name in enumerate(GROUPS) if (group == i).any()]
    return shares, float(np.abs(told["look_age"] - age).mean()), each


def on_celebahq(root: Path, work: Path) -> list[Accuracy]:
    """Accuracies on val against its labels."""
    pairs = find_pairs(root, root, "celebahq", "val")
    found = measured([pairs.root / name for name in pairs.names], work / "celebahq")
    assert pairs.labels is not None  # as CelebA-HQ has them
    labels, told = pairs.labels[found.rows] > 0, found.columns

    def having(name: str) -> Flags:
        return np.asarray(labels[:, ATTRIBUTES.index(name)])

    smile = told["expression"].argmax(axis=1) == EXPRESSIONS.index("happy")
    eyeglasses = ATTRIBUTES.index("Eyeglasses")
    return [
        _share("sex, CelebA-HQ", (told["look_man"] > 0.5) == having("Male")),
        _share("happy as Smiling, CelebA-HQ", smile == having("Smiling")),
        _share("open mouth as Mouth_Slightly_Open, CelebA-HQ",
               (told["mouth_open"] > OPEN_MOUTH) == having("Mouth_Slightly_Open")),
        _share("glasses, CelebA-HQ", (told["attributes"][:, eyeglasses] > 0) == having("Eyeglasses")),
        _share("eyes called closed, CelebA-HQ", told["eyes_open"] < CLOSED_EYE),
    ]


def write(data: Path, work: Path) -> None:
    """Measures, and writes both files."""
    shares, years, groups = on_utkface(data / "UTKFace", work)
    shares += on_celebahq(data / "CelebA-HQ", work)
    ACCURACY_FILE.write_text(json.dumps([vars(one) for one in shares]
                                        + [vars(Accuracy("age, UTKFace, mean error", shares[0].faces, years, "years"))],
                                        indent=1) + "\n", "utf-8")
    lines = [f"`python benchmarks/estimators.py`. {stamp()} Held-back faces of UTKFace, and CelebA-HQ's val split; "
             "none was in a training of these networks, but of dlib's and face-api's nothing is known.", "",
             "| what | faces | right | wanted |", "|---|---|---|---|"]
    lines += [f"| {one.what} | {one.faces:,} | {100 * one.value:.1f} % | "
              f"{f'{100 * WANTED[one.what]:.0f} %' if one.what in WANTED else ''} |" for one in shares]
    lines += [f"| age, UTKFace, mean error | {shares[0].faces:,} | {years:.2f} years | {WANTED_AGE:.0f} years |"]
    lines += [f"| ethnic group of those labeled {name} | {count:,} | {100 * share:.1f} % | |"
              for name, count, share in groups]
    put_section("The estimators of the look", "\n".join(lines))


def _share(what: str, right: Flags) -> Accuracy:
    return Accuracy(what, len(right), float(right.mean()))


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
