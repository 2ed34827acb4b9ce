"""What a run costs besides its networks, and what it costs to choose pool faces, at size.

    python benchmarks/scale.py overhead --work FOLDER [--sizes 1000 10000 100000 1000000]
    python benchmarks/scale.py pairing --work FOLDER [--faces 30000 --pool 60000]
    python benchmarks/scale.py write --work FOLDER          # writes RESULTS.md from what was measured

Every measurement runs in a process of its own, which tells its peak memory. `overhead`: photographs are made as they
are read, 32 x 32 pixels with one face each, and go through everything but detection, alignment, generator and
blending, which do nothing; WORK, with a survey, codes and a marker for each shard, lies on disk, and so do the results.
`pairing`: the faces of a run, as their surveys lie in WORK, are matched with a pool; all numbers are drawn.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import put_section, stamp

from mien.datasets.dataset import Dataset
from mien.matching import match_shards
from mien.pipeline import Pipeline, Subject, Work
from mien.places import Source
from mien.recipe import Recipe
from mien.records import Crop, Encoding, Face, Match, Outcome, Photo
from mien.request import Request
from mien.run import Run
from mien.stages.pair import Free
from mien.stages.pool import Pool, Traits
from mien.store import SHARD
from mien.survey import Sources, Survey, face_tensors

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SIDE, D, C, E, IDENTITY = 32, 256, 64, 64, 128  # of photos; of the real pool's numbers
FACE = Face((8.0, 8.0, 16.0, 16.0), np.full((5, 2), 16, np.float32), 0.9)
CROP = Crop(np.zeros((256, 256, 3), np.uint8), np.zeros((4, 2)), np.ones((256, 256), bool))


class Made:
    """Photographs that are made as they are read."""

    def photo(self, name: str) -> Photo:
        pixels = np.full((SIDE, SIDE, 3), int(name[:-4]) % 251, np.uint8)
        return Photo(name, pixels, Encoding("PNG", "RGB"))

    def stamp(self, name: str) -> list[int] | None:
        return [1, 1]


@dataclass
class MadeDataset(Dataset):
    """Entries that lie nowhere."""

    @property
    def source(self) -> Source:
        return Made()


class Idle(Pipeline):
    """The pipeline, but nothing is computed."""

    def prepare(self, photo: Photo, faces: list[Face]) -> Work:
        outcome = Outcome(photo.name, 0, FACE.box, FACE.points.tolist(), FACE.score, "anonymised")
        return Work(photo, faces, [Subject(FACE, CROP, outcome)])

    def run(self, works: list[Work]) -> None:
        for work in works:
            work.pixels, work.changed = work.photo.pixels, np.zeros((SIDE, SIDE), bool)
            for subject in work.subjects:
                subject.codes = subject.inverted = torch.zeros(16, 512)
                subject.match = subject.match or Match(0, 0.0)
                subject.outcome.judge_distance = subject.outcome.similarity = 0.9

    def search_again(self, work: Work, decoded: Any) -> bool:
        return False


class IdleNetworks:
    """Networks that find the same face everywhere."""

    same_person = 0.42

    @property
    def detector(self) -> IdleNetworks:
        return self

    @property
    def recogniser(self) -> IdleNetworks:
        return self

    @property
    def judge(self) -> IdleNetworks:
        return self

    def detect(self, pixels: Any) -> list[Face]:
        return [FACE]

    def embed(self, photo: Any, points: Any) -> Any:
        return np.zeros((len(points), 128), np.float32)


class IdlePool(Pool):
    """A pool to which all real faces are alike."""

    def traits(self, faces: Any) -> Traits:
        n = len(faces)
        return Traits(torch.zeros(n, D), torch.zeros(n, C), torch.zeros(n, E), torch.ones(n, IDENTITY))


def drawn_pool(kind: type[Pool], size: int) -> Pool:
    """A pool of random numbers."""
    rng = torch.Generator().manual_seed(0)
    identities = torch.nn.functional.normalize(torch.randn(size, IDENTITY, generator=rng))
    return kind(torch.zeros(size, 1), torch.randn(size, D, generator=rng), torch.randn(size, C, generator=rng),
                torch.randn(size, E, generator=rng), identities, torch.zeros(1), torch.zeros(1, D), torch.zeros(1, C))


def overhead(size: int, work: Path) -> dict[str, float]:
    """A run over `size` entries."""
    import mien.worker

    mien.worker.Pipeline = Idle  # type: ignore[misc]
    mien.worker.faces_of = lambda networks, faces, crops: faces  # type: ignore[assignment,misc]
    folder = work / f"overhead-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    names = [f"{i:07d}.png" for i in range(size)]
    request = Request(folder, folder / "dst", folder / "work", Recipe(), MadeDataset("folder", folder, names))
    started = time.perf_counter()
    summary = Run(request, IdleNetworks(), drawn_pool(IdlePool, 2000)).execute()  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    assert summary.photos == summary.faces == size
    from mien.report.page import write_report

    write_report(folder / "dst" / "report.html", summary, Recipe())
    whole = time.perf_counter() - started
    shutil.rmtree(folder)
    return {"size": size, "seconds": seconds, "with_report": whole}


def pairing(faces: int, size: int, work: Path) -> dict[str, float]:
    """Match faces with a pool."""
    folder = work / f"pairing-{faces}"
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-faces // SHARD)
    rng = torch.Generator().manual_seed(1)

    def sources(index: int) -> Sources:
        return {f"{i}.png": [1, 1] for i in range(index * SHARD, min((index + 1) * SHARD, faces))}

    for index in range(count):
        names = sources(index)
        n = len(names)
        identities = torch.nn.functional.normalize(torch.randn(n, IDENTITY, generator=rng))
        traits = Traits(torch.randn(n, D, generator=rng), torch.randn(n, C, generator=rng),
                        torch.randn(n, E, generator=rng), identities)
        Survey(names, list(names), **face_tensors([[FACE]] * n), chosen=torch.arange(n),
               traits=traits).write(folder / f"{index:06d}.safetensors")
    pool = drawn_pool(Pool, size)
    started = time.perf_counter()

    def surveys() -> Any:
        for index in range(count):
            yield Survey.from_file(folder / f"{index:06d}.safetensors", sources(index))

    used = [match.index for matches, _ in match_shards(pool, Recipe(), surveys(), Free(size)) for match in matches]
    seconds = time.perf_counter() - started
    assert len(used) == len(set(used)) == faces
    shutil.rmtree(folder)
    return {"faces": faces, "pool": size, "seconds": seconds}


def apart(kind: str, work: Path, *numbers: int) -> None:
    """Measure in a process of its own, and keep what it says."""
    out = subprocess.run([sys.executable, __file__, kind, "--work", str(work), "--apart", *map(str, numbers)],
                         check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    with (work / f"{kind}.jsonl").open("a") as file:
        file.write(out + "\n")
    print(out, flush=True)


def write(work: Path) -> None:
    """The section of RESULTS.md."""
    rows = [json.loads(line) for line in (work / "overhead.jsonl").read_text().splitlines()]
    lines = [stamp(), "", "| entries | ms a photo (at most 2) | with its report | peak memory, MB |",
             "|---|---|---|---|"]
    lines += [f"| {row['size']:,} | {1000 * row['seconds'] / row['size']:.2f} | "
              f"{1000 * row['with_report'] / row['size']:.2f} | {row['peak_mb']:.0f} |" for row in rows]
    pairs = [json.loads(line) for line in (work / "pairing.jsonl").read_text().splitlines()]
    lines += ["", "| faces | pool | seconds (at most 30 for 30,000 and 60,000) | peak memory, MB (at most 1,000) |",
              "|---|---|---|---|"]
    lines += [f"| {row['faces']:,} | {row['pool']:,} | {row['seconds']:.1f} | {row['peak_mb']:.0f} |" for row in pairs]
    lines += ["", "One process on both cores. Peak memory is the whole process's, Python, torch and numpy included. "
              "Matching reads the faces from the surveys on disk and gives no pool face twice."]
    put_section("Scale: what a run costs besides its networks", "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["overhead", "pairing", "write"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--faces", type=int, default=30_000)
    parser.add_argument("--pool", type=int, default=60_000)
    parser.add_argument("--apart", type=int, nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.command == "write":
        write(asked.work)
    elif asked.apart:
        result = (overhead if asked.command == "overhead" else pairing)(*asked.apart, asked.work)
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(json.dumps(result))
    elif asked.command == "overhead":
        for size in asked.sizes:
            apart("overhead", asked.work, size)
    else:
        apart("pairing", asked.work, asked.faces, asked.pool)


if __name__ == "__main__":
    main()
