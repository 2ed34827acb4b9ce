"""Measures the main job: anonymizes real photographs, then judges the result, and writes the figures to RESULTS.md.

    python benchmarks/main_job.py run celebahq --data FOLDER --work FOLDER    # resumable: run it again to go on
    python benchmarks/main_job.py run photos --data FOLDER --work FOLDER --part 1/2    # parts may run side by side
    python benchmarks/main_job.py run photos --data FOLDER --work FOLDER --part 2/2
    python benchmarks/main_job.py write --work FOLDER                         # measures and writes RESULTS.md

FOLDER of --data holds CelebA-HQ/ (FALCO's layout with identities and splits) and photos/images/. CelebA-HQ's photos
are whole identities of the val split in a seeded order until at least --count photos. Faces are judged by dlib's
network, which took no part in the optimization; a second detector (CenterFace) tells whether they are still faces.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
from results import OUT, put_section, stamp

from mien.anonymizer.detect import detect, overlap
from mien.anonymizer.load import Loaded, prepare
from mien.anonymizer.verify import distances as judge_distances
from mien.anonymizer.verify import embed, find_again
from mien.api import anonymize_dataset
from mien.datasets.registry import open_dataset
from mien.errors import PhotoError
from mien.images.decode import read_photo
from mien.jobs.progress import Progress
from mien.models.detection.centerface import CenterFace
from mien.models.hub.fetch import ensure
from mien.recipe import Recipe
from mien.types import Face

SETS = ("celebahq", "photos")
SECOND_DETECTOR_OVERLAP = 0.2
SECONDS = {"default": 12, "fast": 2}  # a face, at most
TITLES = {"celebahq": "CelebA-HQ val, whole identities", "photos": "ordinary photographs"}


def celebahq_photos(data: Path, count: int) -> list[Path]:
    """Photos of whole identities of the val split, at least `count` of them."""
    dataset = open_dataset(data / "CelebA-HQ", "celebahq", "val")
    people: dict[str, list[Path]] = {}
    for name in dataset.names():
        people.setdefault(dataset.people[name], []).append(dataset.root / name)
    chosen: list[Path] = []
    for name in np.random.default_rng(0).permutation(sorted(people)):
        if len(chosen) >= count:
            break
        chosen += people[str(name)]
    return sorted(chosen)


def source(name: str, part: str, data: Path, work: Path, count: int) -> Path:
    """Makes a folder of links to one part ("2/3": the second third) of a set's photos."""
    paths = celebahq_photos(data, count) if name == "celebahq" else sorted((data / "photos" / "images").iterdir())
    number, parts = (int(x) for x in part.split("/"))
    chosen = np.array_split(np.array(paths, dtype=object), parts)[number - 1]
    return link(list(chosen), work / "src" / f"{name}-{number}of{parts}")


