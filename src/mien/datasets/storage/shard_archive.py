"""What a run keeps of photographs that go into larger files: a small tar a shard in WORK, joined at the end."""

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
from mien.util.files import part_name, read_object, replace_file, stamp, write_errors

ArchiveIndex = dict[str, tuple[Path, int, int]]  # photograph -> the piece it lies in, where in it, how many bytes


def header(name: str, size: int) -> tarfile.TarInfo:
    """A member's header that says nothing of owners and times, so that the same members are the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def new_tar(file: IO[bytes]) -> tarfile.TarFile:
    """A tar to be written; names that are no UTF-8 come out as they were."""
    return tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")


class ShardArchiveWriter(ABC):
    """A result whose photographs lie in larger files, each of them made of one larger file of the source.

    Every shard's photographs become a piece in WORK; `finish` makes the larger files of them. These are in DST, whole
    or not at all; WORK keeps what each was made of, so that those that are right are left alone.
    """

    def __init__(self, dst: Path, work: Path) -> None:
        self.dst = dst
        self.pieces, self.joined = work / "pieces", work / "joined"

    @abstractmethod
    def container(self, name: str) -> str:
        """The larger file of the source that a photograph lies in."""

    @abstractmethod
    def targets(self) -> Mapping[str, str]:
        """The larger files of the source that are to be written, and their names in DST."""

    @abstractmethod
    def source_stamp(self, container: str) -> list[int] | None:
        """What changes when a larger file of the source does; None where it is gone."""

    @abstractmethod
    def join(self, container: str, where: ArchiveIndex, path: Path) -> list[Skipped]:
        """Write one larger file: the photographs from their pieces, all else from the source.

        Returns:
            Photographs that are in pieces and not written, because another of their sample or row is missing.
        """

    @contextmanager
    def shard(self, index: int) -> Iterator[WritePhoto]:
        part = self.pieces / part_name()
        with write_errors(part):
            self.pieces.mkdir(parents=True, exist_ok=True)
            file = part.open("xb")
        try:
            with file:
                tar = new_tar(file)
                yield lambda name, data: tar.addfile(header(name, len(data)), io.BytesIO(data))
                with write_errors(part):
                    tar.close()
                    file.flush()
                    os.fsync(file.fileno())
            with write_errors(part):
                part.replace(self._piece(index))
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def has(self, index: int, name: str, size: int | None) -> bool:
        place = _members(self._piece(index)).get(name)
        return place is not None and size in (None, place[1])

    def remove(self, index: int, name: str) -> None:
        """Take the whole piece away, and the file in DST that it went into: neither can be mended in place."""
        self._piece(index).unlink(missing_ok=True)
        container = self.container(name)
        record = self._record(container)
        self._take_out(str(read_object(record).get("target", self.targets().get(container, container))))
        record.unlink(missing_ok=True)

    def _take_out(self, target: str) -> None:
        path = self.dst / target
        if self.dst.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)

    def gone(self, shards: Iterable[Iterable[str]]) -> int:
        return sum(len(set(names) - set(_members(self._piece(index)))) for index, names in enumerate(shards))

    def clear(self, names: Iterable[str], claimed: Callable[[str], bool]) -> None:
        del names, claimed  # what no shard has written is in no larger file, and pieces are replaced whole

    def filled(self) -> bool:
        return self.dst.exists() and any(self.dst.iterdir())

    def finish(self, outputs: Iterable[Mapping[str, str]]) -> list[Skipped]:
        shards: dict[str, list[int]] = {}
        for index, names in enumerate(outputs):
            for container in dict.fromkeys(map(self.container, names)):
                shards.setdefault(container, []).append(index)
        left, targets = list[Skipped](), self.targets()
        for record in sorted(self.joined.glob("*.json")):
            known = read_object(record)
            if targets.get(str(known.get("container"))) != known.get("target"):  # of a file that SRC had before
                self._take_out(str(known.get("target")))
                record.unlink(missing_ok=True)
        for container, target in targets.items():
            if self.source_stamp(container) is not None:
                left += self._joined(container, target, shards.get(container, []))
        return left

    def _joined(self, container: str, name: str, shards: Sequence[int]) -> list[Skipped]:
        pieces = [self._piece(index) for index in shards]
        made_of = hashlib.sha256(json.dumps(
            [self.source_stamp(container), [[piece.name, stamp(piece)] for piece in pieces]]).encode()).hexdigest()
        record, target = read_object(self._record(container)), self.dst / name
        if record.get("of") == made_of and record.get("file") == stamp(target) is not None:
            return [Skipped(**one) for one in record["left"]]
        left = list[Skipped]()
        where: ArchiveIndex = {name: (piece, *place) for piece in pieces for name, place in _members(piece).items()
                               if self.container(name) == container}
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, lambda path: left.extend(self.join(container, where, path)))
        text = json.dumps({"container": container, "target": name, "of": made_of, "file": stamp(target),
                           "left": [asdict(one) for one in left]})
        self.joined.mkdir(exist_ok=True)
        replace_file(self._record(container), lambda path: path.write_text(text, "utf-8"))
        return left

    def _piece(self, index: int) -> Path:
        return self.pieces / f"{index:06d}.tar"

    def _record(self, container: str) -> Path:
        return self.joined / (hashlib.sha256(os.fsencode(container)).hexdigest()[:32] + ".json")


def _members(piece: Path) -> dict[str, tuple[int, int]]:
    """Where in a piece each photograph lies, and how many bytes; nothing where there is no whole piece."""
    state = stamp(piece)
    return _listed(piece, *state) if state else {}


@lru_cache(maxsize=2)  # each of a shard's photographs is asked for
def _listed(piece: Path, *state: int) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(piece, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            return {info.name: (info.offset_data, info.size) for info in tar}
    except (OSError, tarfile.TarError):
        return {}
