"""A finished run read back from what it left in DST, and the pages and sheets made of that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from helpers.made_up_runs import Page, as_former_version, assert_self_contained, face, folders, pictures, run_of
from mien.cli.app import app
from mien.errors import OutputError, UsageError
from mien.jobs.state import JobState
from mien.jobs.summary import Summary
from mien.recipe import Recipe
from mien.report.read_run import read_manifest, read_run
from mien.report.run_page import report_from_folder
from mien.report.run_sheets import write_sheets
from mien.types import Skipped


def record(summary: Summary, recipe: Recipe) -> dict[str, Any]:
    """As a run writes it into mien.json."""
    return {
        "mien": "0.1.0",
        "recipe": recipe.model_dump(mode="json"),
        "recipe_hash": recipe.hash,
        "photos": summary.photos,
        "faces": summary.faces,
        "statuses": dict(summary.statuses),
        "reasons": dict(summary.reasons),
        "skipped": [{"file": skip.file, "reason": skip.reason} for skip in summary.skipped],
        "layout": "celebahq",
        "notes": ["a mapping leads to people"],
    }


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A DST with a manifest and a record."""
    recipe = Recipe(name="mine").with_changes({"optimize.rate": 1, "verify.threshold": 0.7})
    rows = [
        face("a.png", distance=0.71),
        face("a.png", 1, "blurred", reason="smaller than 16 pixels"),
        face("bytes-\udcff.png", distance=0.9, person="person-1"),
    ]
    summary = run_of(rows, [Skipped("b.heic", "b.heic: HEIC is not supported")])
    folders(tmp_path, ["a.png", "bytes-\udcff.png"])
    store = JobState(tmp_path / "dst", tmp_path / "work")
    store.write_manifest(summary.outcomes, record(summary, recipe), recipe.hash)
    return tmp_path / "dst"


def test_the_page_is_built_again_from_the_result(finished: Path) -> None:
    out = report_from_folder(finished, None, None)
    assert out == finished / "report.html"
    page = Page(out.read_text())
    assert_self_contained(out.read_text(), page)
    assert "(2 of 2, limit 0.70)" in page.text and "HEIC is not supported" in page.text
    assert "layout celebahq" in page.text and "a mapping leads to people" in page.text
    assert "smaller than 16 pixels" in page.text and "img" not in page.tags and "person-1" not in page.text


def test_with_originals_it_is_beside_the_result(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    out = report_from_folder(Path(), Path("../src"), None)
    assert out == finished.parent / "dst.owner-report.html"
    assert len(pictures(out.read_text())) == 6, "three faces, one in a file whose name is not UTF-8"
    assert not (finished / "report.html").exists()
    text = Page(out.read_text()).text
    assert "by the judge" in text and "distance 0.71" not in text, "WORK has another name, and is not given"
    with pytest.raises(UsageError, match="is inside"):
        report_from_folder(finished, finished.parent / "src", finished / "report.html")
    with pytest.raises(UsageError, match="do not exist"):
        report_from_folder(finished, finished.parent / "none", None)


def test_the_distances_of_the_owners_page_come_from_work(finished: Path) -> None:
    out = report_from_folder(finished, finished.parent / "src", None, finished.parent / "work")
    text = Page(out.read_text()).text
    assert "closest distance 0.71, limit 0.70" in text and "a.png 0 0.710" in text and "distance 0.710" in text
    (finished.parent / "work").rename(finished.parent / "dst.work")
    assert Page(report_from_folder(finished, finished.parent / "src", None).read_text()).text == text
    assert "0.71" not in Page(report_from_folder(finished, None, None).read_text()).text


def test_the_work_of_another_run_is_refused(finished: Path) -> None:
    work = finished.parent / "work"
    table = pq.read_table(work / "faces.parquet")
    pq.write_table(table.slice(1), work / "faces.parquet")
    with pytest.raises(UsageError, match="not of the run that wrote"):
        report_from_folder(finished, finished.parent / "src", None, work)
    (work / "faces.parquet").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"faces\.parquet is not the private table"):
        report_from_folder(finished, finished.parent / "src", None, work)


