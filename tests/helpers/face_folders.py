"""What the tests of `mien steps` share: the program, face folders of small pictures, networks that cost nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from typer.testing import CliRunner, Result

from mien.cli.steps import steps_app
from mien.errors import UsageError
from mien.images.decode import read_photo
from mien.recipe import Recipe
from mien.steps.align import align_photo
from mien.steps.context import StepContext
from mien.steps.face_folder import RESULT_PICTURE, FaceFolder, write_picture
from mien.types import Face, Pixels

PLACES = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])


def run(*arguments: str | Path) -> Result:
    """Runs `mien steps` with these arguments in this process."""
    return CliRunner().invoke(steps_app, [str(argument) for argument in arguments])


def refused(result: Result) -> UsageError:
    assert isinstance(result.exception, UsageError), result.output
    return result.exception


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def waves(height: int, width: int) -> Pixels:
    """A smooth picture: unlike noise it survives JPEG."""
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 23 + i) + np.sin(y / (17 + 5 * i)) for i in range(3)]
    return (127 + 60 * np.stack(planes, axis=-1)).astype(np.uint8)


def face_at(x: float, y: float, side: float = 80) -> Face:
    points = (PLACES * side + [x, y]).astype(np.float32)
    return Face((float(x), float(y), float(side), float(side)), points, 0.9)


@dataclass
class Networks:
    """A detector that knows where the faces are, and a judge who goes by the color between the eyes."""

    faces: list[Face]
    later: list[Face] = field(default_factory=list)  # found only from the second search on
    searches: int = 0

    @property
    def detector(self) -> Networks:
        return self

    @property
    def judge(self) -> Networks:
        return self

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        self.searches += 1
        return self.faces + (self.later if self.searches > 1 else [])

    def embed(self, photo: Pixels, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        at = points.mean(axis=1).round().astype(int)  # [N, 2]
        colors = [photo[y - 4 : y + 5, x - 4 : x + 5].mean(axis=(0, 1)) / 100 for x, y in at]
        return np.pad(np.array(colors, np.float32).reshape(-1, 3), ((0, 0), (0, 125)))


def step_context(networks: Networks, quiet: bool = True, recipe: Recipe | None = None) -> StepContext:
    made = StepContext(recipe or Recipe(), quiet)
    made.__dict__["networks"] = networks
    made.__dict__["weights"] = {"fake": "0" * 64}
    return made


def aligned(tmp_path: Path, faces: list[Face], name: str = "photo.png") -> tuple[Path, FaceFolder]:
    """Writes a photo and aligns its faces into a face folder."""
    photo = tmp_path / name
    write_picture(photo, waves(200, 300))
    align_photo(photo, tmp_path / "faces", step_context(Networks(faces)), again=False)
    return photo, FaceFolder(tmp_path / "faces")


def draw(face_folder: FaceFolder, name: str, value: int) -> None:
    write_picture(face_folder.path(name, RESULT_PICTURE), np.full((256, 256, 3), value, np.uint8))


def shown(path: Path) -> Pixels:
    return read_photo(path, "a photo").pixels


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def codes(seed: int = 0) -> torch.Tensor:
    return torch.randn(16, 512, generator=torch.Generator().manual_seed(seed))
