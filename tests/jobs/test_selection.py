"""The owner's lists decide which faces are anonymized."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import fake_run
from helpers.fake_run import (
    ANNA,
    BERT,
    CLEO,
    changed,
    pixels_of,
    save,
    squares,
)


@pytest.mark.parametrize("option", ["only", "exclude"])
def test_the_owner_chooses_faces(brush: None, tmp_path: Path, option: str) -> None:
    photo = squares(ANNA, BERT, CLEO)
    save(tmp_path / "src" / "sub" / "a.png", photo)
    save(tmp_path / "src" / "b.png", photo)
    regions = tmp_path / "regions.csv"
    regions.write_text("file,x,y,width,height\nsub/a.png,150,20,50,60\n")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", **{option: regions})
    named, rest = ("anonymized", "excluded") if option == "only" else ("excluded", "anonymized")
    assert [row.status for row in summary.outcomes] == [rest, rest, rest, rest, named, rest]
    after = pixels_of(tmp_path / "dst" / "sub" / "a.png")
    for row in summary.outcomes[3:]:
        x, y, width, height = (int(v) for v in row.box)
        same = (photo[y : y + height, x : x + width] == after[y : y + height, x : x + width]).all()
        assert same == (row.status == "excluded")
        assert (row.reason == "left out by the owner's list") == (row.status == "excluded")


def test_a_named_region_without_a_face_is_concealed(brush: None, tmp_path: Path) -> None:
    photo = squares(ANNA, BERT, shy=1)
    save(tmp_path / "src" / "a.png", photo)
    regions = tmp_path / "regions.csv"
    regions.write_text("file,x,y,width,height\na.png,150,20,50,60\n")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", only=regions)
    assert [(row.status, row.reason) for row in summary.outcomes] == [
        ("excluded", "left out by the owner's list"), ("blurred", "named by the owner, no face found there")]
    assert changed(photo, pixels_of(tmp_path / "dst" / "a.png"), (150, 20, 50, 60))
