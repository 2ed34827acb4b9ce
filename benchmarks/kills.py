"""Kills runs at random moments, or gives them a full, read-only or damaged disk, and then starts them again.

    python benchmarks/kills.py run --work FOLDER [--tries 20] [--kinds driver node ...]    # resumable
    python benchmarks/kills.py write --work FOLDER                                         # writes RESULTS.md

The program is the real one with stand-ins for its networks (small_runs.py): photographs of blue squares in shards of
eight. A moment is drawn, by a seed: when so many files have come into WORK, and some milliseconds more. Then the same
command is given again, every second time with one process in place of several; what is in DST afterwards is compared
with an undisturbed run's. It needs root, since a small disk has to be mounted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import OUT, put_section, stamp, stamps
from small_runs import (
    FULL,
    album,
    call,
    environment,
    mien_command,
    ordinary_call,
    photos_in,
    rows_in,
    start,
)

from mien.jobs.shard import SHARD

PHOTOS, PAUSE = 64, 0.1  # seconds that a batch takes
DELAY = 0.3  # seconds, at most
FILES = "*/0*"  # of WORK: face indexes, codes and markers
DISK = 4096  # KB
YEAR = 365 * 86_400
PROCESSES, RAY = ("--workers", "2"), ("--engine", "ray", "--workers", "2")


@dataclass(frozen=True)
class Kind:
    """One kind of failure.

    Attributes:
        workers: options of the run. victim: part of the command line of the process that is killed; "": the run's own.
        needs: files of WORK that have to be there first. damage: damages the folders before the same command is given
            again.
    """

    title: str
    workers: tuple[str, ...] = ()
    victim: str = ""
    needs: str = ""
    damage: Callable[[Try], None] = lambda this: None


@dataclass
class Try:
    """One run that fails, in a folder of its own.

    Attributes:
        code: exit code of the disturbed run. said: its error output. hit: whether it was still at work when it was
            disturbed. half: photographs in DST that differ from the final ones. again: exit code of the run after it.
    """

    kind: str
    number: int
    work: Path
    code: int = 0
    said: str = ""
    hit: bool = False
    half: int = 0
    again: int | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.kind} {self.number}")
        self.whole = self.work / "whole"
        self.folder = self.work / "try"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.src, self.dst, self.private = self.work / "src", self.folder / "dst", self.folder / "work"

    def command(self, workers: tuple[str, ...]) -> tuple[str | Path, ...]:
        return "anonymize", self.src, self.dst, "--work", self.private, *workers

    def disturb(self, kind: Kind) -> None:
        """Runs the command, and kills it at a drawn moment."""
        files = self.rng.randrange(len(list(_private(self.whole).glob(FILES))) + 1)
        process = start(*self.command(kind.workers), pause=PAUSE)
        _wait(process, lambda: self._has_come(kind, files))
        time.sleep(self.rng.uniform(0, DELAY))
        _wait(process, lambda: bool(_victims(process.pid, kind.victim)))
        with _ended(process.pid):
            found = _victims(process.pid, kind.victim) if process.poll() is None else []
            self.hit = bool(found) and _kill(self.rng.choice(found))
            self.said = process.communicate(timeout=600)[1]
        self.code = process.returncode
        self.half = self._half_done()
        kind.damage(self)

    def _has_come(self, kind: Kind, files: int) -> bool:
        there = any(self.private.glob(kind.needs or "run.json"))
        return there and len(list(self.private.glob(FILES))) >= files

    def _half_done(self) -> int:
        final = photos_in(self.whole)
        there = photos_in(self.dst) if self.dst.exists() else {}
        return sum(data != final[name] for name, data in there.items() if name in final)

    def outcome(self) -> dict[str, Any]:
        """Runs the command again to the end, and compares."""
        if self.again is None:
            result = call(*self.command(KINDS[self.kind].workers if self.number % 2 == 0 else ()))
            self.again = result.returncode
            if self.again:
                print(result.stderr, flush=True)
        return {"kind": self.kind, "try": self.number, "hit": self.hit, "code": self.code,
                "silent": self.code > 0 and "mien: " not in self.said, "half": self.half,
                "again": self.again, **self.compared(), "stamp": stamp()}

    def compared(self) -> dict[str, int]:
        """Counts what of the undisturbed run is missing, what is there beside it, and files of other bytes."""
        files, wanted = photos_in(self.dst), photos_in(self.whole)
        rows, right = (Counter(map(repr, rows_in(dst) if (dst / "mien.parquet").exists() else []))
                       for dst in (self.dst, self.whole))
        kept, usual = (_names(work) for work in (self.private, _private(self.whole)))
        return {"lost": len(wanted.keys() - files.keys()) + (right - rows).total(),
                "doubled": len(files.keys() - wanted.keys()) + (rows - right).total() + len(kept - usual),
                "differing": sum(files[name] != wanted[name] for name in files.keys() & wanted.keys())}


def _wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    while process.poll() is None and not until():
        time.sleep(0.005)


def _private(dst: Path) -> Path:
    return dst.with_name(f"{dst.name}.work")


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _descendants(pid: int) -> Iterator[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                yield child
                yield from _descendants(child)


def _victims(pid: int, victim: str) -> list[int]:
    return sorted(one for one in _descendants(pid) if victim in _command_line(one)) if victim else [pid]


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _ended(pid: int) -> Iterator[None]:
    """Ends all processes that a run has started: some of Ray's outlive the others for a while."""
    below = {one: _command_line(one) for one in _descendants(pid)}
    yield
    for one, line in below.items():
        if line and _command_line(one) == line:
            _kill(one)


