"""The secret that all draws of a run derive from: who has it, how long it is kept, and what repeats a run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from helpers import fake_run
from helpers.fake_run import ANNA, BERT, TINY, album, photos_in, rows_in, squares
from mien.anonymizer.seeds import seed_of
from mien.anonymizer.work_item import Subject
from mien.errors import OutputError
from mien.jobs.executors.workers import Workers
from mien.jobs.secret import SECRET
from mien.recipe import Recipe
from mien.types import Match

FREE = Recipe(**(TINY.model_dump() | {"seed": None}))
SHARED = FREE.with_changes({"pair.unique": False})  # draws one by one, in the workers


class DrawnPainter(fake_run.Painter):
    """Paints in a shade that the draws decide."""

    def _attempt(self, subjects: list[Subject], attempt: int) -> None:
        for one in subjects:
            if one.match is None:
                one.match = Match(seed_of(self.secret, 0, [(one.outcome.file, one.outcome.face)]) % 64, 0.0)
        super()._attempt(subjects, attempt)
        for one in subjects:
            assert one.match is not None and one.picture is not None
            if abs(int(one.picture[0, 0, 0]) - fake_run.NEW) < 20:
                one.picture[..., 0] = fake_run.NEW - 8 + one.match.index % 16


@pytest.fixture(autouse=True)
def drawn(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mien.jobs.worker", "mien.anonymizer.image_anonymizer"):
        monkeypatch.setattr(f"{module}.Pipeline", DrawnPainter)
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    monkeypatch.setattr("mien.jobs.executors.processes.open_worker", open_drawn_worker)


def open_drawn_worker(request: Any, threads: int, device: str) -> Any:
    """Opens a worker in a process of its own."""
    worker = fake_run.open_square_worker(request, threads, device)
    worker.pipeline = DrawnPainter(worker.networks, worker.pool, request.recipe)
    return worker


def secret_in(work: Path) -> bytes:
    return (work / SECRET).read_bytes()


@pytest.mark.parametrize("recipe", [FREE, SHARED], ids=["assigned", "one by one"])
def test_two_runs_without_a_seed_draw_differently(tmp_path: Path, recipe: Recipe) -> None:
    src = album(tmp_path / "src", 10)
    for name in ("one", "two"):
        fake_run.run(src, tmp_path / name, recipe)
    assert photos_in(tmp_path / "one") != photos_in(tmp_path / "two")
    one, two = (secret_in(tmp_path / f"{name}.work") for name in ("one", "two"))
    assert one != two and len(one) == len(two) == 32
    assert stat.S_IMODE((tmp_path / "one.work" / SECRET).stat().st_mode) == 0o600


@pytest.mark.parametrize("recipe", [FREE, SHARED], ids=["assigned", "one by one"])
def test_a_seed_repeats_a_run_to_the_byte(tmp_path: Path, recipe: Recipe) -> None:
    src = album(tmp_path / "src", 10)
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        fake_run.run(src, tmp_path / name, recipe.with_changes({"seed": seed}))
        assert not (tmp_path / f"{name}.work" / SECRET).exists()
    assert photos_in(tmp_path / "one") == photos_in(tmp_path / "two") != photos_in(tmp_path / "other")
    assert rows_in(tmp_path / "one") == rows_in(tmp_path / "other"), "the seed does not show in the recipe's hash"


@pytest.mark.parametrize("recipe", [FREE, SHARED], ids=["assigned", "one by one"])
@pytest.mark.parametrize("how", ["workers", "ranks", "again"])
def test_all_who_work_on_a_run_draw_the_same(tmp_path: Path, recipe: Recipe, how: str) -> None:
    src, whole, dst = album(tmp_path / "src", 10), tmp_path / "whole", tmp_path / "dst"
    fake_run.run(src, whole, recipe)
    (tmp_path / "dst.work").mkdir()
    (tmp_path / "dst.work" / SECRET).write_bytes(secret_in(tmp_path / "whole.work"))  # the same run once more
    if how == "ranks":
        for one, worlds in (("index", 2), ("assign", 1), ("anonymize", 2)):
            for rank in range(worlds):
                fake_run.run(src, dst, recipe, workers=Workers(rank=rank, world_size=worlds), passes=(one,))
    if how == "again":
        fake_run.run(src, dst, recipe)
        for path in list((dst / "0").glob("*.png")):
            path.unlink()
    fake_run.run(src, dst, recipe, workers=Workers(2) if how == "workers" else None)
    assert photos_in(dst) == photos_in(whole)
    assert secret_in(tmp_path / "dst.work") == secret_in(tmp_path / "whole.work")


def _killed_after_a_shard(src: Path, dst: Path) -> None:
    from mien.jobs.state import JobState

    fake_run.use_brush(fake_run.set_attribute)
    fake_run.set_attribute("mien.jobs.run.SHARD", 2)
    JobState.note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    fake_run.run(src, dst, FREE)


def test_a_killed_run_goes_on_with_its_secret(tmp_path: Path) -> None:
    src, dst = album(tmp_path / "src", 10), tmp_path / "dst"
    process = multiprocessing.get_context("spawn").Process(target=_killed_after_a_shard, args=(src, dst))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    before = secret_in(tmp_path / "dst.work")
    assert list((tmp_path / "dst.work" / "shards").iterdir())
    assert fake_run.run(src, dst, FREE).photos == 10
    assert secret_in(tmp_path / "dst.work") == before


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:16])


@pytest.mark.parametrize("damage", [Path.unlink, emptied, cut])
def test_a_start_that_was_cut_short_gets_its_secret(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Nothing has been drawn yet: faces are only indexed."""
    src, dst = album(tmp_path / "src", 6), tmp_path / "dst"
    fake_run.run(src, dst, FREE, passes=("index",))
    damage(tmp_path / "dst.work" / SECRET)
    assert fake_run.run(src, dst, FREE).photos == 6
    assert len(secret_in(tmp_path / "dst.work")) == 32
    assert stat.S_IMODE((tmp_path / "dst.work" / SECRET).stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [Path.unlink, emptied, cut])
