"""Reads photographs from tars of samples by seeking, and writes such tars again with their members in the same order.

Format: https://github.com/webdataset/webdataset (a sample is the members that share a name up to its first dot).
"""

from __future__ import annotations

import codecs
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from mien.datasets.storage.shard_archive import ArchiveIndex, ShardArchiveWriter, header, new_tar
from mien.errors import OutputError, PhotoError
from mien.images.decode import LARGEST
from mien.images.formats import (
    OTHER_IMAGE_SUFFIXES,
    PHOTO_SUFFIXES,
    VIDEO_SUFFIXES,
    WRITTEN_LENGTH,
    is_text,
    printable,
    shows_picture,
    writes_picture,
)
from mien.types import Skipped
from mien.util.files import error_text, is_fault_of_file, stamp

PICTURE_SUFFIXES = PHOTO_SUFFIXES | OTHER_IMAGE_SUFFIXES | VIDEO_SUFFIXES
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
_HEAD = 512  # bytes of a member that tell whether it is a picture
_CHUNK = 2**20  # bytes of a text that are searched together
_INDICES = 4  # tars whose members are kept in memory


@dataclass(frozen=True)
class TarMember:
    """A file in a tar: offset and size of its bytes, and whether they are (or claim to be) a picture."""

    name: str
    offset: int
    size: int
    picture: bool

    @property
    def sample(self) -> str:
        """The key of its sample: the name up to the first dot of its last part."""
        return sample_of(self.name)


@dataclass
class TarIndex:
    """The members of one tar.

    Attributes:
        members: name -> member, in their order, of all that may be written.
        skipped: members that are refused, and photographs of their samples; "" stands for the tar itself.
        passed_over: how many members are hidden or WebDataset's own.
    """

    members: dict[str, TarMember] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    passed_over: int = 0

    @cached_property
    def samples(self) -> dict[str, list[TarMember]]:
        """The key of each sample -> its members."""
        samples: dict[str, list[TarMember]] = {}
        for member in self.members.values():
            samples.setdefault(member.sample, []).append(member)
        return samples

    def kinds(self) -> Counter[str]:
        """Counts by suffix the members that are no pictures."""
        return Counter(PurePosixPath(one.name).suffix.lower() or "no suffix"
                       for one in self.members.values() if not one.picture)


def sample_of(name: str) -> str:
    """Returns the key of the sample that a member belongs to."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def index_tar(path: Path) -> TarIndex:
    """Finds the members of a tar by its headers, without unpacking it; texts are searched for pictures.

    If the tar is damaged or cut short, `skipped` says so, and `members` has everything before the damage.

    Raises:
        OSError: the disk does not answer.
    """
    state = stamp(path)
    return _index(path, *state) if state else TarIndex(skipped=[Skipped("", "the tar is not there, or closed")])


@lru_cache(maxsize=_INDICES)
def _index(path: Path, size: int, changed: int) -> TarIndex:
    index, spoilt, seen = TarIndex(), dict[str, str](), set[str]()
    try:
        for info, file in _headers(path):
            _enter(index, info, file, size, spoilt, seen)
    except (tarfile.TarError, OSError, ValueError) as error:
        if not is_fault_of_file(error):
            raise  # otherwise an intact tar would count as damaged
        what = "damaged or cut short" if seen else "no tar, or a damaged one"
        index.skipped.append(Skipped("", f"{what} ({printable(error_text(error))}): "
                                     f"{'everything after ' + printable([*seen][-1]) if seen else 'it'} is lost"))
    for name in [name for name in index.members if sample_of(name) in spoilt]:
        if index.members.pop(name).picture:
            index.skipped.append(Skipped(name, f"its sample leaves with {printable(spoilt[sample_of(name)])}"))
    return index


def _headers(path: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yields each member's header, with the open tar."""
    with path.open("rb") as file:
        if not file.read(1):
            raise tarfile.ReadError("0 bytes")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            end = os.fstat(file.fileno()).st_size
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # otherwise all headers stay in memory
                if info.size < 0 or tar.offset < info.offset_data:  # otherwise tarfile reads for ever (CVE-2025-8194)
                    raise tarfile.ReadError("a size below zero")
                yield info, file
                if tar.offset > end:
                    raise tarfile.ReadError("unexpected end of data")
            file.seek(tar.offset)
            if file.read(512).strip(b"\0"):  # for tarfile a damaged header is the end
                raise tarfile.ReadError(f"a damaged header at byte {tar.offset:,}")


