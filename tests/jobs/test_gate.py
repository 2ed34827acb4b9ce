"""A recipe that lets faces pass which the judge takes for their originals: it is said wherever a run is summed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mien
from helpers import fake_run
from helpers.fake_run import ANNA, TINY, TINY_TOML, call, save, squares
from helpers.made_up_runs import Page
from mien.cli.app import app
from mien.jobs.gate import JUDGES, Gate
from mien.jobs.status import read_status
from mien.recipe import Recipe
from mien.report.run_page import report_from_folder

LOW = "The gate was loosened: verify.threshold is 0.05, but the judge (dlib) takes two faces for one person below 0.6"


def by_file(folder: Path) -> list[str]:
    (folder / "low.toml").write_text(TINY_TOML.replace("attempts = 1", "attempts = 1, threshold = 0.05"))
    return ["--recipe", str(folder / "low.toml")]


def by_set(folder: Path) -> list[str]:
    (folder / "tiny.toml").write_text(TINY_TOML)
    return ["--recipe", str(folder / "tiny.toml"), "--set", "verify.threshold=0.05"]


def says_so(dst: Path) -> None:
    """Page, record, page made again, and status."""
    for _ in range(2):
        text = Page((dst / "report.html").read_text()).text
        assert LOW in text and "All well" not in text and text.count("The gate was loosened") == 1
        assert "limit 0.60" in text
        report_from_folder(dst, None, None)
    assert any(LOW in note for note in json.loads((dst / "mien.json").read_text())["notes"])
    work = dst.with_name(f"{dst.name}.work")
    status = read_status(work)
    assert LOW in status.warnings[0] and LOW in status.as_json() and "mien_warnings 1" in status.as_prometheus()
    assert LOW in CliRunner().invoke(app, ["status", str(work)]).output


@pytest.mark.parametrize("how", [by_file, by_set])
def test_the_program_says_so_last(tmp_path: Path, how: Callable[[Path], list[str]]) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    done = call("anonymize", tmp_path / "src", tmp_path / "dst", *how(tmp_path))
    assert done.returncode == 0, done.stderr
    before, last = done.stderr.rstrip().splitlines()[-2:]
    assert before.startswith("Look at this before you publish: ") and last.startswith(LOW)
    says_so(tmp_path / "dst")


def test_the_library_says_so(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    summary = mien.anonymize_dataset(tmp_path / "src", tmp_path / "dst", TINY.with_changes({"verify.threshold": 0.05}))
    assert summary.notes[0].startswith(LOW)
    says_so(tmp_path / "dst")


def test_a_face_that_the_judge_takes_for_its_original_is_bad_news(brush: None, tmp_path: Path) -> None:
    """Though the recipe let it pass: the stubborn face stays as it is, within 0.05 of its original or just beyond."""
    save(tmp_path / "src" / "a.png", squares((100, 100)))  # painted almost in its own color
    summary = mien.anonymize_dataset(tmp_path / "src", tmp_path / "dst",
                                     TINY.with_changes({"verify.threshold": 0.05, "verify.reserve": 0}))
    (row,) = summary.outcomes
    assert row.status == "anonymized" and row.judge_distance is not None and row.judge_distance < 0.6
    assert "Do not publish" in Page((tmp_path / "dst" / "report.html").read_text()).text
    assert fake_run.rows_in(tmp_path / "dst")[0]["privacy_band"] == "not past"


def test_a_well_kept_gate_is_not_mentioned(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    done = call("anonymize", tmp_path / "src", tmp_path / "dst")
    assert done.stderr.rstrip().splitlines()[-1].startswith("All well: Every face that was found was changed")
    assert "closest distance" in done.stderr and "loosened" not in done.stderr
    assert not read_status(tmp_path / "dst.work").warnings
    assert "loosened" not in (tmp_path / "dst" / "report.html").read_text()


@pytest.mark.parametrize("models", JUDGES)
@pytest.mark.parametrize(("threshold", "limit", "warned"), [
    (1e-9, 0.6, True), (0.05, 0.6, True), (0.599, 0.6, True), (0.6, 0.6, False), (0.9, 0.9, False)])
def test_every_set_of_networks_has_its_gate(models: str, threshold: float, limit: float, warned: bool) -> None:
    gate = Gate.of(Recipe().with_changes({"models": models, "verify.threshold": threshold}))
    assert gate.limit == limit and bool(gate.warning) == warned
    assert gate.judge in gate.warning or not warned


def test_recipes_of_all_presets_keep_the_gate() -> None:
    from mien.recipe import PRESETS

    assert not [name for name in PRESETS if Gate.of(Recipe.load(name)).warning]
    assert set(JUDGES) == set(Recipe.model_fields["models"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("settings", [{}, {"verify": None}, {"verify": {"threshold": "low"}}, {"models": "newer"}])
def test_the_settings_of_another_version_do_no_harm(settings: dict[str, object]) -> None:
    assert Gate.of_settings(settings).warning == ""
