"""Reads each photograph while the one before is processed: slow stores and large JPEGs take time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mien.datasets.storage.base import PhotoReader, state_of
from mien.datasets.storage.content_check import content_digest
from mien.errors import PhotoError
from mien.images.decode import read_photo_bytes
from mien.types import Photo


@dataclass(frozen=True)
class PrefetchedPhoto:
    """A photograph that was read, or why it could not be.

    Attributes:
        photo: the decoded photograph, or the error.
        digest: the digest of its file, or "" if that could not be read.
        state: the photo's state after its file was read; a state from before may belong to other pixels.
    """

    name: str
    photo: Photo | PhotoError
    digest: str = ""
    state: list[int] | None = None


def prefetch(reader: PhotoReader, names: Iterable[str]) -> Iterator[PrefetchedPhoto]:
    """Yields photographs in their order; reads each while the caller is busy with the one before.

    Raises:
        OutputError: as `PhotoReader.data` and `state_of`, when it is that photo's turn.
    """
    thread = ThreadPoolExecutor(1, "reading")  # one: a `RowReader` keeps the rows around the last photo
    following: Future[PrefetchedPhoto] | None = None
    try:
        for name in names:
            reading, following = following, thread.submit(_read, reader, name)
            if reading is not None:
                yield reading.result()
        if following is not None:
            yield following.result()
    finally:
        thread.shutdown(cancel_futures=True)


def _read(reader: PhotoReader, name: str) -> PrefetchedPhoto:
    try:
        data = reader.data(name)
    except PhotoError as error:
        return PrefetchedPhoto(name, error)
    digest, state = content_digest(data), state_of(reader, name)
    photo: Photo | PhotoError
    try:
        photo = read_photo_bytes(data, name)
    except PhotoError as error:
        photo = error
    return PrefetchedPhoto(name, photo, digest, state)
