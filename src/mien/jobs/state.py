"""The two folders of a job: DST, which may be published, and WORK, which is private.

WORK/run.json     what was asked for; another question needs another WORK
WORK/secret       the secret that all random draws derive from; there is none where the recipe has a seed
WORK/files.json   the photos in their order; a shard is so many of them in a row
WORK/faces/       the face index of each shard
WORK/assignment.safetensors    the pool face that each face starts from
WORK/latents/     codes of each shard's new faces
WORK/shards/      the result of each shard; it is written last, so that its presence means that its photos are in DST
WORK/archives/    of a dataset in tars or tables: the photos of each shard, until they are joined
WORK/joined/      of a dataset in tars or tables: what each tar or table in DST was made of
WORK/faces.parquet    all numbers of each face: what DST/mien.parquet has in bands, and more
WORK/events.jsonl one line for each finished shard
WORK/complete.json    is there while DST holds everything, the manifest too
WORK/lock         held by a process that does the whole job, or while a rank starts
WORK/lock.N       held by rank N of several that a scheduler started
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mien.datasets.storage.base import FolderWriter, PhotoWriter
from mien.datasets.storage.content_check import ContentCheck
from mien.errors import OutputError, UsageError
from mien.images.formats import printable
from mien.jobs.face_index import UNREAD, FaceIndex, FileStates
from mien.jobs.gate import Gate
from mien.jobs.manifest import write_manifest
from mien.jobs.published import RECORD, published_record
from mien.jobs.secret import SECRET, keep_secret, read_secret
from mien.jobs.settings_diff import settings_diff
from mien.jobs.shard import ShardResult
from mien.recipe import Recipe
from mien.types import FaceOutcome
from mien.util.files import read_json, read_object, replace_file, write_errors
from mien.util.locks import is_locked, locked

FORMAT = 2  # of WORK; raised when an earlier version's folder would be misread
FIELDS_SHOWN = 4  # of those in which a WORK of another version differs
COMPLETE = "complete.json"
MANIFEST_FILE, FACES_FILE = "mien.parquet", "faces.parquet"  # in DST, and in WORK
RANKS_START = 60.0  # seconds in which all ranks that start together have had their turn at the lock

# What mien itself puts into WORK: nothing else may be there at the beginning, and nothing else is deleted at the end.
OWN_FOLDERS = {"shards", "faces", "latents", "archives", "joined", "public"}
OWN_FILES = {"run.json", SECRET, "files.json", "events.jsonl", "assignment.safetensors", COMPLETE, FACES_FILE,
             "report.html"}
PARTS = re.compile(r"\.mien-\d+-[0-9a-f]{8}")  # names that `part_name` of mien.util.files gives


class JobState:
    """The folders of one job, and what is written in them.

    Args:
        writer: writes and removes the photographs of the result; None: a plain folder's.
    """

    def __init__(self, dst: Path, work: Path, writer: PhotoWriter | None = None) -> None:
        self.dst = dst
        self.work = work
        self.writer = writer or FolderWriter(dst)
        self.rank: int | None = None

    @property
    def assignment(self) -> Path:
        """The file that says which pool face each face starts from."""
        return self.work / "assignment.safetensors"

    def path(self, kind: Literal["faces", "latents"], index: int) -> Path:
        """The file of a shard's face index or latent codes."""
        return self.work / kind / f"{index:06d}.safetensors"

    @contextmanager
    def opened(self, question: dict[str, Any], rank: int | None = None) -> Iterator[JobState]:
        """Makes or reopens both folders and holds a lock on WORK.

        Args:
            question: source, recipe and everything else that decides the result; a WORK answers one question.
            rank: number of this process among several that a scheduler started, or None where it does the whole job.

        Raises:
            UsageError: WORK belongs to another question or was written by another version.
            OutputError: DST has files that no job put there, a folder cannot be written, or another process is at work
                in WORK.
        """
        self.rank = rank
        with write_errors(self.work):
            self._refuse_filled()
            for folder in (self.work, *(self.work / kind for kind in ("shards", "faces", "latents"))):
                folder.mkdir(parents=True, exist_ok=True)
            self.work.chmod(0o700)
            self.dst.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            with self._starting(locks):
                if rank is None:
                    self._refuse_ranks()
                    self.sweep()
                else:
                    self._hold(f"lock.{rank}", locks)
                self._check(question)
                keep_secret(self.work, question.get("recipe", {}).get("seed"), self._has_drawn())
            yield self

    @contextmanager
    def _starting(self, locks: ExitStack) -> Iterator[None]:
        """Holds WORK/lock: to the end of `locks` where this process does the whole job, of a rank while it starts."""
        if self.rank is None:
            self._hold("lock", locks)
            yield
        else:
            with ExitStack() as briefly:
                self._hold("lock", briefly, RANKS_START)
                yield

    def _refuse_filled(self) -> None:
        """Refuses a DST that holds files where no job can go on; of ranks another may be the first, just now."""
        filled = self.writer.filled()
        if filled and not (self.work / "run.json").exists():
            raise OutputError(f"{self.dst} is not empty and holds no run that could go on",
                              "give a new or empty folder, or the --work of the run that filled it")
        if self.work.exists() and not (self.work / "run.json").exists():
            foreign = next((path for path in self.work.iterdir() if not _is_own(path)), None)
            if foreign is not None:
                raise OutputError(f"{self.work} holds {printable(foreign.name)} and no run: it is not a WORK of mien's",
                                  "give --work a new or empty folder")

    def _refuse_ranks(self) -> None:
        if any(map(is_locked, self.work.glob("lock.*"))):
            raise OutputError(f"ranks of this run are at work in {self.work}", "wait for them, or stop them")

    def _hold(self, name: str, locks: ExitStack, patience: float = 1.0) -> None:
        with write_errors(self.work):
            try:
                locks.enter_context(locked(self.work / name, patience))
            except BlockingIOError as error:
                raise OutputError(f"another run is at work in {self.work}", "wait for it, or stop it") from error

    def _check(self, question: dict[str, Any]) -> None:
        """Notes what was asked for, or compares it with what was asked for before."""
        asked = read_json(self.work / "run.json")
        if asked is None and not (self.work / "run.json").exists():
            self.write_json("run.json", {"format": FORMAT, **question})
            return
        if not isinstance(asked, dict) or not isinstance(asked.get("recipe"), dict):
            raise UsageError(f"{self.work / 'run.json'} is damaged: what was asked for is not known any more",
                             "give another DST and --work")
        differing = settings_diff(asked, {"format": FORMAT, **question})
        check_format(self.work, asked, differing)
        if not differing:
            return
        hint = "resume with the same arguments, or give another DST and --work"
        if len(differing) == 1 and differing[0].startswith("recipe.precision ("):
            before = asked["recipe"].get("precision")
            hint = f"resume with --set precision={before}, or give another DST and --work" if before else hint
        raise UsageError(f"{self.work} belongs to a run with another {'; '.join(differing)}", hint)

    def _has_drawn(self) -> bool:
        """Whether any face has got a new one, or its pool face."""
        return self.assignment.exists() or any((self.work / "shards").glob("*.json"))

    def secret(self, seed: int | None) -> bytes:
        """The secret that all random draws of the run derive from; the recipe's seed stands for it, if it has one.

        Raises:
            OutputError: it is gone or damaged.
        """
        return read_secret(self.work, seed)

    def sweep(self) -> None:
        """Deletes what killed processes were just writing: DST may be published as it is.

        Ranks leave it to the call that ends the job, since others may be writing.
        """
        if self.rank is not None:
            return
        with write_errors(self.dst):
            for root in (self.dst, self.work):
                for folder, _, names in os.walk(root):
                    for name in filter(PARTS.fullmatch, names):
                        (Path(folder) / name).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Deletes WORK/name, where it is there."""
        with write_errors(self.work):
            (self.work / name).unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        """Writes WORK/name whole or not at all."""
        with write_errors(self.work):
            replace_file(self.work / name, lambda path: _write_text(path, json.dumps(value, default=vars)))

    def files(self, found: Sequence[str], known: list[str]) -> list[str]:
        """The photos of the job: those known from before in their old order, then new ones, which are noted.

        Args:
            found: photos of SRC. known: what `known_files` gave.
        """
        if known == found:
            return list(found)  # of a million names one copy is enough
        if set(found) <= set(known):
            return known
        with ExitStack() as briefly:
            if self.rank is not None:  # another rank may be noting them just now
                self._hold("lock", briefly, RANKS_START)
                known = self.known_files()
            seen = set(known)
            names = known + [name for name in found if name not in seen]
            if names != known:
                self.write_json("files.json", names)
            return names

    def known_files(self) -> list[str]:
        """The photos of the job that an earlier pass noted."""
        return known_files(self.work)

    def shard(self, index: int, states: FileStates, content_check: ContentCheck | None = None) -> ShardResult | None:
        """Reads the results of a finished shard; gives None where it has to be done (again).

        A shard whose photos changed or vanished since, or can be read only now, is taken back out of DST first: what
        was made of a photo that is no longer the same must not stay there.

        Args:
            states: sizes and times of its photos' files now. content_check: tells whether photos with another time
                have the same content still; without it nothing is changed here, neither in WORK nor in DST.
        """
        data = read_object(self.marker(index))
        before, result = data.get("states"), ShardResult.from_marker(data)
        if content_check is not None:
            if before != states and content_check.unchanged(before, data.get("digests"), states):
                before = states
                self._restamp(index, data | {"states": states})
            anew = [name for name, state in before.items() if state == UNREAD] if isinstance(before, dict) else []
            if result is not None:
                anew += filter(content_check.is_readable, result.unread)
            if anew or before != states:
                self._take_back(index, data.get("outputs"), anew)
                return None
        if before != states or result is None:
            return None
        there = all(self.writer.has(index, *one) for one in zip(result.outputs.values(), result.sizes, strict=True))
        return result if there else None

    def _take_back(self, index: int, outputs: Any, anew: Collection[str]) -> None:
        """Takes a shard's photos out of DST; `anew`: photos that could not be read when the shard was indexed."""
        with write_errors(self.dst):
            face_index = FaceIndex.from_file(self.path("faces", index)) if anew else None
            if face_index is not None and not set(face_index.read) >= set(anew):  # or they have been indexed since
                self.path("faces", index).unlink(missing_ok=True)
            for name in outputs.values() if isinstance(outputs, dict) else ():
                self.writer.remove(index, str(name))

    def finished(self, index: int) -> ShardResult:
        """Reads the results of a shard that was just finished.

        Raises:
            OutputError: its marker is gone or damaged.
        """
        result = ShardResult.from_marker(read_object(self.marker(index)))
        if result is None:
            raise OutputError(f"{self.marker(index)} is gone or damaged", "run the same command again")
        return result

    def marker(self, index: int) -> Path:
        """The file with a shard's results, which is there once the shard is done."""
        return self.work / "shards" / f"{index:06d}.json"

    def finish_shard(self, index: int, states: FileStates, result: ShardResult) -> None:
        """Marks a shard as done. Its photos must be in DST."""
        self.write_json(f"shards/{index:06d}.json", {"states": states, **vars(result)})

    def _restamp(self, index: int, marker: dict[str, Any]) -> None:
        """Writes a marker anew and keeps the time at which its shard was finished."""
        def write(path: Path) -> None:
            _write_text(path, json.dumps(marker))
            os.utime(path, ns=(finished, finished))

        with write_errors(self.work):
            finished = self.marker(index).stat().st_mtime_ns
            replace_file(self.marker(index), write)

    def digests(self, index: int, states: FileStates) -> dict[str, str]:
        """Content digests of a finished shard's photos; none where it was finished with files in another state."""
        data = read_object(self.marker(index))
        found = data.get("digests")
        return found if isinstance(found, dict) and data.get("states") == states else {}

    def note(self, index: int, photos: int, result: ShardResult) -> None:
        """Adds a line about a finished shard to WORK/events.jsonl."""
        statuses = Counter(outcome.status for outcome in result.outcomes)
        line = {"shard": index, "photos": photos, "faces": len(result.outcomes), "statuses": statuses,
                "skipped": len(result.skipped), "worker": result.worker, "seconds": round(result.wall, 3),
                "stages": {stage: round(value, 3) for stage, value in result.stages.items()},
                "at": datetime.now(UTC).isoformat(timespec="seconds")}
        with write_errors(self.work), (self.work / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_manifest(self, outcomes: Iterable[FaceOutcome], run: dict[str, Any], recipe: str) -> None:
        """Writes WORK/faces.parquet (one row a face), and what is published of it and of the run into DST.

        Args:
            run: the run's record, with its whole recipe. recipe: the whole recipe's hash.
        """
        record, limit = published_record(run), Gate.of(Recipe.model_validate(run["recipe"])).limit

        def write(published: Path) -> None:
            replace_file(self.work / FACES_FILE, lambda private: write_manifest(
                published, private, outcomes, (record["recipe_hash"], recipe), limit))

        with write_errors(self.dst):
            self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self.dst / MANIFEST_FILE, write)
            replace_file(self.dst / RECORD,
                         lambda path: _write_text(path, json.dumps(record, indent=1, sort_keys=True)))

    def forget(self) -> None:
        """Deletes WORK: after this the run can be neither resumed nor looked into. It is done while WORK is locked.

        Files that others have put there stay, and so does the folder then. Where a locked file cannot be deleted
        (Windows), a folder with an empty lock stays.
        """
        with write_errors(self.work):
            for path in self.work.iterdir():
                if path.name in OWN_FOLDERS and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name in OWN_FILES or PARTS.fullmatch(path.name):
                    path.unlink()
        with suppress(OSError):
            for path in self.work.glob("lock*"):
                path.unlink()
            self.work.rmdir()