@pytest.mark.parametrize("passes", [("index",), ("index", "assign", "anonymize")])
def test_a_run_that_has_drawn_is_refused_without_its_secret(tmp_path: Path, damage: Callable[[Path], None],
                                                            passes: tuple[str, ...]) -> None:
    src, dst = album(tmp_path / "src", 6), tmp_path / "dst"
    fake_run.run(src, dst, FREE, passes=passes)
    if passes == ("index",):
        fake_run.run(src, dst, FREE, passes=("assign",))
    kept = secret_in(tmp_path / "dst.work")
    damage(tmp_path / "dst.work" / SECRET)
    with pytest.raises(OutputError, match="secret is gone or damaged") as caught:
        fake_run.run(src, dst, FREE)
    assert "put the file back, or give another DST" in caught.value.hint
    (tmp_path / "dst.work" / SECRET).write_bytes(kept)
    assert fake_run.run(src, dst, FREE).photos == 6


def test_a_forgotten_run_leaves_no_secret(tmp_path: Path) -> None:
    mien.anonymize_dataset(album(tmp_path / "src", 4), tmp_path / "dst", FREE, forget=True)
    assert not (tmp_path / "dst.work").exists()


def test_one_image_repeats_by_its_seed_or_within_the_process() -> None:
    image = squares(ANNA, BERT)
    anonymizer = mien.Anonymizer(FREE)
    by_seed = [anonymizer.anonymize(image, seed=seed).image for seed in (5, 5, 6, 7)]
    assert np.array_equal(by_seed[0], by_seed[1])
    assert not np.array_equal(by_seed[0], by_seed[2]) or not np.array_equal(by_seed[0], by_seed[3])
    assert np.array_equal(anonymizer.anonymize(image).image, anonymizer.anonymize(image).image)
    names = [anonymizer.anonymize(image, seed=seed).faces[0].file for seed in (5, 5, 6)]
    assert names[0] == names[1] != names[2]
