"""What a run keeps: DST, which may be published, and WORK, which is private; shards, resume, the manifest.

WORK/run.json     what was asked for; another question needs another WORK
WORK/files.json   the photos in their order; shards are runs of `shard_size` photos of it
WORK/surveys/     the faces of each shard's photos, as they were found
WORK/matching.safetensors    which pool face each of them starts from
WORK/latents/     codes of each shard's new faces
WORK/shards/      a shard's results: written last, so that its presence means that its photos are in DST
WORK/pieces/      of a dataset in tars or tables: each shard's photos, until they are joined
WORK/joined/      what each tar or table in DST was made of
WORK/events.jsonl one line a shard, as it was finished, and one whenever the first rank waits for others
WORK/lock         held while a run lives; the kernel lets go of it when the run dies
WORK/lock.N       the same of rank N of those that share a run, and what it says to the others
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from mien.datasets.storage.base import FolderWriter, PhotoWriter
from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError, UsageError
from mien.jobs.assignment.face_index import UNREAD, FaceIndex, FileStates
from mien.jobs.manifest import write_manifest
from mien.jobs.shard import ShardResult
from mien.types import FaceOutcome
from mien.util.files import read_json, read_object, replace_file, write_errors
from mien.util.locks import ALONE, SHARED, is_locked, locked, take

# Of part_name, and of replace_file in earlier versions.
PARTS = re.compile(r"\.mien-\d+-[0-9a-f]{8}|\..+\.\d+\.tmp", re.DOTALL)


class JobState:
    """The two folders of one run."""

    def __init__(self, dst: Path, work: Path, writer: PhotoWriter | None = None) -> None:
        self.dst = dst
        self.work = work
        self.writer = writer or FolderWriter(dst)
        self._shared: IO[str] | None = None
        self._said: IO[str] | None = None
        self._saying: dict[str, Any] = {}

    @property
    def matching(self) -> Path:
        """Where it stands which pool face each face starts from."""
        return self.work / "matching.safetensors"

    def path(self, kind: Literal["surveys", "latents"], index: int) -> Path:
        """Where a shard's part lies."""
        return self.work / kind / f"{index:06d}.safetensors"

    @contextmanager
    def opened(self, question: dict[str, Any], rank: int | None = None, size: int = 1) -> Iterator[JobState]:
        """Make or reopen both folders and hold the lock.

        Args:
            question: source, recipe and everything else that decides the result; a WORK answers one question.
            rank: this process's number among those that share the run, or None where it is alone. size: how many they
                are.

        Raises:
            UsageError: WORK belongs to another question, or ranks do not agree on it, or how many they are.
            OutputError: DST has files that no run put there, a folder cannot be written, or another run holds WORK.
        """
        with write_errors(self.work):
            # In this order: of processes that share a run another may be the first, just now.
            filled = self.writer.filled()
            fresh = not (self.work / "run.json").exists()
            if fresh and filled:
                raise OutputError(f"{self.dst} is not empty and holds no run that could go on",
                                  "give a new or empty folder, or the --work of the run that filled it")
            for folder in (self.work, *(self.work / kind for kind in ("shards", "surveys", "latents"))):
                folder.mkdir(parents=True, exist_ok=True)
            self.work.chmod(0o700)
            self.dst.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            if rank is None:
                self._hold("lock", ALONE, locks)
                self._sweep()
            else:
                self._shared = self._hold("lock", SHARED, locks)
                self._said = self._hold(f"lock.{rank}", ALONE, locks)
                self._agree(rank, size, question)
            self._check(question, fresh)
            yield self

    def _hold(self, name: str, kind: int, locks: ExitStack) -> IO[str]:
        with self._refused():
            return locks.enter_context(locked(self.work / name, kind))

    @contextmanager
    def _refused(self) -> Iterator[None]:
        with write_errors(self.work):
            try:
                yield
            except BlockingIOError as error:
                raise OutputError(f"another run is at work in {self.work}", "wait for it, or stop it") from error

    def _agree(self, rank: int, size: int, question: dict[str, Any]) -> None:
        """Say how many ranks there are and what they do, and hear others: of two who differ the second hears it."""
        asked = {key: zlib.crc32(json.dumps(value, sort_keys=True, default=vars).encode())
                 for key, value in question.items()}
        self.say(size=size, asked=asked)
        for file in self.work.glob("lock.*"):
            other = file.name.removeprefix("lock.")
            said = self.hear(int(other)) if other.isdecimal() and int(other) != rank else None
            if said and said.get("size", size) != size:
                raise UsageError(f"rank {other} of this run was started with --world-size {said['size']}, rank {rank} "
                                 f"with {size}", "stop all ranks and start them with the same")
            theirs = (said or {}).get("asked", asked)
            if theirs != asked:
                differing = sorted(key for key in {*asked, *theirs} if asked.get(key) != theirs.get(key))
                raise UsageError(f"rank {other} of this run has another {', '.join(differing)} than rank {rank}",
                                 "stop all ranks and start them with the same; where the machines differ, give all "
                                 "--set precision=float32")

    def say(self, **what: Any) -> None:
        """Tell the other ranks something, as long as this one is at work."""
        self._saying |= what
        if self._said is not None:
            with write_errors(self.work):
                self._said.seek(0)
                self._said.truncate()
                self._said.write(json.dumps(self._saying))
                self._said.flush()

    def hear(self, rank: int) -> dict[str, Any] | None:
        """What another rank says, or None where it is not at work."""
        file = self.work / f"lock.{rank}"
        return read_object(file) if is_locked(file) else None

    def _check(self, question: dict[str, Any], fresh: bool) -> None:
        if fresh:
            self.write_json("run.json", question)
            return
        asked = read_json(self.work / "run.json")
        if not isinstance(asked, dict):
            raise UsageError(f"{self.work / 'run.json'} is damaged: nobody knows what was asked for",
                             "give another DST and --work")
        changed = [key for key in question if asked.get(key) != question[key]]
        if changed:
            before = asked.get("recipe")
            precision = before.get("precision") if isinstance(before, dict) else None
            if changed == ["recipe"] and before == question["recipe"] | {"precision": precision}:
                raise UsageError(f"{self.work} belongs to a run in {precision}, and here it would go on in "
                                 f"{question['recipe']['precision']}", f"resume with --set precision={precision}")
            raise UsageError(f"{self.work} belongs to a run with another {', '.join(changed)}",
                             "resume with the same arguments, or give another DST and --work")

    def settle(self) -> None:
        """Clear away what workers that died were just writing, when all others have ended.

        Of processes that share a run the first does it, unless another is still there.
        """
        if self._shared is not None:
            try:
                take(self._shared, ALONE)
            except BlockingIOError:
                with self._refused():
                    take(self._shared, SHARED)  # asking for more has cost it
                return
        self._sweep()

    def _sweep(self) -> None:
        """Clear away what a killed run was just writing: DST may be published as it is."""
        with write_errors(self.dst):
            for root in (self.dst, self.work):
                for folder, _, names in os.walk(root):
                    for name in filter(PARTS.fullmatch, names):
                        (Path(folder) / name).unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        """Write WORK/name whole or not at all."""
        with write_errors(self.work):
            replace_file(self.work / name, lambda path: _write_text(path, json.dumps(value, default=vars)))

    def files(self, found: Sequence[str]) -> list[str]:
        """The photos of the run: those known from before in their old order, then new ones."""
        known = known_files(self.work)
        if known == found:
            return list(found)  # of a million names one copy is enough
        seen = set(known)
        names = known + [name for name in found if name not in seen]
        if names != known:
            self.write_json("files.json", names)
        return names

    def shard(self, index: int, sources: FileStates, touched: ContentCheck | None = None) -> ShardResult | None:
        """The results of a finished shard, or None where it has to be done (again).

        A shard whose photos changed or vanished since, or can be read only now, is taken back out of DST first: what
        was made of a photo that is no longer the same must not stay there.

        Args:
            sources: the states that its photos are in now. touched: tells whether photos in another state are the same
                still; without it nothing is changed here, neither in WORK nor in DST.
        """
        data = read_object(self.marker(index))
        before, result = data.get("sources"), ShardResult.from_marker(data)
        if touched is not None:
            if before != sources and touched.same(before, data.get("digests"), sources):
                before = sources
                self._restamp(index, data | {"sources": sources})
            anew = [name for name, state in before.items() if state == UNREAD] if isinstance(before, dict) else []
            if result is not None:
                anew += filter(touched.is_readable, result.unread)
            if anew or before != sources:
                self._take_back(index, data.get("outputs"), anew)
                return None
        if before != sources or result is None:
            return None
        sizes: Sequence[int | None] = result.sizes or [None] * len(result.outputs)
        there = all(self.writer.has(index, *one) for one in zip(result.outputs.values(), sizes, strict=True))
        return result if there else None

    def _take_back(self, index: int, outputs: Any, anew: Collection[str]) -> None:
        """Take a shard's photos out of DST; `anew`: photos that could not be read when they were looked at."""
        with write_errors(self.dst):
            survey = FaceIndex.from_file(self.path("surveys", index)) if anew else None
            if survey is not None and not set(survey.read) >= set(anew):  # or they have been looked at since
                self.path("surveys", index).unlink(missing_ok=True)
            for name in outputs.values() if isinstance(outputs, dict) else ():
                self.writer.remove(index, str(name))

    def finished(self, index: int) -> ShardResult:
        """The results of a shard that was just finished.

        Raises:
            OutputError: they are not there.
        """
        result = ShardResult.from_marker(read_object(self.marker(index)))
        if result is None:
            raise OutputError(f"{self.marker(index)} is gone or damaged", "run the same command again")
        return result

    def marker(self, index: int) -> Path:
        """Where a shard's results lie, once it is done."""
        return self.work / "shards" / f"{index:06d}.json"

    def finish_shard(self, index: int, sources: FileStates, result: ShardResult) -> None:
        """Mark a shard as done. Its photos must be in DST."""
        self.write_json(f"shards/{index:06d}.json", {"sources": sources, **vars(result)})

    def _restamp(self, index: int, marker: dict[str, Any]) -> None:
        """Write a marker anew, with the time at which its shard was finished."""
        def write(path: Path) -> None:
            _write_text(path, json.dumps(marker))
            os.utime(path, ns=(finished, finished))

        with write_errors(self.work):
            finished = self.marker(index).stat().st_mtime_ns
            replace_file(self.marker(index), write)

    def digests(self, index: int, sources: FileStates) -> dict[str, str]:
        """Those of a finished shard's photos in this state; none where it was not finished, or with others."""
        data = read_object(self.marker(index))
        found = data.get("digests")
        return found if isinstance(found, dict) and data.get("sources") == sources else {}

    def note(self, index: int, photos: int, result: ShardResult) -> None:
        """Add a finished shard's line to the events."""
        statuses = Counter(outcome.status for outcome in result.outcomes)
        line = {"shard": index, "photos": photos, "faces": len(result.outcomes), "statuses": statuses,
                "skipped": len(result.skipped), "worker": result.worker, "seconds": round(result.wall, 3),
                "stages": {stage: round(value, 3) for stage, value in result.stages.items()},
                "at": datetime.now(UTC).isoformat(timespec="seconds")}
        self._log(line)

    def note_waiting(self, ranks: Sequence[int]) -> None:
        """Add to the events for whom the first rank waits."""
        self._log({"waiting for ranks": ranks, "at": datetime.now(UTC).isoformat(timespec="seconds")})

    def _log(self, line: dict[str, Any]) -> None:
        with write_errors(self.work), (self.work / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_manifest(self, outcomes: Iterable[FaceOutcome], run: dict[str, Any], recipe: str) -> None:
        """DST/mien.parquet, one row a face, and DST/mien.json, the run."""
        with write_errors(self.dst):
            replace_file(self.dst / "mien.parquet", lambda path: write_manifest(path, outcomes, recipe))
            replace_file(self.dst / "mien.json",
                         lambda path: _write_text(path, json.dumps(run, indent=1, sort_keys=True)))

    def forget(self) -> None:
        """Delete WORK: after this the run can be neither resumed nor looked into."""
        with write_errors(self.work):
            shutil.rmtree(self.work)


def known_files(work: Path) -> list[str]:
    """The photos of the run that a WORK holds, if it holds one."""
    return read_json(work / "files.json") or []


def is_held(work: Path) -> bool:
    """Whether a run is at work in a WORK."""
    return any(map(is_locked, (work / "lock", *work.glob("lock.*"))))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