def _is_own(path: Path) -> bool:
    """Whether something in WORK has a name that mien gives."""
    return (path.name in OWN_FOLDERS | OWN_FILES or path.name.startswith("lock")
            or PARTS.fullmatch(path.name) is not None)


def check_format(work: Path, asked: dict[str, Any], differing: Sequence[str] = ()) -> None:
    """Refuses a WORK whose files another version of mien wrote, and this one would misread.

    Args:
        asked: what its run.json says. differing: fields in which it differs from what is asked now.

    Raises:
        UsageError: it has another format.
    """
    found = asked.get("format", 1)
    if found == FORMAT:
        return
    shown = [one for one in differing if one.startswith("recipe.")][:FIELDS_SHOWN]
    raise UsageError(f"{work} was written by another version of mien: its folder has format {found}, this version's "
                     f"has format {FORMAT}{'; it differs in ' + '; '.join(shown) if shown else ''}",
                     "go on with the version that began it, or give another DST and --work")


def known_files(work: Path) -> list[str]:
    """The photos of the run that a WORK holds; an empty list where it holds none."""
    return read_json(work / "files.json") or []


def is_held(work: Path) -> bool:
    """Tells whether a process is at work in a WORK."""
    return any(map(is_locked, (work / "lock", *work.glob("lock.*"))))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