def _enter(index: TarIndex, info: tarfile.TarInfo, file: IO[bytes], size: int, spoilt: dict[str, str],
           seen: set[str]) -> None:
    name, base = info.name, info.name.rpartition("/")[2]
    if info.isdir():
        return
    repeated, refusal = name in seen, _refusal(info, size)
    seen.add(name)
    if repeated:
        index.skipped.append(Skipped(name, "another member of this name: only the first is taken"))
    elif refusal:
        index.skipped.append(Skipped(name, refusal))
        spoilt.setdefault(sample_of(name), name)
    elif base.startswith(".") or (base.startswith("__") and base.endswith("__")):
        index.passed_over += 1
    else:
        file.seek(info.offset_data)
        head = file.read(min(_HEAD, info.size))
        picture = PurePosixPath(base).suffix.lower() in PICTURE_SUFFIXES or shows_picture(head)
        doubt = "" if picture else _doubt(head, file, info)
        if doubt:
            index.skipped.append(Skipped(name, f"left out: {doubt}, and might show the original"))
            return
        index.members[name] = TarMember(name, info.offset_data, info.size, picture)


def _doubt(head: bytes, file: IO[bytes], info: tarfile.TarInfo) -> str:
    """Says why a member may hold a picture, or "": it must be text throughout, without a picture written in it."""
    no_text = "it is no text"  # compressed pictures, documents, arrays may show anything
    if not is_text(head):
        return no_text
    file.seek(info.offset_data)
    decoder, before, left = codecs.getincrementaldecoder("utf-8")(), b"", info.size
    try:
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:  # the file is shorter than it was
                return no_text
            left -= len(chunk)
            decoder.decode(chunk, final=not left)
            if b"\0" in chunk:
                return no_text
            if writes_picture(before + chunk):
                return "a picture is written in it"
            before = chunk[-WRITTEN_LENGTH:]
    except UnicodeDecodeError:
        return no_text
    return ""


def _refusal(info: tarfile.TarInfo, size: int) -> str:
    """Says why a member cannot be taken, or ""."""
    if info.name.startswith("/") or ".." in info.name.split("/") or "\0" in info.name or not info.name:
        return "a name that leads out of the tar"
    if not info.isreg() or info.issparse():
        return "a link, a device or a file with holes"
    return "cut short" if info.offset_data + info.size > size else ""


