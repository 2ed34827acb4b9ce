from __future__ import annotations

from pathlib import Path

import pytest

from helpers import fake_run
from helpers.fake_run import TINY, album, pixels_of
from mien.anonymizer.pipeline import Pipeline
from mien.evaluation.recipe_baselines import make_recipe_baseline


def test_a_recipe_s_set_is_a_run_that_is_kept(brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = album(tmp_path / "src", 5)
    names = sorted(path.relative_to(src).as_posix() for path in src.rglob("*.png"))[:4]
    told: list[tuple[int, int]] = []
    made = make_recipe_baseline(TINY, src, names, tmp_path / "sets", fake_run.square_ready(),
                                lambda *done: told.append(done))
    assert len(made) == 4 and all(path.is_file() for path in made) and told[-1] == (4, 4)
    assert any((pixels_of(src / name) != pixels_of(path)).any() for name, path in zip(names, made, strict=True))
    monkeypatch.setattr(Pipeline, "run", lambda *_: pytest.fail("nothing is missing"))
    assert make_recipe_baseline(TINY, src, names, tmp_path / "sets", fake_run.square_ready()) == made
