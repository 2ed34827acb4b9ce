"""Photographs read while those before them are worked on: stores take their time, and so does a large JPEG."""

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
    """A photograph as it was found, or why it could not be read.

    Attributes:
        digest: of its file, or "" where that could not be read. state: that the photo was in once its file had been
            read; what was known of it before may be of other pixels.
    """

    name: str
    photo: Photo | PhotoError
    digest: str = ""
    state: list[int] | None = None


def read_ahead(source: PhotoReader, names: Iterable[str]) -> Iterator[PrefetchedPhoto]:
    """Read photographs in their order, each while the caller is busy with the one before.

    Raises:
        OutputError: as `PhotoReader.data` and `state_of`, when it is that photo's turn.
    """
    thread = ThreadPoolExecutor(1, "reading")  # one: sources of rows hold what lies around the last photo
    following: Future[PrefetchedPhoto] | None = None
    try:
        for name in names:
            reading, following = following, thread.submit(_read, source, name)
            if reading is not None:
                yield reading.result()
        if following is not None:
            yield following.result()
    finally:
        thread.shutdown(cancel_futures=True)


def _read(source: PhotoReader, name: str) -> PrefetchedPhoto:
    try:
        data = source.data(name)
    except PhotoError as error:
        return PrefetchedPhoto(name, error)
    digest, state = content_digest(data), state_of(source, name)
    photo: Photo | PhotoError
    try:
        photo = read_photo_bytes(data, name)
    except PhotoError as error:
        photo = error
    return PrefetchedPhoto(name, photo, digest, state)