class TarReader:
    """Reads photographs from the tars of a folder; a photo's name is the tar's, a slash and the member's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> bytes:
        tar, _, inside = name.partition("/")
        try:
            member = index_tar(self.root / tar).members.get(inside)
        except OSError as error:
            raise PhotoError(f"{printable(name)}: the tar cannot be read ({error.strerror})") from error
        if member is None:
            raise PhotoError(f"{printable(name)}: the tar has no such member, or it is refused")
        if PurePosixPath(inside).suffix.lower() in VIDEO_SUFFIXES:
            raise PhotoError(f"{printable(name)}: a film, and the faces in it would stay")
        if member.size > LARGEST:
            raise PhotoError(f"{printable(name)}: {member.size:,} bytes are more than a photograph may have")
        try:
            with (self.root / tar).open("rb") as file:
                file.seek(member.offset)
                return file.read(member.size)
        except OSError as error:
            raise PhotoError(f"{printable(name)}: the tar cannot be read ({error.strerror})") from error

    def stamp(self, name: str) -> list[int] | None:
        tar, _, inside = name.partition("/")
        member, state = index_tar(self.root / tar).members.get(inside), stamp(self.root / tar)
        return [member.offset, member.size, *state] if member and state else None

    def as_png(self, name: str) -> str:
        tar, _, inside = name.partition("/")
        try:
            return f"{tar}/{_as_png(index_tar(self.root / tar), inside)}"
        except OSError as error:
            raise OutputError(f"{printable(tar)} cannot be looked at: {error.strerror}",
                              "run the same command again when its disk answers") from error


def _as_png(index: TarIndex, name: str) -> str:
    """Replaces a member's suffix by .png, or appends .png if another picture has the same stem; the key stays."""
    others = [one for one in index.samples[sample_of(name)] if one.name != name]
    same_stem = any(one.picture and _stem(one.name) == _stem(name) for one in others)
    new, taken = f"{name if same_stem else _stem(name)}.png", {one.name.casefold() for one in others}
    while new.casefold() in taken:
        new += ".png"
    return new


def _stem(name: str) -> str:
    return name[: len(name) - len(PurePosixPath(name).suffix)]


class TarWriter(ShardArchiveWriter):
    """Writes tars of the same names as the source's, with the same members except those that are left out.

    Args:
        root: the folder of the source's tars.
        tars: the names of those that are written.
    """

    def __init__(self, root: Path, tars: Sequence[str], dst: Path, work: Path) -> None:
        super().__init__(dst, work)
        self.root, self.tars = root, tars

    def file_of(self, name: str) -> str:
        return name.partition("/")[0]

    def targets(self) -> Mapping[str, str]:
        return {tar: tar for tar in self.tars}

    def source_stamp(self, file: str) -> list[int] | None:
        return stamp(self.root / file)

    def join(self, file: str, index: ArchiveIndex, path: Path) -> list[Skipped]:
        source_index = index_tar(self.root / file)
        written = {one.name: name for one in source_index.members.values() if one.picture
                   and (name := _written_name(source_index, file, one.name, index))}
        if len(written) != len(index):
            raise OutputError(f"{printable(file)} is no longer the tar that its photographs were read from",
                              "run the same command again")
        gone = {one.sample for one in source_index.members.values() if one.picture and one.name not in written}
        with path.open("wb") as out, new_tar(out) as tar, (self.root / file).open("rb") as source:
            for member in source_index.members.values():
                if member.sample in gone:
                    continue
                if not member.picture:
                    source.seek(member.offset)
                    tar.addfile(header(member.name, member.size), source)
                    continue
                archive, offset, size = index[written[member.name]]
                with archive.open("rb") as photos:
                    photos.seek(offset)
                    tar.addfile(header(written[member.name].partition("/")[2], size), photos)
        return [Skipped(f"{file}/{name}", "another photograph of its sample is missing")
                for name in written if sample_of(name) in gone]


def _written_name(source_index: TarIndex, tar: str, name: str, index: ArchiveIndex) -> str | None:
    """Returns the name that a photograph was written under, or None if it was not."""
    if f"{tar}/{name}" in index:
        return f"{tar}/{name}"
    new = f"{tar}/{_as_png(source_index, name)}"
    return new if new in index else None


@dataclass(frozen=True)
class TarContainer:
    """Describes a dataset whose photographs are in the tars of a folder.

    Attributes:
        splits: tar -> the split it belongs to, or "".
    """

    root: Path
    splits: dict[str, str]

    @property
    def reader(self) -> TarReader:
        return TarReader(self.root)

    def writer(self, dst: Path, work: Path, subset: str) -> TarWriter:
        wanted = subset.split("+")
        return TarWriter(self.root, [tar for tar, split in self.splits.items() if not subset or split in wanted],
                         dst, work)
