"""The next photograph is read while the one before is worked on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from helpers.fake_run import album, photos_in
from mien.datasets.storage.base import FolderReader
from mien.datasets.storage.prefetch import PrefetchedPhoto, prefetch
from mien.errors import OutputError, PhotoError

PATIENCE = 30  # seconds


class Watched(FolderReader):
    """A folder that says which photographs were asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = {name: threading.Event() for name in photos_in(root)}

    def data(self, name: str) -> bytes:
        self.asked[name].set()
        return super().data(name)


@pytest.fixture
def reader(tmp_path: Path) -> Watched:
    return Watched(album(tmp_path / "src", 5))


def names(readings: list[PrefetchedPhoto]) -> list[str]:
    return [reading.name for reading in readings]


def test_the_next_one_is_read_meanwhile_and_no_further_one(reader: Watched) -> None:
    asked = sorted(reader.asked)
    readings = prefetch(reader, asked)
    assert next(readings).name == asked[0]
    assert reader.asked[asked[1]].wait(PATIENCE)
    assert not reader.asked[asked[2]].wait(0.2)
    assert names(list(readings)) == asked[1:]


def test_what_cannot_be_read_comes_in_its_turn(reader: Watched) -> None:
    asked = sorted(reader.asked)
    (reader.root / asked[1]).write_bytes(b"no picture")
    readings = list(prefetch(reader, asked))
    assert names(readings) == asked
    assert [isinstance(reading.photo, PhotoError) for reading in readings] == [False, True, False, False, False]
    assert [reading.state for reading in readings] == [reader.stamp(name) for name in asked]
    (reader.root / asked[1]).unlink()
    (_, lost, *_) = prefetch(reader, asked)
    assert isinstance(lost.photo, PhotoError) and (lost.digest, lost.state) == ("", None)


def test_a_store_that_fails_is_heard_of_in_its_turn_and_no_thread_stays(reader: Watched,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    asked, really = sorted(reader.asked), reader.stamp

    def stamp(name: str) -> list[int] | None:
        if name == asked[1]:
            raise OutputError("the store does not answer")
        return really(name)

    monkeypatch.setattr(reader, "stamp", stamp)
    readings = prefetch(reader, asked)
    assert next(readings).name == asked[0]
    with pytest.raises(OutputError, match="does not answer"):
        next(readings)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_whoever_stops_half_way_leaves_no_thread(reader: Watched) -> None:
    readings = prefetch(reader, sorted(reader.asked))
    next(readings)
    readings.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_nothing_is_nothing(reader: Watched) -> None:
    assert list(prefetch(reader, [])) == []
