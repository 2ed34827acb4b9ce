"""Measures seconds a face of whole runs: recipes default and fast, in one process, two, two of Ray's, on a GPU.

    python benchmarks/throughput.py run --data FOLDER --work FOLDER [--recipes default fast] [--count 100]
    python benchmarks/throughput.py write --work FOLDER         # compares and writes RESULTS.md; of a GPU, apart

FOLDER of --data holds CelebA-HQ/; the photos are the first --count of whole identities of the val split, as in
main_job.py. Each run is a process of its own, networks loaded anew. What is finished is kept, and what was stopped goes
on: its times add up.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import torch
from main_job import celebahq_photos, link
from results import OUT, measured_apart, median_and_quartiles, put_section, stamps
from small_runs import photos_in, rows_in

from mien.api import anonymize_dataset
from mien.jobs.executors.workers import Workers
from mien.recipe import Recipe
from mien.util.memory import keep_freed_memory

RECIPES = {"default": 5, "fast": 1}  # seconds a face, at most
BATCH = 64  # faces at once, on a GPU
SCALING = 0.9  # two workers of Ray against one process with as many threads, at least
WORKERS = {"one": ("1 process x 2 threads", Workers(threads=2)),
           "two": ("2 processes x 1 thread", Workers(2, threads=1)),
           "ray": ("2 of Ray's x 1 thread", Workers(2, "ray", threads=1)),
           "single": ("1 process x 1 thread", Workers(threads=1)),
           "gpu": ("1 process", Workers(device="cuda")),
           "shared": ("8 processes share it", Workers(8, threads=1, device="cuda"))}
FAR = ("gpu", "shared")
HERE = [workers for workers in WORKERS if workers not in FAR or torch.cuda.is_available()]


def run_one(recipe: str, workers: str, data: Path, work: Path, count: int) -> dict[str, Any]:
    """One run to its end: its times, face by face and shard by shard."""
    src = link(celebahq_photos(data, count)[:count], work / f"src-{count}")
    name = f"{recipe}-{workers}-{count}"
    private, clock = work / "private" / name, work / f"{name}.seconds.json"
    earlier: list[float] = json.loads(clock.read_text()) if clock.exists() else []
    started = time.perf_counter()

    def note(event: object) -> None:
        clock.write_text(json.dumps([*earlier, time.perf_counter() - started]))

    keep_freed_memory()
    # The seed makes the bytes comparable.
    chosen = Recipe.load(recipe).with_changes({"seed": 0} | ({"batch": BATCH} if workers in FAR else {}))
    anonymize_dataset(src, work / "dst" / name, chosen, work=private, workers=WORKERS[workers][1], progress=note)
    note(None)
    shards = [json.loads(marker.read_text()) for marker in sorted((private / "shards").glob("0*.json"))]
    return {"recipe": recipe, "workers": workers, "count": count, "calls": json.loads(clock.read_text()),
            "shards": [{"faces": len(shard["outcomes"]), "seconds": shard["wall"], "stages": shard["stages"]}
                       for shard in shards]}


def run(recipes: list[str], workers_asked: list[str], data: Path, work: Path, count: int) -> None:
    """All runs that are missing."""
    work.mkdir(parents=True, exist_ok=True)
    for recipe in recipes:
        for workers in workers_asked:
            measured_apart(work / f"{recipe}-{workers}-{count}.json", __file__, "run", "--one", "--data", data,
                           "--work", work, "--recipes", recipe, "--workers", workers, "--count", count)


def a_face(row: dict[str, Any]) -> list[float]:
    """Seconds a face of each shard, over the workers at once."""
    count = max(WORKERS[row["workers"]][1].count, 1)
    return [shard["seconds"] / shard["faces"] / count for shard in row["shards"] if shard["faces"]]


def table(rows: dict[str, dict[str, Any]], work: Path) -> list[str]:
    """One recipe's runs by workers."""
    recipe = next(iter(rows.values()))["recipe"]
    lines = [f"### Recipe {recipe}", "",
             f"| who | faces | s a face, all time (at most {RECIPES[recipe]}) | the same of shards: median (quartiles) "
             f"| speed, in that of the first: all time (Ray: at least {SCALING}) | of shards | photos, and rows, equal "
             "to those of 1 process x 1 thread |", f"|{'---|' * 7}"]
    first = (float("nan"), float("nan"))
    for workers, row in rows.items():
        faces, calls, parts = sum(shard["faces"] for shard in row["shards"]), row["calls"], a_face(row)
        mine = sum(calls) / faces, median(parts)
        first = mine if workers == "one" else first
        shares = " | ".join(f"{one / other:.2f}" for one, other in zip(first, mine, strict=True))
        called = f" in {len(calls)} calls" if len(calls) > 1 else ""
        lines.append(f"| {WORKERS[workers][0]} | {faces} | {mine[0]:.2f}{called} | {median_and_quartiles(parts)} | "
                     f"{shares} | {_equal(work, row, rows.get('single'))} |")
    return [*lines, ""]


