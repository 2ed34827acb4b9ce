from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.fake_run import call
from mien.anonymizer.detect import overlap
from mien.errors import OutputError
from mien.models.bundle import Networks
from mien.samples import PORTRAIT, write_samples


@pytest.fixture(scope="module")
def samples(weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    weights("astronaut")
    weights("mobilestylegan")
    folder = tmp_path_factory.mktemp("samples") / "not there yet"
    paths = write_samples(folder)
    assert sorted(paths) == sorted(folder.iterdir())
    return {path.name: path for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "faces"), [
    ("astronaut.png", "PNG", 1), ("group wall.jpg", "JPEG", 6), ("group strip.png", "PNG", 3)])
def test_every_person_in_a_sample_is_found(samples: dict[str, Path], networks: Networks, name: str, kind: str,
                                           faces: int) -> None:
    with Image.open(samples[name]) as image:
        assert image.format == kind and image.mode == "RGB"
        assert not image.getexif()
        pixels = np.asarray(image)
    found = networks.detector.detect(pixels)
    assert len(found) == faces
    assert all(face.score > 0.6 and min(face.box[2:]) > PORTRAIT / 4 for face in found)
    assert not any(overlap(a.box, b.box) for a in found for b in found if a is not b)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        write_samples(tmp_path / "file")
    done = call("samples", tmp_path / "file", quick=False)
    assert done.returncode == 4 and "Traceback" not in done.stderr
