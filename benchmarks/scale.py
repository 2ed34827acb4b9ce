"""Measures what a run costs besides its networks, and what it costs to assign pool faces to many faces.

    python benchmarks/scale.py overhead --work FOLDER [--sizes 1000 10000 100000 1000000] [--form folder|tars]
    python benchmarks/scale.py pairing --work FOLDER [--faces 30000 --pool 60000]
    python benchmarks/scale.py write --work FOLDER          # writes RESULTS.md from what was measured

Every measurement runs in a process of its own and is kept in --work: run again, only what is missing is measured.
`overhead`: photographs of 32 x 32 pixels with one face each go through everything but detection, alignment, generator,
judge and blending, which do nothing; they are read, encoded and written, and WORK is on disk, with a face index,
codes and a marker for each shard. Each name has a twin that differs in case only, one file in a hundred is cut short,
and in tars one name in a hundred is longer than any file's may be. A million need about 25 GB.
`pairing`: the faces of a run are assigned pool faces, from face indexes as WORK has them; all numbers are drawn.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from results import OUT, measured_apart, put_section, stamps

from mien.anonymizer.finish import Decision
from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pipeline import Pipeline
from mien.anonymizer.pool import Pool, Traits
from mien.anonymizer.work_item import Subject, WorkItem
from mien.jobs.assignment.assign import assign_shards
from mien.jobs.face_index import FaceIndex, FileStates, face_tensors
from mien.jobs.job import make_request
from mien.jobs.run import Run
from mien.jobs.shard import SHARD
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.report.run_page import write_report
from mien.types import Crop, Face, FaceOutcome, Match, Photo, Pixels

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SIDE, D, C, E, IDENTITY = 32, 256, 64, 64, 128  # of photos; of the real pool's numbers
IN_FOLDER, SHADES = 1_000, 251
BROKEN, LONG = 99, 49  # of every hundred photos
DICE = torch.Generator().manual_seed(2)
FACE = Face((8.0, 8.0, 16.0, 16.0), np.full((5, 2), 16, np.float32), 0.9)
CROP = Crop(np.zeros((256, 256, 3), np.uint8), np.zeros((4, 2)), np.ones((256, 256), bool))


def shade(number: int) -> bytes:
    """A photograph's file."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE, 3), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def entries(size: int) -> Iterator[tuple[str, str, int]]:
    """Yields each photo's folder, its name, and the number of its picture; -1: one that is cut short."""
    for i in range(size):
        yield f"{i // IN_FOLDER:04d}", f"{i // 2:07d}{'aA'[i % 2]}", -1 if i % 100 == BROKEN else i % SHADES


def fill_folder(root: Path, size: int) -> None:
    """Writes a million names of a few files: links take no room."""
    pictures = root.with_name("pictures")
    pictures.mkdir()
    for number in range(SHADES):
        (pictures / f"{number}").write_bytes(shade(number))
    (pictures / "-1").write_bytes(shade(0)[:-40])
    for folder, name, picture in entries(size):
        if not (root / folder).exists():
            (root / folder).mkdir(parents=True)
        (root / folder / f"{name}.png").hardlink_to(pictures / f"{picture}")


def fill_tars(root: Path, size: int) -> None:
    """Writes the same photographs into tars of a thousand."""
    root.mkdir()
    pictures = {number: shade(number) for number in range(SHADES)} | {-1: shade(0)[:-40]}
    rows = list(entries(size))
    for first in range(0, size, IN_FOLDER):
        with tarfile.open(root / f"{rows[first][0]}.tar", "w") as tar:
            for i, (_, name, picture) in enumerate(rows[first : first + IN_FOLDER], first):
                info = tarfile.TarInfo(f"{name}{'n' * 300 * (i % 100 == LONG)}.png")
                info.size = len(pictures[picture])
                tar.addfile(info, io.BytesIO(pictures[picture]))


FORMS = {"folder": fill_folder, "tars": fill_tars}


