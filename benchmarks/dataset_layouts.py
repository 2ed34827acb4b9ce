"""Anonymizes some photos of CelebA-HQ, CelebA and LFW, and compares the result, read in its layout, with the source.

    python benchmarks/dataset_layouts.py run --data FOLDER --work FOLDER    # resumable: run it again to go on
    python benchmarks/dataset_layouts.py write --work FOLDER                # compares and writes RESULTS.md

FOLDER of --data holds CelebA-HQ/, CelebA/ and LFW/. The photos are whole people in a seeded order until at least
--count photos, the first --count of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from results import OUT, put_section, stamp

from mien.api import anonymize_dataset
from mien.datasets.dataset import Dataset
from mien.datasets.registry import open_dataset
from mien.jobs.progress import Progress
from mien.recipe import Recipe

SETS = ("CelebA-HQ", "CelebA", "LFW")
TITLE = "Datasets in their layouts"


def chosen(dataset: Dataset, count: int) -> list[str]:
    """The first `count` photos of people in a seeded order."""
    people: dict[str, list[str]] = {}
    for name in dataset.photos:
        people.setdefault(dataset.people.get(name, name), []).append(name)
    names: list[str] = []
    for person in np.random.default_rng(0).permutation(sorted(people)):
        if len(names) < count:
            names += people[str(person)]
    return sorted(names[:count])


def part(src: Path, dst: Path, count: int) -> None:
    """Makes a small dataset of the same layout: links to some photos, and tables with their rows."""
    dataset = open_dataset(src)
    names = chosen(dataset, count)
    for name in names:
        (dst / name).parent.mkdir(parents=True, exist_ok=True)
        if not (dst / name).is_symlink():
            (dst / name).symlink_to((src / name).resolve())
    dataset.write_annotations(dst, {name: name for name in names})


def run(data: Path, work: Path, count: int, recipe: str) -> None:
    """Anonymizes all three, going on where an earlier call stopped."""
    for name in SETS:
        part(data / name, work / "src" / name, count)

        def show(event: Progress, name: str = name) -> None:
            print(f"{name}: {event.photos}/{event.total} photos, {event.faces} faces", flush=True)

        anonymize_dataset(work / "src" / name, work / "dst" / name, recipe, work=work / "private" / name, progress=show)


def row(name: str, work: Path) -> str:
    """Compares one dataset with its source, as a row of the table."""
    old, new = (open_dataset(work / folder / name) for folder in ("src", "dst"))
    same = [old.layout == new.layout, old.photos == new.photos, old.splits == new.splits, old.people == new.people,
            old.attribute_names == new.attribute_names,
            all(np.array_equal(old.attributes[photo], new.attributes[photo]) for photo in old.attributes)]
    tables = [table.name for table in old.annotations]
    equal = sum((work / "src" / name / table).read_bytes() == (work / "dst" / name / table).read_bytes()
                for table in tables)
    faces = pq.read_table(work / "private" / name / "faces.parquet").to_pydict()
    record = json.loads((work / "dst" / name / "mien.json").read_text())
    anonymized = faces["status"].count("anonymized")
    least = min(distance for distance in faces["judge_distance"] if distance is not None)
    seconds = float(np.median(faces["seconds"]))
    found = len(faces["status"])
    return (f"| {name} | {record['photos']} of {len(old.photos)} | {anonymized} of {found} | {least:.2f} "
            f"| {'yes' if all(same) else 'NO'} | {equal} of {len(tables)} | {seconds:.1f} |")


def write(work: Path, recipe: str, out: Path) -> None:
    """Compares the results with their sources, and puts the table into RESULTS.md."""
    lines = [f"`python benchmarks/dataset_layouts.py`. {stamp()} Recipe {recipe}, hash {Recipe.load(recipe).hash}.",
             "",
             "| dataset | photos written | faces anonymized, of those found | least distance by the judge "
             "| read again: photos, splits, people, attributes equal | annotation files equal to the byte "
             "| seconds a face, median |",
             "|---|---|---|---|---|---|---|"]
    put_section(TITLE, "\n".join(lines + [row(name, work) for name in SETS]), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("--data", type=Path, help="needed to run")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.what == "write":
        write(arguments.work, arguments.recipe, arguments.out)
    elif arguments.data:
        run(arguments.data, arguments.work, arguments.count, arguments.recipe)
    else:
        parser.error("run needs --data")


if __name__ == "__main__":
    main()
