"""No picture of an original is written into a folder that is published, by whichever command."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import face_folders, fake_run
from helpers.fake_run import ANNA, save, squares
from mien.errors import UsageError
from mien.jobs.published import refuse_published
from mien.report.run_page import report_from_folder
from mien.report.run_sheets import write_sheets
from mien.steps.align import align_photo


@pytest.fixture
def dst(brush: None, tmp_path: Path) -> Path:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    fake_run.run(tmp_path / "src", tmp_path / "dst")
    return tmp_path / "dst"


@pytest.mark.parametrize("inside", ["", "sheets", "deep/down"])
def test_nothing_private_goes_into_a_result(dst: Path, tmp_path: Path, inside: str) -> None:
    out, before = dst / inside, sorted(dst.rglob("*"))
    face = face_folders.face_at(110, 60)
    photo, _ = face_folders.aligned(tmp_path, [face])
    loaded = fake_run.square_ready()
    with pytest.raises(UsageError, match="which is published"):
        write_sheets(tmp_path / "src", dst, tmp_path / "dst.work", out, loaded, fake_run.TINY)
    with pytest.raises(UsageError, match="which is published"):
        align_photo(photo, out, face_folders.step_context(face_folders.Networks([face])), again=False)
    with pytest.raises(UsageError, match="which is published"):
        report_from_folder(dst, tmp_path / "src", out / "page.html")
    assert sorted(dst.rglob("*")) == before


def test_another_result_is_as_public_as_one_s_own(dst: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mien.json").write_text("{}")
    with pytest.raises(UsageError, match="which is published"):
        report_from_folder(dst, tmp_path / "src", tmp_path / "other" / "page.html")
    refuse_published(tmp_path / "private")


def test_a_report_overwrites_no_photograph(dst: Path, tmp_path: Path) -> None:
    before = (tmp_path / "src" / "a.png").read_bytes()
    with pytest.raises(UsageError, match=r"end its name in \.html|will be an HTML page"):
        report_from_folder(dst, tmp_path / "src", tmp_path / "src" / "a.png")
    assert (tmp_path / "src" / "a.png").read_bytes() == before