class Memory(threading.Thread):
    """Measures this process's memory twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes: list[float] = []

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while True:
            self.megabytes.append(int(Path("/proc/self/statm").read_text().split()[1]) * page / 1e6)
            time.sleep(0.5)

    def tenths(self) -> list[int]:
        """The most in each tenth of the time so far."""
        return [round(max(part)) for part in np.array_split(self.megabytes, 10) if len(part)]


class Idle(Pipeline):
    """The pipeline, but nothing is computed."""

    def prepare(self, photo: Photo, faces: list[Face]) -> WorkItem:
        outcome = FaceOutcome(photo.name, 0, FACE.box, FACE.points.tolist(), FACE.score, "anonymized")
        return WorkItem(photo, faces, [Subject(FACE, CROP, outcome)])

    def run(self, works: list[WorkItem]) -> None:
        for work in works:
            work.pixels, work.changed = 255 - work.photo.pixels, np.ones((SIDE, SIDE), bool)
            for subject in work.subjects:
                subject.codes = subject.inverted = torch.zeros(16, 512)
                subject.match = subject.match or Match(0, 0.0)
                subject.outcome.judge_distance = subject.outcome.similarity = 0.9

    def finish(self, item: WorkItem, encode: Callable[[WorkItem], Pixels]) -> Decision:
        encode(item)
        return "anonymized"


class IdleNetworks:
    """Networks that find the same face everywhere."""

    same_person = 0.42
    device = "none"
    generator = SimpleNamespace(n_layers=16)

    @property
    def detector(self) -> IdleNetworks:
        return self

    @property
    def recognizer(self) -> IdleNetworks:
        return self

    @property
    def judge(self) -> IdleNetworks:
        return self

    def detect(self, pixels: Any, lying: bool = True) -> list[Face]:
        return [FACE]

    def embed(self, photo: Any, points: Any) -> Any:
        return np.zeros((len(points), 128), np.float32)


class IdlePool(Pool):
    """A pool that draws the traits of real faces at random."""

    def traits(self, faces: Any) -> Traits:
        return drawn_traits(len(faces), DICE)


def drawn_traits(n: int, rng: torch.Generator) -> Traits:
    """Draws the traits of n faces."""
    parts = [torch.randn(n, width, generator=rng) for width in (D, C, E, IDENTITY)]
    return Traits(*parts[:3], torch.nn.functional.normalize(parts[3]))


def drawn_pool(kind: type[Pool], size: int) -> Pool:
    """Draws a pool."""
    rng = torch.Generator().manual_seed(0)
    identities = torch.nn.functional.normalize(torch.randn(size, IDENTITY, generator=rng))
    return kind(torch.zeros(size, 1), torch.randn(size, D, generator=rng), torch.randn(size, C, generator=rng),
                torch.randn(size, E, generator=rng), identities, torch.zeros(1), torch.zeros(1, D), torch.zeros(1, C))


def sync_time(folder: Path) -> float:
    """The median of the seconds that the disk takes to sync a small new file."""
    taken = []
    for number in range(100):
        with (folder / f"{number}").open("wb") as file:
            file.write(bytes(200))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    return median(taken)


def overhead(size: int, form: str, work: Path) -> dict[str, Any]:
    """Measures a run over `size` entries, then the same command with nothing left to do."""
    import mien.jobs.worker

    vars(mien.jobs.worker).update(Pipeline=Idle, faces_of=lambda networks, faces, crops: faces)
    folder = work / f"overhead-{form}-{size}.files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    src, dst = folder / "src", folder / "dst"
    (folder / "synced").mkdir()
    sync = sync_time(folder / "synced")
    FORMS[form](src, size)
    memory, times = Memory(), list[float]()
    memory.start()
    for _ in range(2):
        started, summary = time.perf_counter(), Summary()  # the first one's is not kept in memory beside the second's
        request = make_request(src, dst, Recipe())
        summary = Run(request, IdleNetworks(), drawn_pool(IdlePool, 2000)).execute()  # type: ignore[arg-type]
        times.append(time.perf_counter() - started)
        assert len(summary.skipped) == size // 100, f"{len(summary.skipped)} skipped"
        assert summary.photos == summary.faces == size - size // 100, f"{summary.photos} photos, {summary.faces} faces"
        if form == "folder":
            assert sum(len(names) for _, _, names in os.walk(dst)) == summary.photos + 2, "not all are in DST"
    started = time.perf_counter()
    write_report(dst / "report.html", summary, Recipe())
    report = time.perf_counter() - started
    return {"form": form, "size": size, "seconds": times[0], "again": times[1], "report": report, "sync": sync,
            "memory": memory.tenths()}


def pairing(faces: int, size: int, work: Path) -> dict[str, Any]:
    """Measures how long it takes to assign pool faces."""
    folder = work / f"pairing-{faces}"
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-faces // SHARD)
    rng = torch.Generator().manual_seed(1)

    def sources(index: int) -> FileStates:
        return {f"{i}.png": [1, 1] for i in range(index * SHARD, min((index + 1) * SHARD, faces))}

    for index in range(count):
        names = sources(index)
        n = len(names)
        traits = drawn_traits(n, rng)
        tensors: dict[str, Any] = face_tensors([[FACE]] * n)
        face_index = FaceIndex(names, list(names), **tensors, chosen=torch.arange(n), traits=traits)
        face_index.write(folder / f"{index:06d}.safetensors")
    pool = drawn_pool(Pool, size)
    started = time.perf_counter()

    def face_indexes() -> Any:
        for index in range(count):
            yield FaceIndex.from_file(folder / f"{index:06d}.safetensors", sources(index))

    assigned = assign_shards(pool, Recipe(), face_indexes(), AvailableFaces(size), b"secret")
    used = [match.index for matches, _ in assigned for match in matches]
    seconds = time.perf_counter() - started
    assert len(used) == len(set(used)) == faces
    shutil.rmtree(folder)
    return {"faces": faces, "pool": size, "seconds": seconds}


def write(work: Path, out: Path) -> None:
    """The section of RESULTS.md."""
    rows, pairs = ([json.loads(file.read_text("utf-8")) for file in work.glob(f"{kind}-*.json")]
                   for kind in ("overhead", "pairing"))
    lines = [f"`python benchmarks/scale.py write`. {stamps([*rows, *pairs])}", "",
             "| photographs in | entries | ms a photo (at most 2) | its report | the same command again, ms a photo | "
             "one fsync here, ms | peak memory, MB | most in each tenth of the time |", f"|{'---|' * 8}"]
    for row in sorted(rows, key=lambda row: (row["form"], row["size"])):
        each = [f"{1000 * row[name] / row['size']:.2f}" for name in ("seconds", "report", "again")]
        lines.append(f"| {row['form']} | {row['size']:,} | {' | '.join(each)} | {1000 * row['sync']:.2f} | "
                     f"{row['peak_mb']:.0f} | {', '.join(map(str, row['memory']))} |")
    lines += ["", "| faces | pool | seconds (at most 30 for 30,000 and 60,000) | peak memory, MB (at most 1,000) |",
              "|---|---|---|---|"]
    lines += [f"| {row['faces']:,} | {row['pool']:,} | {row['seconds']:.1f} | {row['peak_mb']:.0f} |" for row in pairs]
    lines += ["", "One process on both cores; what is done once for all takes about a second of the first row. "
              "Photographs of 32 x 32 pixels with a face each; detection, alignment, generator, judge and blending do "
              "nothing. Each photo is synced once, each shard of eight three times. Each name has a twin that differs "
              "in case only; one file in a hundred is cut short, and that these were skipped and all others written is "
              "checked. No file can have a name of more than 255 bytes; in tars one in a hundred has. Peak memory is "
              "the whole process's, Python, torch and numpy included. Pool faces are assigned from the face indexes "
              "on disk, and none twice."]
    put_section("Scale: what a run costs besides its networks", "\n".join(lines), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["overhead", "pairing", "write"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--form", choices=FORMS, default="folder")
    parser.add_argument("--faces", type=int, default=30_000)
    parser.add_argument("--pool", type=int, default=60_000)
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.command == "write":
        write(asked.work, asked.out)
    elif asked.apart:
        result = (overhead(asked.sizes[0], asked.form, asked.work) if asked.command == "overhead"
                  else pairing(asked.faces, asked.pool, asked.work))
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(json.dumps(result))
    elif asked.command == "overhead":
        for size in asked.sizes:
            measured_apart(asked.work / f"overhead-{asked.form}-{size}.json", __file__, "overhead", "--apart",
                           "--work", asked.work, "--sizes", size, "--form", asked.form)
        # Not before: for minutes after many files were deleted ext4 takes up to ten times as long to make one.
        for folder in asked.work.glob("overhead-*.files"):
            shutil.rmtree(folder)
    else:
        measured_apart(asked.work / f"pairing-{asked.faces}-{asked.pool}.json", __file__, "pairing", "--apart",
                       "--work", asked.work, "--faces", asked.faces, "--pool", asked.pool)


if __name__ == "__main__":
    main()
