"""Fixtures for all tests: real weights out of the cache, and small made-up wheels that need no network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from helpers import fake_run
from helpers.fake_wheels import FakeWheels
from helpers.generated_people import Generated, generate
from mien.anonymizer.load import Loaded, prepare
from mien.errors import FetchError
from mien.models.bundle import Networks
from mien.models.hub.cache import entry_state
from mien.models.hub.cards import find_card
from mien.models.hub.fetch import ensure
from mien.models.model_sets import MOBILE
from mien.types import Pixels

# The same examples at each call, however slow the machine; `pytest --hypothesis-profile many` looks further.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("many", deadline=None, max_examples=1500)
settings.load_profile("same")


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """Returns a function from a card's name to its ready file, fetched when it is not in the cache.

    A test whose weights cannot be fetched fails, so that a green run means that it ran. With MIEN_OFFLINE=1
    in the environment nothing is fetched, and tests whose weights are not in the cache are skipped.
    """
    failed: dict[str, str] = {}
    offline = os.environ.get("MIEN_OFFLINE") == "1"

    def path(name: str) -> Path:
        if offline and entry_state(find_card(name)) != "ready":
            pytest.skip(f"MIEN_OFFLINE=1, and the weights of {name} are not in the cache")
        if name not in failed:  # waiting for the same dead network once is enough
            try:
                return ensure([name])[name]
            except FetchError as error:
                failed[name] = f"{error.message}\n{error.hint}"
        pytest.fail(failed[name], pytrace=False)

    return path


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWheels:
    """A fresh cache, a pip without anybody's settings, and a workshop for wheels."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return FakeWheels(tmp_path / "wheels", tmp_path / "cache", monkeypatch)


@pytest.fixture(scope="session")
def ready(weights: Callable[[str], Path]) -> Loaded:
    """The real networks on the processor, and a pool of 64 faces, which stays in the cache."""
    for name in MOBILE:
        weights(name)
    return prepare(fake_run.TINY, device="cpu")


@pytest.fixture(scope="session")
def portraits(ready: Loaded) -> list[Pixels]:
    """Six generated people, each [256, 256, 3] uint8 RGB: who they are depends on the generator alone."""
    return fake_run.portraits(ready.networks.generator, range(500, 506))


@pytest.fixture
def brush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every run of the test a quick one, see fake_run.py."""
    fake_run.use_brush(monkeypatch.setattr)


@pytest.fixture(scope="session")
def networks(ready: Loaded) -> Networks:
    """The real networks."""
    return ready.networks


@pytest.fixture(scope="session")
def generated(networks: Networks) -> Generated:
    """Two people who do not exist, at 256 px, and all that is known about them."""
    return generate(networks)
