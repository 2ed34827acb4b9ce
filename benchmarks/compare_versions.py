"""Holds this version of mien against an earlier checkout: the same bytes, the same speed.

    git worktree add BEFORE COMMIT
    python benchmarks/compare_versions.py bytes --before BEFORE --work FOLDER SRC...    # photographs in folders
    python benchmarks/compare_versions.py speed --before BEFORE --work FOLDER
    python benchmarks/compare_versions.py write --before BEFORE --work FOLDER           # writes RESULTS.md

`bytes` anonymizes each folder by both versions, with the recipes default and fast, in one process and in two workers of
one thread each, and compares the photographs byte by byte and the manifests but for seconds and names of statuses.
`speed` runs default_speed.py of both versions in turns; a ratio is taken within a turn. Each version has a cache of its
own below FOLDER, whose pools are generated first.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
from results import OUT, put_section, stamp

TITLE = "This version against the one before"
HERE = Path(__file__).resolve().parents[1]
RECIPES = ("default", "fast")
WORKERS = {"one process": ("--threads", "1"), "two workers": ("--workers", "2", "--threads", "1")}
OWN = {"mien.json", "mien.parquet", "report.html"}
# Names that changed between versions, and mean the same. The recipe's hash stands for its fields' names as well.
SAME = {"anonymised": "anonymized"}
LEFT_OUT = {"seconds", "recipe"}


def environment(root: Path, work: Path, name: str) -> dict[str, str]:
    """The environment in which a checkout's mien runs, whatever version is installed."""
    return os.environ | {"PYTHONPATH": str(root / "src"), "MIEN_CACHE": str(work / f"cache-{name}"),
                         "OMP_WAIT_POLICY": "PASSIVE"}


def anonymize(root: Path, work: Path, name: str, src: Path, recipe: str, how: str) -> Path:
    """Anonymizes a folder by one version, where that is not done yet; gives DST."""
    dst = work / name / f"{src.name}-{recipe}-{how.replace(' ', '-')}"
    if not (dst / "mien.json").exists():
        command = [sys.executable, "-m", "mien", "anonymize", str(src), str(dst), "--recipe", recipe, "--seed", "0",
                   "--quiet", *WORKERS[how]]
        subprocess.run(command, check=True, cwd=work, env=environment(root, work, name))
    return dst


def photographs(dst: Path) -> dict[str, bytes]:
    """Name -> bytes of all files of a result but the run's own."""
    return {path.relative_to(dst).as_posix(): path.read_bytes() for path in sorted(dst.rglob("*"))
            if path.is_file() and path.relative_to(dst).as_posix() not in OWN}


def rows(dst: Path) -> list[dict[str, Any]]:
    """The rows of the private table of all faces, which former versions wrote into DST, without what may differ."""
    private = dst.with_name(f"{dst.name}.work") / "faces.parquet"
    table = private if private.exists() else dst / "mien.parquet"
    return [{key: SAME.get(value, value) if isinstance(value, str) else value for key, value in row.items()
             if key not in LEFT_OUT} for row in pq.read_table(table).to_pylist()]


def compare_bytes(before: Path, work: Path, folders: list[Path]) -> None:
    """Measures what differs, and keeps it in FOLDER/bytes.json."""
    found = []
    for src in folders:
        for recipe in RECIPES:
            for how in WORKERS:
                old = anonymize(before, work, "before", src, recipe, how)
                new = anonymize(HERE, work, "after", src, recipe, how)
                a, b, old_rows, new_rows = photographs(old), photographs(new), rows(old), rows(new)
                other = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
                found.append({"photos": src.name, "recipe": recipe, "how": how, "files": len(a), "faces": len(old_rows),
                              "other files": len(other),
                              "other rows": sum(x != y for x, y in zip(old_rows, new_rows, strict=False))
                              + abs(len(old_rows) - len(new_rows))})
                print(found[-1], *other, flush=True)
    (work / "bytes.json").write_text(json.dumps({"rows": found, "stamp": stamp()}))


def take_turn(root: Path, work: Path, name: str) -> dict[str, float]:
    """Seconds a face by a version's own default_speed.py, in one round."""
    command = [sys.executable, str(root / "benchmarks" / "default_speed.py"), "--rounds", "1", "--out",
               str(work / "unused.md")]
    said = subprocess.run(command, check=True, cwd=root, env=environment(root, work, name), text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr
    line = re.search(r"^round 1: (\{.*\})$", said, re.MULTILINE)
    assert line, said
    spent: dict[str, float] = ast.literal_eval(line[1])
    return spent


def compare_speed(before: Path, work: Path, turns: int) -> None:
    """Measures both versions in turns, and keeps the seconds in FOLDER/speed.json."""
    found = []
    for number in range(turns):
        order = [("before", before), ("after", HERE)]
        taken = {name: take_turn(root, work, name) for name, root in (order if number % 2 == 0 else order[::-1])}
        found.append(taken)
        print(f"turn {number + 1}: {taken}", flush=True)
    (work / "speed.json").write_text(json.dumps({"turns": found, "stamp": stamp()}))


def write(before: Path, work: Path, out: Path) -> None:
    """Writes the section from what was kept."""
    commit = subprocess.run(["git", "-C", str(before), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=True).stdout.strip()
    made, speed = (json.loads((work / f"{name}.json").read_text()) for name in ("bytes", "speed"))
    lines = [f"`python benchmarks/compare_versions.py write`. {made['stamp']} Against commit {commit}.", "",
             "| photographs | recipe | how | files | faces | files of other bytes (0) | rows that differ (0) |",
             "|---|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(str(row[key]) for key in
                                ("photos", "recipe", "how", "files", "faces", "other files", "other rows")) + " |"
              for row in made["rows"]]
    lines += ["", f"default_speed.py of both in turns, {len(speed['turns'])} turns of one round. {speed['stamp']}", "",
              "| way | s a face before: median | now: median | now to before (at most 1.05): median (least, most) |",
              "|---|---|---|---|"]
    for way in speed["turns"][0]["before"]:
        old, new = ([turn[name][way] for turn in speed["turns"]] for name in ("before", "after"))
        ratios = [b / a for a, b in zip(old, new, strict=True)]
        lines.append(f"| {way} | {median(old):.3g} | {median(new):.3g} | {median(ratios):.2f} ({min(ratios):.2f}, "
                     f"{max(ratios):.2f}) |")
    put_section(TITLE, "\n".join(lines), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bytes", "speed", "write"))
    parser.add_argument("folders", type=Path, nargs="*", metavar="SRC")
    parser.add_argument("--before", type=Path, required=True, help="checkout of the earlier version")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, results and measurements")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_intermixed_args()
    before, work = asked.before.resolve(), asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if asked.what == "bytes":
        compare_bytes(before, work, [folder.resolve() for folder in asked.folders])
    elif asked.what == "speed":
        compare_speed(before, work, asked.turns)
    else:
        write(before, work, asked.out)


if __name__ == "__main__":
    main()
