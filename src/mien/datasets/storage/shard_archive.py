"""Writes photographs to one small tar for each shard in WORK, and joins these into the result's files at the end."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import IO

from mien.datasets.storage.base import WritePhoto
from mien.types import Skipped
from mien.util.files import open_replacement, read_object, replace_file, stamp, write_errors, write_file

ArchiveIndex = dict[str, tuple[Path, int, int]]  # photograph -> its shard archive, offset in that, size in bytes


def header(name: str, size: int) -> tarfile.TarInfo:
    """Returns a member's header without owners and times, so that the same members give the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def new_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Opens a tar for writing; names that are no UTF-8 keep their bytes."""
    return tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")


class ShardArchiveWriter(ABC):
    """Writes a result whose files hold several photographs each; each is made from one such file of the source.

    Every shard's photographs become an archive in WORK; `finish` joins these into files in DST, each whole or not at
    all. WORK keeps what each file was made of, so that files that are up to date are left alone.
    """

    def __init__(self, dst: Path, work: Path) -> None:
        self.dst = dst
        self.archives, self.joined = work / "archives", work / "joined"

    @abstractmethod
    def file_of(self, name: str) -> str:
        """Returns the name of the source's file that holds a photograph."""

    @abstractmethod
    def targets(self) -> Mapping[str, str]:
        """Returns the source's files that are to be written -> their names in DST."""

    @abstractmethod
    def source_stamp(self, file: str) -> list[int] | None:
        """Returns numbers that change when a file of the source does; None if it is gone."""

    @abstractmethod
    def join(self, file: str, index: ArchiveIndex, path: Path) -> list[Skipped]:
        """Writes one file: the photographs from their archives, everything else from the source.

        Args:
            file: the source's file.
            index: its photographs that are in archives.
            path: the file to write.

        Returns:
            photographs that are in archives and not written, because another of their sample or row is missing.
        """

    @contextmanager
    def shard(self, index: int) -> Iterator[WritePhoto]:
        with open_replacement(self._archive(index)) as file:
            tar = new_tar(file)
            yield lambda name, data: tar.addfile(header(name, len(data)), io.BytesIO(data))
            with write_errors(self.archives):
                tar.close()

    def has(self, index: int, name: str, size: int | None) -> bool:
        member = _members(self._archive(index)).get(name)
        return member is not None and size in (None, member[1])

    def remove(self, index: int, name: str) -> None:
        """Deletes the whole archive, and the file in DST that it went into: neither can be mended in place."""
        self._archive(index).unlink(missing_ok=True)
        file = self.file_of(name)
        record = self._record(file)
        self._delete_target(str(read_object(record).get("target", self.targets().get(file, file))))
        record.unlink(missing_ok=True)

    def _delete_target(self, target: str) -> None:
        path = self.dst / target
        if self.dst.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)

    def count_missing(self, shards: Iterable[Iterable[str]]) -> int:
        return sum(len(set(names) - set(_members(self._archive(index)))) for index, names in enumerate(shards))

    def remove_unclaimed(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
        del names, claimed  # files in DST hold only what shards have written, and archives are replaced whole

    def filled(self) -> bool:
        return self.dst.exists() and any(self.dst.iterdir())

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> list[Skipped]:
        shards: dict[str, list[int]] = {}
        for index, names in enumerate(outputs):
            for file in dict.fromkeys(map(self.file_of, names)):
                shards.setdefault(file, []).append(index)
        left, targets = list[Skipped](), self.targets()
        for record in sorted(self.joined.glob("*.json")):
            known = read_object(record)
            if targets.get(str(known.get("container"))) != known.get("target"):  # SRC has this file no longer
                self._delete_target(str(known.get("target")))
                record.unlink(missing_ok=True)
        for file, target in targets.items():
            if self.source_stamp(file) is not None:
                left += self._joined(file, target, shards.get(file, []))
        return left

    def _joined(self, file: str, target: str, shards: Sequence[int]) -> list[Skipped]:
        """Joins one file, unless it is up to date; returns what `join` does."""
        archives = [self._archive(index) for index in shards]
        made_of = hashlib.sha256(json.dumps(
            [self.source_stamp(file), [[archive.name, stamp(archive)] for archive in archives]]).encode()).hexdigest()
        record, path = read_object(self._record(file)), self.dst / target
        if record.get("of") == made_of and record.get("file") == stamp(path) is not None:
            return [Skipped(**one) for one in record["left"]]
        left = list[Skipped]()
        index: ArchiveIndex = {name: (archive, *member) for archive in archives
                               for name, member in _members(archive).items() if self.file_of(name) == file}
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda part: left.extend(self.join(file, index, part)))
        record = {"container": file, "target": target, "of": made_of, "file": stamp(path),
                  "left": [asdict(one) for one in left]}
        write_file(self._record(file), json.dumps(record).encode())
        return left

    def _archive(self, index: int) -> Path:
        return self.archives / f"{index:06d}.tar"

    def _record(self, file: str) -> Path:
        return self.joined / (hashlib.sha256(os.fsencode(file)).hexdigest()[:32] + ".json")


def _members(archive: Path) -> dict[str, tuple[int, int]]:
    """Returns offset and size of each photograph in a shard archive; nothing if there is no whole archive."""
    state = stamp(archive)
    return _read_members(archive, *state) if state else {}


@lru_cache(maxsize=2)  # each of a shard's photographs is asked for
def _read_members(archive: Path, *state: int) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(archive, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            return {info.name: (info.offset_data, info.size) for info in tar}
    except (OSError, tarfile.TarError):
        return {}
