"""The public interface as its users meet it: names, types, threads, and what importing it does not do."""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from helpers import fake_run
from helpers.fake_run import ANNA, BERT, CLEO, TINY, squares
from mien import api
from mien.anonymizer.load import Loaded
from mien.errors import UsageError
from mien.types import Pixels

LOADED = api._loaded  # which quick runs replace

USERS_SCRIPT = '''
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mien


def listen(progress: mien.Progress) -> None:
    print(f"{progress.photos} of {progress.total} {progress.what}, {progress.faces} faces")


def one(image: npt.NDArray[np.uint8]) -> list[str]:
    recipe: mien.Recipe = mien.Recipe.load("fast").with_changes({"seed": 7})
    with mien.Anonymizer(recipe, device="cpu") as anonymizer:
        result: mien.Result = anonymizer.anonymize(image, name="a.png", seed=3)
    shorthand = mien.anonymize(result.image, "fast", name="b.png")
    faces: list[mien.FaceOutcome] = shorthand.faces
    return [f"{face.status} {face.reason} {face.judge_distance}" for face in faces]


def many(src: Path, dst: str) -> int:
    try:
        summary: mien.Summary = mien.anonymize_dataset(src, dst, "default", workers=mien.Workers(4), progress=listen)
    except mien.errors.OutputError as error:
        print(error.message, error.hint, error.exit_code)
        raise
    evaluation: mien.Evaluation = mien.evaluate(src, dst)
    print(mien.__version__, evaluation.faces, summary.statuses["anonymized"], [one.file for one in summary.skipped])
    return summary.photos
'''


def test_everything_promised_is_there() -> None:
    promised = {"Anonymizer", "Evaluation", "FaceOutcome", "MienError", "Progress", "Recipe", "Result", "Summary",
                "Workers", "__version__", "anonymize", "anonymize_dataset", "errors", "evaluate"}
    assert set(mien.__all__) == promised <= set(dir(mien))
    for name in promised - {"__version__", "errors"}:
        assert getattr(mien, name).__module__.startswith("mien."), name
    assert mien.__version__ == importlib.metadata.version("mien")
    assert issubclass(mien.errors.UsageError, mien.MienError)
    with pytest.raises(AttributeError, match="no attribute 'anonymize_everything'"):
        mien.anonymize_everything  # noqa: B018


def test_a_user_s_script_passes_the_strict_type_checker(tmp_path: Path) -> None:
    """Against the package as it is installed, without this project's settings."""
    (tmp_path / "script.py").write_text(USERS_SCRIPT)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\ncache_dir = cache\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "script.py"]

    def check() -> str:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900,
                              env=fake_run.environment(MYPYPATH="")).stdout

    assert "Success: no issues found in 1 source file" in check()
    (tmp_path / "script.py").write_text(USERS_SCRIPT.replace("progress.photos", "progress.fotos"))
    assert '"Progress" has no attribute "fotos"' in check()  # it is the types that pass, not their absence


IMPORT = """
import logging, os, sys, warnings
import cv2, torch  # which set LD_LIBRARY_PATH and filter warnings themselves
from PIL import Image, ImageFile
def now():
    log = logging.getLogger()
    return {"environment": dict(os.environ), "largest image": Image.MAX_IMAGE_PIXELS, "plugins": sorted(Image.OPEN),
            "truncated images": ImageFile.LOAD_TRUNCATED_IMAGES, "warnings": list(warnings.filters),
            "log": (log.handlers[:], log.level), "threads": (torch.get_num_threads(), cv2.getNumThreads())}
before = now()
import mien
mien.anonymize, mien.anonymize_dataset, mien.evaluate, mien.Evaluation
after = now()
print("changed:", *[name for name in before if before[name] != after[name]])
"""


def test_importing_all_of_it_changes_nothing_in_the_process() -> None:
    environment = {name: value for name, value in fake_run.environment().items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, timeout=900, env=environment)
    assert done.stdout.strip() == "changed:", done.stdout + done.stderr


def test_it_tells_its_log_what_it_does_and_prints_nothing(brush: None, tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO, "mien"):
        mien.anonymize_dataset(fake_run.album(tmp_path / "src", 3), tmp_path / "dst", TINY)
    assert any("3 photos" in record.getMessage() for record in caplog.records)
    assert {record.name.partition(".")[0] for record in caplog.records} == {"mien"}
    assert capsys.readouterr() == ("", "")
    assert any(isinstance(one, logging.NullHandler) for one in logging.getLogger("mien").handlers)