def link(paths: list[Path], folder: Path) -> Path:
    """Makes a folder of links to photos."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if not (folder / path.name).is_symlink():
            (folder / path.name).symlink_to(path.resolve())
    return folder


def run(name: str, part: str, data: Path, work: Path, count: int, recipe: str) -> None:
    """Anonymizes one part of a set, going on where an earlier call stopped."""
    src = source(name, part, data, work, count)

    def show(event: Progress) -> None:
        print(f"{src.name}: {event.photos}/{event.total} photos, {event.faces} faces", flush=True)

    anonymize_dataset(src, work / "dst" / src.name, recipe, work=work / "private" / src.name, progress=show)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    file = work / f"{src.name}.memory.json"
    known = json.loads(file.read_text()) if file.exists() else 0.0
    file.write_text(json.dumps(max(known, peak)))


@dataclass
class Measured:
    """What was measured of one face.

    Attributes:
        largest: whether it is its photo's largest. changed: whether most of its inner box differs visibly.
        distance: the judge's, from the original to DST. black: the judge's, from the original to a black picture; below
            the threshold the judge cannot judge this face (most of it is outside the photo, or it is no face).
        there: whether one of the two detectors finds a face in its place in DST.
        second_before, second_detector: whether CenterFace finds it in the original, and in DST.
    """

    file: str
    largest: bool
    status: str
    reason: str
    changed: bool
    distance: float
    black: float
    there: bool
    second_before: bool
    second_detector: bool
    seconds: float
    attempts: int


def finished(name: str, work: Path) -> list[tuple[Path, Path]]:
    """(SRC, DST) of the finished parts of a set."""
    folders = sorted((work / "dst").glob(f"{name}-*of*"))
    return [(work / "src" / dst.name, dst) for dst in folders if (dst / "mien.parquet").exists()]


def measure(src: Path, dst: Path, ready: Loaded) -> Iterator[Measured]:
    """Detects faces in the originals anew and compares each with DST; WORK's table gives only what is not measured."""
    second = CenterFace(ensure(["centerface"])["centerface"])
    rows: dict[str, list[dict[str, object]]] = {}
    for row in pq.read_table(dst.parent.parent / "private" / dst.name / "faces.parquet").to_pylist():
        rows.setdefault(row["file"], []).append(row)
    for file, known in rows.items():
        try:
            old, new = read_photo(src / file, file), read_photo(_output(dst, file), file)
        except PhotoError:
            continue
        faces = detect(ready.networks, old)
        found = find_again(ready.networks.detector, new.pixels, faces)
        originals = embed(ready.networks, old.pixels, faces)
        after = judge_distances(ready.networks, originals, new.pixels, faces, found)
        black = judge_distances(ready.networks, originals, np.zeros_like(old.pixels), faces, [None] * len(faces))
        before, seen = second.detect(old.pixels), second.detect(new.pixels)
        for i, face in enumerate(faces):
            row = max(known, key=lambda r, f=face: overlap(f.box, _box(r)))
            yield Measured(
                file, face.box[2] * face.box[3] == max(f.box[2] * f.box[3] for f in faces), str(row["status"]),
                str(row["reason"]), _changed(old.pixels, new.pixels, face), float(after[i]), float(black[i]),
                found[i] is not None or _among(face, seen), _among(face, before), _among(face, seen),
                float(row["seconds"]), int(row["attempts"]))


def _among(face: Face, found: list[Face]) -> bool:
    return any(overlap(face.box, other.box) >= SECOND_DETECTOR_OVERLAP for other in found)


def _box(row: dict[str, object]) -> tuple[float, float, float, float]:
    return (row["x"], row["y"], row["width"], row["height"])  # type: ignore[return-value]


def _output(dst: Path, name: str) -> Path:
    return dst / name if (dst / name).exists() else dst / f"{name}.png"


def _changed(old: np.ndarray, new: np.ndarray, face: Face) -> bool:
    """Whether most of the face's inner box differs visibly."""
    x, y, w, h = face.box
    ys = slice(max(0, int(y + h / 4)), max(1, int(y + 3 * h / 4)))
    xs = slice(max(0, int(x + w / 4)), max(1, int(x + 3 * w / 4)))
    if old.shape != new.shape:
        return False
    difference = np.abs(old[ys, xs].astype(int) - new[ys, xs]).max(axis=2)
    return difference.size > 0 and float((difference > 4).mean()) > 0.5


