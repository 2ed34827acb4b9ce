"""The judge's command on two photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from helpers.face_folders import lines, run
from mien.anonymizer.load import Loaded
from mien.errors import PhotoError
from mien.types import Pixels


def save(path: Path, pixels: Pixels) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_the_same_photo_verifies_and_another_person_does_not(ready: Loaded, portraits: list[Pixels],
                                                             tmp_path: Path) -> None:
    del ready
    one, two = (save(tmp_path / f"{i}.png", portraits[i]) for i in (0, 1))
    same, = lines(run("verify", one, one).stdout)
    assert same["same"] and same["distance"] < 1e-3
    other, = lines(run("verify", one, two).stdout)
    assert not other["same"] and other["distance"] > 0.6


def test_nobody_verifies_in_a_photo_without_a_face(ready: Loaded, portraits: list[Pixels], tmp_path: Path) -> None:
    del ready
    one = save(tmp_path / "one.png", portraits[0])
    empty = save(tmp_path / "empty.png", np.full((64, 64, 3), 90, np.uint8))
    gone = run("verify", one, empty)
    assert gone.exit_code == 0 and lines(gone.stdout) == []
    assert "none can verify" in gone.stderr
    assert isinstance(run("verify", empty, one).exception, PhotoError)