def test_another_page_can_be_named(finished: Path, tmp_path: Path) -> None:
    assert report_from_folder(finished, None, tmp_path / "x.html") == tmp_path / "x.html"
    with pytest.raises(OutputError):
        report_from_folder(finished, None, tmp_path / "none" / "x.html")


@pytest.mark.parametrize(("name", "what"), [("mien.parquet", "manifest"), ("mien.json", "record")])
@pytest.mark.parametrize("content", [None, b"", b"rubbish\n\xff", b"[]", b'{"photos": 1}', b"PAR1"])
def test_missing_and_damaged_files_are_named(
    finished: Path, name: str, what: str, content: bytes | None
) -> None:
    (finished / name).unlink()
    if content is not None:
        (finished / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"{re.escape(name)} is (missing|not).*{what} of a run"):
        report_from_folder(finished, None, None)


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        report_from_folder(tmp_path / "none", None, None)


def test_files_of_two_runs_are_refused(finished: Path) -> None:
    table = pq.read_table(finished / "mien.parquet")
    pq.write_table(table.slice(1), finished / "mien.parquet")
    with pytest.raises(UsageError, match="not of one run"):
        report_from_folder(finished, None, None)


def test_a_manifest_without_a_column_is_refused(finished: Path) -> None:
    table = pq.read_table(finished / "mien.parquet")
    pq.write_table(table.drop_columns(["status"]), finished / "mien.parquet")
    with pytest.raises(UsageError, match="no column status"):
        report_from_folder(finished, None, None)


def test_a_changed_recipe_is_refused(finished: Path) -> None:
    data = json.loads((finished / "mien.json").read_text())
    data["recipe"]["verify"]["threshold"] = 0.1
    (finished / "mien.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match="hash"):
        report_from_folder(finished, None, None)


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """The one error, and its hint."""
    with pytest.raises(UsageError) as caught:
        call()
    return caught.value.message, caught.value.hint


def test_a_run_of_another_version_is_refused_by_name(finished: Path) -> None:
    as_former_version(finished)
    message, hint = refused(lambda: report_from_folder(finished, None, None))
    assert message == (
        f"{finished / 'mien.json'} was written by another version of mien: its recipe has "
        "pair.colour_weight, optimise, which this version does not know"
    )
    assert "use that version" in hint and "anonymize the photographs again" in hint
    assert not (finished / "report.html").exists()
    assert refused(lambda: read_run(finished)) == (message, hint)


def test_a_manifest_of_another_version_is_refused_by_its_status(finished: Path) -> None:
    as_former_version(finished)
    message, _ = refused(lambda: read_manifest(finished / "mien.parquet"))
    assert message == (
        f"{finished / 'mien.parquet'} was written by another version of mien: row 0 has the status "
        "anonymised, which this version does not know"
    )
    # What it is asked to draw with does not matter: nothing is drawn.
    sheets = refused(
        lambda: write_sheets(finished, finished, finished, finished / "sheets", None, Recipe())  # type: ignore[arg-type]
    )
    assert "faces.parquet is missing" in sheets[0] and "WORK" in sheets[1] and not (finished / "sheets").exists()


@pytest.mark.parametrize("command", [["report"], ["sheets", "SRC"]])
def test_the_commands_refuse_a_run_of_another_version(command: list[str], finished: Path, tmp_path: Path) -> None:
    as_former_version(finished)
    words = [str(tmp_path / "src") if word == "SRC" else word for word in command]
    more = [str(tmp_path / "out")] if command[0] == "sheets" else []
    ended = CliRunner().invoke(app, [*words, str(finished), *more])
    assert isinstance(ended.exception, UsageError), ended.exception
    assert "another version of mien: its recipe has pair.colour_weight, optimise" in ended.exception.message
    assert not (tmp_path / "out").exists()