def test_a_closed_anonymizer_says_so(brush: None) -> None:
    with mien.Anonymizer(TINY) as anonymizer:
        assert anonymizer.anonymize(squares(ANNA)).faces[0].status == "anonymized"
    with pytest.raises(UsageError, match="closed"):
        anonymizer.anonymize(squares(ANNA))


def started(images: list[Pixels], monkeypatch: pytest.MonkeyPatch, **asked: Any) -> list[tuple[str, int]]:
    """The names of the photos, and the seeds, that faces begin with."""
    seen: list[tuple[str, int]] = []
    prepare = fake_run.Painter.prepare

    def noted(self: fake_run.Painter, photo: Any, faces: Any) -> Any:
        seen.append((photo.name, self.recipe.seed))
        return prepare(self, photo, faces)

    monkeypatch.setattr(fake_run.Painter, "prepare", noted)
    anonymizer = mien.Anonymizer(TINY)
    for image in images:
        anonymizer.anonymize(image, **asked)
    return seen


def test_images_without_a_name_do_not_all_begin_alike(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = squares(ANNA), squares(BERT)
    (a, _), (b, _), (again, _) = started([one, other, one.copy()], monkeypatch)
    assert a == again != b and len(a) == len(b) == 32
    # Who has the image alone cannot compute the name: another process has another secret.
    code = ("import numpy as np, sys; from mien.anonymizer.image_anonymizer import _default_name; "
            "print(_default_name(np.load(sys.argv[1])))")
    assert a != _in_a_process(code, one)


def _in_a_process(code: str, image: Pixels) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "image.npy", image)
        done = subprocess.run([sys.executable, "-c", code, str(Path(folder) / "image.npy")], capture_output=True,
                              text=True, timeout=900, env=fake_run.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_name_and_seed_are_the_caller_s(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started([squares(ANNA)], monkeypatch, name="a.png", seed=5) == [("a.png", 5)]


def test_threads_that_share_an_anonymizer_get_what_one_gets(ready: Loaded, portraits: list[Pixels],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real networks: OpenCV's detector, which keeps its buffers, is one of them."""
    monkeypatch.setattr("mien.anonymizer.image_anonymizer.prepare", lambda *_, **__: ready)
    anonymizer = mien.Anonymizer(TINY, "cpu")
    images = [portraits[i] if i < 3 else np.tile(portraits[3], (2, 2, 1)) for i in range(4)]
    alone = [anonymizer.anonymize(image, name=str(i)) for i, image in enumerate(images)]
    came: dict[tuple[int, int], Any] = {}
    gate = threading.Barrier(4)

    def call(number: int) -> None:
        gate.wait()
        for turn in range(2):
            place = (number + turn) % 4
            try:
                came[number, turn] = place, anonymizer.anonymize(images[place], name=str(place))
            except BaseException as error:
                came[number, turn] = place, error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert len(came) == 8
    for place, result in came.values():
        assert isinstance(result, mien.Result), result
        assert (result.image == alone[place].image).all()
        rows = [replace(row, seconds=0.0) for row in result.faces]
        assert rows == [replace(row, seconds=0.0) for row in alone[place].faces]


@pytest.fixture
def loads(brush: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry each time that networks are loaded."""
    seen: list[int] = []

    def load(*asked: Any, **more: Any) -> Loaded:
        seen.append(1)
        time.sleep(0.2)
        return fake_run.square_ready()

    monkeypatch.setattr(api, "prepare", load)
    monkeypatch.setattr(api, "_loaded", LOADED)
    monkeypatch.setattr(api, "_prepared", lru_cache(maxsize=2)(lambda recipe, device: api.prepare(recipe)))
    return seen


def test_threads_that_ask_at_once_load_once(loads: list[int]) -> None:
    gate = threading.Barrier(4)

    def call() -> None:
        gate.wait()
        mien.anonymize(squares(CLEO), TINY)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert loads == [1]


def test_one_image_and_a_dataset_share_the_networks(loads: list[int], tmp_path: Path) -> None:
    mien.anonymize(squares(CLEO), TINY)
    mien.anonymize_dataset(fake_run.album(tmp_path / "src", 1), tmp_path / "dst", TINY)
    assert loads == [1]


def test_to_close_one_leaves_calls_that_are_going_on(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    anonymizer = mien.Anonymizer(TINY)
    prepare = fake_run.Painter.prepare

    def close_first(self: fake_run.Painter, photo: Any, faces: Any) -> Any:
        anonymizer.close()
        return prepare(self, photo, faces)

    monkeypatch.setattr(fake_run.Painter, "prepare", close_first)
    assert anonymizer.anonymize(squares(ANNA)).faces[0].status == "anonymized"
    with pytest.raises(UsageError, match="closed"):
        anonymizer.anonymize(squares(ANNA))
