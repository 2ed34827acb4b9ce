"""Photographs of generated people, in LFW's layout, that evaluations are tested on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import fake_run
from helpers.fake_run import save
from mien.models.generators.mobilestylegan import MobileStyleGAN


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, weights: Callable[[str], Path]) -> Path:
    """Four people, two photographs of each: the second darker and smaller in its frame."""
    folder = tmp_path_factory.mktemp("lfw")
    generator = MobileStyleGAN.from_file(weights("mobilestylegan"))
    for number, picture in enumerate(fake_run.portraits(generator, list(range(701, 701 + 4)))):
        name = f"Person_{number}"
        (folder / name).mkdir()
        save(folder / name / f"{name}_0001.png", picture)
        save(folder / name / f"{name}_0002.png", np.pad(picture // 2 + 20, ((12, 12), (12, 12), (0, 0)), mode="edge"))
    return folder