def _cut(this: Try) -> None:
    """Cuts one of the files that had to be there at a drawn byte."""
    _cut_one(this, this.private.glob(KINDS[this.kind].needs))


def _cut_photo(this: Try) -> None:
    """Cuts a photograph of a finished shard at a drawn byte."""
    marker = json.loads(this.rng.choice(sorted(this.private.glob(KINDS[this.kind].needs))).read_text())
    _cut_one(this, (this.dst / name for name in marker["outputs"].values()))


def _cut_one(this: Try, files: Iterable[Path]) -> None:
    file = this.rng.choice(sorted(files))
    os.truncate(file, this.rng.randrange(file.stat().st_size))


def _close(this: Try) -> None:
    """Runs the command while DST cannot be written."""
    folders = [this.dst, *(path for path in this.dst.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    refused = ordinary_call(*this.command(()))
    this.code, this.said = refused.returncode, refused.stderr
    for folder in folders:
        folder.chmod(0o700)


def _from_the_future(this: Try) -> None:
    """Dates all files a year ahead: so it looks when the clock was set back."""
    for root in (this.dst, this.private):
        for path in root.rglob("*"):
            ahead = path.stat().st_mtime + YEAR
            os.utime(path, (ahead, ahead))


KINDS = {
    "driver": Kind("SIGKILL: the one process"),
    "leader": Kind("SIGKILL: the one that leads two processes", PROCESSES),
    "worker": Kind("SIGKILL: one of two processes", PROCESSES, "spawn_main"),
    "ray-leader": Kind("SIGKILL: the one that leads two of Ray's", RAY),
    "ray-worker": Kind("SIGKILL: one of Ray's two", RAY, "ray::_do"),
    "node": Kind("SIGKILL: Ray's node (raylet)", RAY, "/raylet/raylet "),
    "full": Kind("disk full (tmpfs), of DST or of WORK"),
    "read-only": Kind("killed, then DST read-only", damage=_close),
    "marker": Kind("killed, then a shard's marker cut short", needs="shards/0*.json", damage=_cut),
    "photo": Kind("killed, then a photo in DST cut short", needs="shards/0*.json", damage=_cut_photo),
    "index": Kind("killed, then a face index cut short", needs="faces/0*", damage=_cut),
    "assignment": Kind("killed, then the assignment cut short", needs="assignment.safetensors", damage=_cut),
    "list": Kind("killed, then the list of photos cut short", needs="files.json", damage=_cut),
    "clock": Kind("killed, then the clock a year back", damage=_from_the_future),
}


def fill(this: Try) -> None:
    """Runs on a disk with room for a drawn part of what the run writes, frees it, and runs again."""
    disk, copy = this.folder / "disk", this.folder / "copy"
    disk.mkdir()
    copy.mkdir()
    on_disk = "dst" if this.number % 2 else "work"
    needed = sum(path.stat().st_blocks for path in
                 (this.whole if on_disk == "dst" else _private(this.whole)).rglob("*")) // 2
    roots = {"dst": this.folder, "work": this.folder} | {on_disk: disk}
    command = mien_command("anonymize", this.src, roots["dst"] / "dst", "--work", roots["work"] / "work")
    ballast = DISK - this.rng.randrange(needed)
    result = subprocess.run(["unshare", "-m", "sh", "-c", FULL, "sh", str(disk), str(ballast), *command],
                            env=environment(BALLAST=str(disk / "ballast"), DISK=str(disk), COPY=str(copy)),
                            check=True, capture_output=True, text=True)
    (this.code, this.again), this.said = map(int, result.stdout.split()), result.stderr
    this.hit = this.code != 0
    shutil.move(copy / on_disk, this.folder / on_disk)


def tried(kind: str, number: int, work: Path) -> dict[str, Any]:
    """Makes one try and gives its row."""
    this = Try(kind, number, work)
    if kind == "full":
        fill(this)
    else:
        this.disturb(KINDS[kind])
    return this.outcome()


def run(work: Path, tries: int, kinds: list[str]) -> None:
    """Makes all tries that are missing."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "whole" / "mien.json").exists():
        result = call("anonymize", album(work / "src", PHOTOS), work / "whole")
        assert result.returncode == 0, result.stderr
    file = work / "kills.jsonl"
    known = {(row["kind"], row["try"]) for row in _rows(file)}
    for kind in kinds:
        for number in range(tries):
            if (kind, number) not in known:
                row = tried(kind, number, work)
                with file.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                print(row, flush=True)


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def write(work: Path, out: Path) -> None:
    """The section of RESULTS.md."""
    rows = _rows(work / "kills.jsonl")
    lines = [f"`python benchmarks/kills.py write`. {stamps(rows)} {PHOTOS} photographs, "
             f"{SHARD} a shard.", "",
             "| what happened | tries | while at work | run ended with (exit code: tries) | without a word (0) "
             "| photos half written (0) | second run failed (0) | files and rows lost (0) | doubled or left over (0) "
             "| files of other bytes (0) |", f"|{'---|' * 10}"]
    for kind, one in KINDS.items():
        mine = [row for row in rows if row["kind"] == kind]
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(Counter(row["code"] for row in mine).items()))
        sums = (sum(row[name] for row in mine) for name in ("silent", "half"))
        ends = (sum(row[name] for row in mine) for name in ("lost", "doubled", "differing"))
        failed = sum(row["again"] != 0 for row in mine)
        if mine:
            lines.append(f"| {one.title} | {len(mine)} | {sum(row['hit'] for row in mine)} | {codes} | "
                         f"{' | '.join(map(str, (*sums, failed, *ends)))} |")
    lines += ["", "Then the same command again, every second time with one process in place of two; what is there "
              "then is compared with an undisturbed run's: photographs byte by byte, rows of the manifest but their "
              "times, names in WORK. Exit code -9: killed itself; 0: it went on by itself; 1: it said that Ray is "
              "gone; 4: it said what it could not write."]
    put_section("Killed at random moments", "\n".join(lines), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "write"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    if asked.command == "run":
        run(asked.work.resolve(), asked.tries, asked.kinds)
    else:
        write(asked.work, asked.out)


if __name__ == "__main__":
    main()