def table(name: str, measured: list[Measured], parts: list[Path], work: Path) -> str:
    """The figures of one set, as Markdown."""
    records = [json.loads((dst / "mien.json").read_text()) for dst in parts]
    recipe = records[0]["recipe"]["name"]
    skipped = [one for record in records for one in record["skipped"]]
    done = [m for m in measured if m.status == "anonymized"]
    blurred = [m for m in measured if m.status == "blurred"]
    main = [m for m in measured if m.largest]
    distances = [m.distance for m in done] or [0.0]
    verified = sum(m.distance < 0.6 and m.there for m in measured)
    blind = sum(m.distance < 0.6 and not m.there for m in measured)
    blank = sum(m.distance < 0.6 and not m.there and m.black < 0.6 for m in measured)
    second = sum(m.second_detector for m in done)
    known = [m for m in done if m.second_before]
    retried = sum(m.attempts > 1 for m in measured)
    seconds = [m.seconds for m in done] or [0.0]
    stages: Counter[str] = Counter()
    for record in records:
        stages.update(record["stages"])
    total = sum(stages.values()) or 1
    reasons = "; ".join(f"{count} {reason}" for reason, count in Counter(m.reason for m in blurred).most_common())
    memory = [json.loads(path.read_text()) for path in work.glob(f"{name}-*.memory.json")]
    lines = [
        f"### {TITLES[name]}", "",
        f"{sum(r['photos'] for r in records)} photos written, {len(skipped)} skipped, {len(measured)} faces found. "
        f"{len(records)} process(es), {records[0]['threads']} thread(s) each: "
        f"{', '.join(dst.name for dst in parts)}.", "",
        "| figure | measured | wanted |", "|---|---|---|",
        f"| faces changed | {_share(sum(m.changed for m in measured), len(measured))} | 100 % |",
        f"| faces in DST that verify as their original (dlib distance < 0.6) | {verified} of {len(measured)} | 0 |",
        f"| blurred places without a face for either detector where the distance is below 0.6 all the same (of these, "
        f"against a black picture too: the judge cannot judge them) | {blind} ({blank}) | |",
        f"| anonymized, not blurred, of all faces found | {_share(len(done), len(measured))} | "
        + ("97 % |" if name == "celebahq" else "stated |"),
        f"| anonymized, not blurred, of each photo's largest face | "
        f"{_share(sum(m.status == 'anonymized' for m in main), len(main))} | |",
        f"| second detector finds a face in anonymized faces | {_share(second, len(done))} | 99 % |",
        f"| the same, of those that it finds in the originals | "
        f"{_share(sum(m.second_detector for m in known), len(known))} | |",
        f"| dlib distance to the original, anonymized: median (5th percentile, least) | {median(distances):.2f} "
        f"({np.percentile(distances, 5):.2f}, {min(distances):.2f}) | |",
        f"| seconds a face, whole photo to written file: median (quartiles) | {median(seconds):.1f} "
        f"({np.percentile(seconds, 25):.1f}, {np.percentile(seconds, 75):.1f}) | {SECONDS.get(recipe, 'stated')} |",
        f"| faces that needed more than one attempt | {_share(retried, len(measured))} | |",
        f"| peak memory of the process, GB | {max(memory, default=0):.2f} | 3 |", "",
        f"Time goes to: {', '.join(f'{stage} {100 * value / total:.0f} %' for stage, value in stages.most_common())}.",
        "", f"Blurred: {reasons or 'none'}.",
        "", "Skipped: " + ("; ".join(f"{s['file']} ({s['reason']})" for s in skipped) or "none") + ".", ""]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(whole, 1):.1f} %)"


def write(work: Path, out: Path) -> None:
    """Measures all finished sets and puts their tables into RESULTS.md."""
    sets = {name: finished(name, work) for name in SETS}
    used = {(record["recipe"]["name"], record["recipe_hash"]) for pairs in sets.values() for _, dst in pairs
            for record in (json.loads((dst / "mien.json").read_text()),)}
    if len(used) != 1:
        sys.exit(f"{work} holds the work of {len(used)} recipes, not of one: {sorted(used)}")
    ((recipe, digest),) = used
    ready = prepare(Recipe.load(recipe))
    parts = [f"`python benchmarks/main_job.py write`. {stamp()} Recipe {recipe}, hash {digest}.", ""]
    for name, pairs in sets.items():
        measured = [one for src, dst in pairs for one in measure(src, dst, ready)]
        if measured:
            (work / f"{name}.measured.json").write_text(json.dumps([vars(m) for m in measured], indent=1))
            parts.append(table(name, measured, [dst for _, dst in pairs], work))
    put_section("The main job" if recipe == "default" else f"The main job, recipe {recipe}", "\n".join(parts), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("set", nargs="?", choices=SETS)
    parser.add_argument("--data", type=Path, help="needed to run")
    parser.add_argument("--part", default="1/1", help="which part of the set, e.g. 2/3")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60, help="least number of CelebA-HQ photos")
    parser.add_argument("--recipe", default="default", help="needed to run")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.what == "write":
        write(arguments.work, arguments.out)
    elif arguments.set and arguments.data:
        run(arguments.set, arguments.part, arguments.data, arguments.work, arguments.count, arguments.recipe)
    else:
        sys.exit("run needs a set (celebahq or photos) and --data")


if __name__ == "__main__":
    main()