def _equal(work: Path, row: dict[str, Any], single: dict[str, Any] | None) -> str:
    if single is None:
        return "not compared"
    mine, other = (work / "dst" / f"{one['recipe']}-{one['workers']}-{one['count']}" for one in (row, single))
    files, wanted = photos_in(mine), photos_in(other)
    same = sum(files.get(name) == data for name, data in wanted.items())
    rows, right = rows_in(mine), rows_in(other)
    alike = sum(one == another for one, another in zip(rows, right, strict=False))
    return f"{same} of {len(wanted)}, {alike} of {len(right)}"


def write(work: Path, out: Path) -> None:
    """The sections of RESULTS.md that something was measured for."""
    rows = [json.loads(file.read_text()) for workers in WORKERS for file in sorted(work.glob(f"*-{workers}-*.json"))
            if not file.name.endswith(".seconds.json")]
    far, near = ([row for row in rows if (row["workers"] in FAR) == wanted] for wanted in (True, False))
    if near:
        write_here(near, work, out)
    if far:
        write_far(far, out)


def write_far(rows: list[dict[str, Any]], out: Path) -> None:
    """Runs on a GPU, which nothing on another machine is compared with."""
    lines = [f"`python benchmarks/throughput.py write`. {stamps(rows)} CelebA-HQ val photos, batches of {BATCH}.", "",
             "| recipe | who | photos | faces | s a face, all time | the same of shards, over the workers at once: "
             "median (quartiles) | time of shards goes to |", f"|{'---|' * 7}"]
    for row in sorted(rows, key=lambda row: (row["recipe"], row["count"])):
        faces = sum(shard["faces"] for shard in row["shards"])
        stages: Counter[str] = Counter()
        for shard in row["shards"]:
            stages.update(shard["stages"])
        told = ", ".join(f"{stage} {seconds / sum(stages.values()):.0%}" for stage, seconds in stages.most_common(6))
        lines.append(f"| {row['recipe']} | {WORKERS[row['workers']][0]} | {row['count']} | {faces} | "
                     f"{sum(row['calls']) / faces:.3f} | {median_and_quartiles(a_face(row), 3)} | {told} |")
    put_section("Throughput on a GPU", "\n".join(lines), out)


def write_here(rows: list[dict[str, Any]], work: Path, out: Path) -> None:
    """Runs on processors, side by side."""
    count = max(row["count"] for row in rows)
    rows = [row for row in rows if row["count"] == count]
    lines = [f"`python benchmarks/throughput.py write`. {stamps(rows)} {count} CelebA-HQ val photos.", ""]
    for recipe in RECIPES:
        of = {row["workers"]: row for row in rows if row["recipe"] == recipe}
        lines += table(of, work) if of else []
    lines += ["All time: from the call to the finished folder; networks are loaded, workers and Ray started, faces "
              "indexed and assigned. Of shards: each one's own time, over the workers at once; no starts and ends. "
              "Equal bytes are promised for as many threads a worker."]
    put_section("Throughput of whole runs", "\n".join(lines), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("--data", type=Path, help="needed to run")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--workers", nargs="+", choices=WORKERS, default=HERE)
    parser.add_argument("--count", type=int, default=100, help="of photos, a face or more on each")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.what == "write":
        write(asked.work, asked.out)
    elif not asked.data:
        parser.error("run needs --data")
    elif asked.one:
        print(json.dumps(run_one(asked.recipes[0], asked.workers[0], asked.data, asked.work, asked.count)))
    else:
        run(asked.recipes, asked.workers, asked.data, asked.work, asked.count)


if __name__ == "__main__":
    main()
