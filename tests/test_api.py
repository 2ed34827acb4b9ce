from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from helpers import fake_run
from helpers.fake_run import ANNA, BERT, STUBBORN, TINY, album, changed, save, squares
from mien.anonymizer import load as setup
from mien.anonymizer.load import Loaded
from mien.errors import FaceError, UsageError
from mien.jobs.progress import Progress
from mien.jobs.published import published_recipe
from mien.recipe import Recipe
from mien.types import Pixels
from mien.util.devices import CPU

IMAGE = np.zeros((8, 9, 3), np.uint8)


def test_importing_mien_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "cv2", "pyarrow", "PIL")
    code = f"import mien, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900,
                            env=fake_run.environment())
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("image", [
    IMAGE[..., 0], IMAGE[..., :1], np.zeros((8, 9, 4), np.uint8), IMAGE[None], IMAGE[:0], IMAGE[:, :0],
    IMAGE.astype(np.float32), IMAGE.astype(np.int64), IMAGE.astype(bool), IMAGE.astype(">u2"), [[1, 2, 3]],
    "a.jpg", None,
])
def test_what_is_no_image_is_refused_before_anything_is_loaded(
    image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.api._loaded", lambda *_: pytest.fail("the image was not checked first"))
    with pytest.raises(UsageError, match=r"expected an image \[H, W, 3\] of uint8 RGB, got"):
        mien.anonymize(image)


def test_one_image_knows_no_persons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.api._loaded", lambda *_: pytest.fail("the recipe was not checked first"))
    with pytest.raises(UsageError, match="no people to tell apart"):
        mien.anonymize(IMAGE, TINY.with_changes({"identity": "per-person"}))
    with pytest.raises(UsageError, match="there is no recipe 'nonsense'"):
        mien.anonymize(IMAGE, "nonsense")


def test_an_image_comes_back_with_what_became_of_its_faces(brush: None) -> None:
    image = squares(ANNA, STUBBORN)
    before = image.copy()
    result = mien.anonymize(image, TINY)
    assert (image == before).all(), "the caller's image is the caller's"
    assert [row.status for row in result.faces] == ["anonymized", "blurred"]
    assert result.image.shape == image.shape and result.image.dtype == np.uint8
    assert all(changed(image, result.image, row.box) for row in result.faces)
    assert (result.image[:, :16] == image[:, :16]).all()


def test_an_image_is_searched_again_too(brush: None) -> None:
    image = squares(ANNA, BERT, shy=1)
    result = mien.anonymize(image, TINY)
    assert [row.status for row in result.faces] == ["anonymized", "blurred"]
    assert changed(image, result.image, result.faces[1].box)


@pytest.mark.parametrize("more", [4, 5])
def test_an_image_comes_back_only_after_a_search_that_finds_nothing(
    brush: None, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    networks: Any = fake_run.RestlessNetworks(more)
    monkeypatch.setattr("mien.api._loaded", lambda *_: replace(fake_run.square_ready(), networks=networks))
    if more == 4:
        assert [row.status for row in mien.anonymize(fake_run.ground(96, 128), TINY).faces] == ["blurred"] * more
        return
    with pytest.raises(FaceError, match="every search"):
        mien.anonymize(fake_run.ground(96, 128), TINY)


def test_an_image_may_be_any_view(brush: None) -> None:
    image = np.ascontiguousarray(squares(ANNA)[:, ::-1])
    result = mien.anonymize(image[:, ::-1], TINY)
    assert (result.image == mien.anonymize(squares(ANNA), TINY).image).all()
    frozen = squares(ANNA)
    frozen.flags.writeable = False
    assert mien.anonymize(frozen, TINY).faces[0].status == "anonymized"


def test_an_image_without_faces_stays(brush: None) -> None:
    for image in (IMAGE, fake_run.ground(60, 80), fake_run.ground(1, 1)):
        result = mien.anonymize(image, TINY)
        assert (result.image == image).all() and result.faces == []


@pytest.mark.parametrize("on_failure", ["error", "drop"])
def test_an_image_that_the_recipe_drops_is_not_given_back(brush: None, on_failure: str) -> None:
    recipe = TINY.with_changes({"on_failure": on_failure})
    with pytest.raises(FaceError, match="could not be anonymized"):
        mien.anonymize(squares(STUBBORN, ANNA), recipe)
    with pytest.raises(FaceError):  # and one in which a face is found late
        mien.anonymize(squares(ANNA, BERT, shy=1), recipe)


def test_a_folder_takes_names_as_text_and_tells_how_far_it_is(brush: None, tmp_path: Path) -> None:
    album(tmp_path / "src", 10)
    events: list[Progress] = []
    src, dst = str(tmp_path / "src"), str(tmp_path / "dst")
    summary = mien.anonymize_dataset(src, dst, TINY, progress=events.append)
    assert [event.photos for event in events if event.what == "photos indexed"] == [8, 10]
    photos = [event.photos for event in events if event.what == "photos"]
    assert photos == sorted(set(photos)) and {0, 8, 10} < set(photos)  # not only when a shard is whole
    assert {event.total for event in events} == {10}
    assert events[-1].faces == events[-1].new_faces == summary.faces == 14 and summary.photos == 10
    assert (tmp_path / "dst.work").is_dir()
    later: list[Progress] = []
    again = mien.anonymize_dataset(tmp_path / "src", tmp_path / "dst", TINY, progress=later.append)
    assert again.statuses == summary.statuses
    assert later[-1].faces == 14 and later[-1].new_faces == 0


def test_a_folder_takes_a_recipe_by_name_or_file(brush: None, tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(ANNA))
    (tmp_path / "my.toml").write_text(fake_run.TINY_TOML)
    mien.anonymize_dataset(tmp_path / "src", tmp_path / "a", str(tmp_path / "my.toml"))
    mien.anonymize_dataset(tmp_path / "src", tmp_path / "b", "fast")
    hashes = {fake_run.rows_in(tmp_path / name)[0]["recipe"] for name in "ab"}
    assert hashes == {published_recipe(TINY).hash, Recipe.load("fast").settled().hash}


def test_a_person_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.api._loaded", lambda *_: pytest.fail("the key was not asked for first"))
    save(tmp_path / "src" / "a.png", squares(ANNA))
    recipe = TINY.with_changes({"identity": "per-person"})
    with pytest.raises(UsageError, match="needs a secret key"):
        mien.anonymize_dataset(tmp_path / "src", tmp_path / "dst", recipe)
    with pytest.raises(UsageError, match=r"too short for a secret key \(5 bytes\)"):
        mien.anonymize_dataset(tmp_path / "src", tmp_path / "dst", recipe, key=b"short")


def test_the_library_leaves_what_the_command_leaves(brush: None, tmp_path: Path) -> None:
    src = album(tmp_path / "src", 6)
    summary = mien.anonymize_dataset(src, tmp_path / "one", TINY, with_originals=True)
    (tmp_path / "tiny.toml").write_text(fake_run.TINY_TOML)
    done = fake_run.call("anonymize", src, tmp_path / "two", "--recipe", tmp_path / "tiny.toml", "--with-originals")
    assert done.returncode == 0 and summary.complete, done.stderr
    for folder in ("", ".work"):
        one, two = (sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
                    for root in (tmp_path / f"one{folder}", tmp_path / f"two{folder}"))
        assert one == two and "report.html" in one
    assert fake_run.photos_in(tmp_path / "one") == fake_run.photos_in(tmp_path / "two")
    assert fake_run.rows_in(tmp_path / "one") == fake_run.rows_in(tmp_path / "two")
    mien.anonymize_dataset(src, tmp_path / "bare", TINY, report=False, forget=True)
    assert not (tmp_path / "bare" / "report.html").exists() and not (tmp_path / "bare.work").exists()


def test_where_nothing_can_be_read_both_say_why(brush: None, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(mien.MienError, match=r"no photograph could be read: a\.jpg: "):
        mien.anonymize_dataset(tmp_path / "src", tmp_path / "one", TINY)
    done = fake_run.call("anonymize", tmp_path / "src", tmp_path / "two", "--quiet")
    assert done.returncode == 1 and "no photograph could be read: a.jpg: " in done.stderr
    assert f"mien.json in {tmp_path / 'two'}" in done.stderr


def test_a_real_image(ready: Loaded, portraits: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.api._loaded", lambda *_: ready)
    result = mien.anonymize(portraits[0], TINY.with_changes({"optimize.steps": 6, "verify.attempts": 3}), name="a")
    (row,) = result.faces
    assert row.status == "anonymized" and changed(portraits[0], result.image, row.box)
    assert (result.image[:8] == portraits[0][:8]).all() and (result.image[:, :8] == portraits[0][:, :8]).all()


class NoNetworks:
    """A model set that loads what it is told."""

    pool = ("generator",)

    def __init__(self, load: Callable[..., Any]) -> None:
        self.made = load

    def gather(self, progress: object) -> dict[str, Path]:
        return {}

    def hashes(self) -> dict[str, str]:
        return {"generator": "0"}

    def load(self, paths: object, *score: object, device: object = None) -> Any:
        return self.made(*score)


def test_the_pool_does_not_depend_on_how_unsure_faces_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shared by all recipes that differ in this alone."""
    loaded: list[tuple[Any, ...]] = []
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    networks = NoNetworks(lambda *score: loaded.append(score) or score)
    monkeypatch.setattr("mien.anonymizer.load.model_set", lambda *_: networks)
    monkeypatch.setattr("mien.anonymizer.load.build_pool", lambda networks, *_: networks)
    ready = setup.prepare(TINY.with_changes({"detect.score": 0.8}))
    assert ready.networks == (0.8, "float32", CPU) and ready.pool == ()  # the pool's detector has the default threshold


def test_the_pool_does_not_depend_on_who_finds_a_photo_s_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mien.anonymizer.load.model_set", lambda *asked: NoNetworks(lambda *_: asked))
    monkeypatch.setattr("mien.anonymizer.load.build_pool", lambda networks, *_: networks)
    ready = setup.prepare(TINY.with_changes({"detect.network": "s3fd"}))
    assert ready.networks == ("mobile", "auto", "s3fd") and ready.pool == ("mobile", "auto")


def test_runs_that_start_together_build_one_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(networks: Any, settings: Any, folder: Path, key: str, progress: Any) -> str:
        time.sleep(0.3)
        (folder / key).touch()
        built.append(key)
        return key

    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mien.anonymizer.load.model_set", lambda *_: NoNetworks(lambda *_: None))
    monkeypatch.setattr("mien.anonymizer.load.load_pool", lambda folder, key: key if (folder / key).exists() else None)
    monkeypatch.setattr("mien.anonymizer.load.build_pool", build)
    pools: list[Any] = []
    threads = [threading.Thread(target=lambda: pools.append(setup.prepare(TINY).pool)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and pools == built * 3
