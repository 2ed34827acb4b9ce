"""All steps one after another, with the real networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import Result

from helpers.face_folders import codes, lines, refused, run, shown
from mien.errors import VerificationError
from mien.images.decode import read_photo
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.recipe import Recipe
from mien.steps.codes_file import read_codes
from mien.steps.face_folder import INVERSION, RESULT, RESULT_PICTURE, FaceFolder, Pairing

SMALL = """
seed = 0
batch = 2
[pool]
size = 64
[invert]
steps = 2
shared_steps = 1
[optimize]
steps = 2
[verify]
attempts = 1
"""


@pytest.fixture(scope="module")
def portrait(weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of two generated faces, made upright by its EXIF alone."""
    net = MobileStyleGAN.from_file(weights("mobilestylegan"))
    with torch.inference_mode():
        w = net.truncate(net.map(torch.randn(2, 512, generator=torch.Generator().manual_seed(3))), 0.5)
        pictures = [net(one.expand(1, 16, -1))[0] for one in w]
    both = torch.nn.functional.avg_pool2d(torch.cat(pictures, dim=2), 4)  # [3, 256, 512]
    pixels = ((both.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    exif = Image.Exif()
    exif[0x0112] = 3
    path = tmp_path_factory.mktemp("photos") / "two people.jpg"
    Image.fromarray(np.ascontiguousarray(pixels[::-1, ::-1])).save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, Path]:
    (tmp_path / "small.toml").write_text(SMALL)
    return "--recipe", tmp_path / "small.toml"


def succeed(*arguments: str | Path) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result


@pytest.mark.slow
def test_the_commands_one_after_another_are_the_pipeline(
        portrait: Path, small: tuple[str, Path], tmp_path: Path) -> None:
    from mien.anonymizer.detect import detect
    from mien.anonymizer.load import prepare
    from mien.anonymizer.pipeline import Pipeline

    folder, out = tmp_path / "faces", tmp_path / "out.jpg"
    # A run that changes all layers begins at the guess; the command refines it as far as it is told to.
    small[1].write_text(SMALL.replace("[invert]\nsteps = 2", "[invert]\nsteps = 0"))
    rows = lines(succeed("detect", portrait, *small).stdout)
    assert len(rows) == 2
    assert "2 crops written" in succeed("align", portrait, folder, *small).stderr
    for command in ("invert", "pair", "optimize"):
        succeed(command, folder, *small)
    succeed("render", folder)
    face_folder = FaceFolder(folder)
    assert face_folder.names() == ["two people.0", "two people.1"]

    recipe = Recipe.load(str(small[1]))
    ready = prepare(recipe)
    pipeline = Pipeline(ready.networks, ready.pool, recipe)
    photo = read_photo(portrait, portrait.name)
    work = pipeline.prepare(photo, detect(ready.networks, photo))
    subjects = list(work.subjects)
    pipeline.run([work])
    for name, subject in zip(face_folder.names(), subjects, strict=True):
        record = face_folder.record(name)
        assert subject.match is not None and subject.codes is not None and subject.picture is not None
        assert record.pair is not None and record.pair.index == subject.match.index
        assert record.attribute_distance == pytest.approx(subject.outcome.attribute_distance, abs=1e-4)
        assert record.steps == 2
        made = read_codes(face_folder.path(name, RESULT), ready.networks.generator)
        assert torch.allclose(made, subject.codes, atol=1e-4)
        picture = shown(face_folder.path(name, RESULT_PICTURE))
        assert np.abs(picture.astype(int) - subject.picture).max() <= 1

    judged = run("verify", folder, *small)
    verdicts = lines(judged.stdout)
    assert [row["face"] for row in verdicts] == face_folder.names()
    assert isinstance(judged.exception, VerificationError) == any(row["same"] for row in verdicts)
    statuses = lines(succeed("blend", portrait, folder, out, *small).stdout)
    assert {row["face"] for row in statuses} == set(face_folder.names())
    after = lines(succeed("verify", portrait, out, *small).stdout)
    assert not any(row["same"] for row in after if row["face_a"] == row["face_b"])


@pytest.mark.slow
def test_stop_look_swap_and_go_on(portrait: Path, small: tuple[str | Path, ...], tmp_path: Path,
                                  weights: Callable[[str], Path]) -> None:
    folder = tmp_path / "faces"
    small = (*small, "--set", "optimize.layers=[3, 4, 5, 6, 7]")  # as the paper: the others stay the inversion's
    succeed("align", portrait, folder, *small)
    face_folder = FaceFolder(folder)
    first, second = face_folder.names()
    net = MobileStyleGAN.from_file(weights("mobilestylegan"))
    own = codes(11) * 0.5
    save_file({"w_plus": net.color(own)}, face_folder.path(first, INVERSION))
    said = succeed("invert", folder, *small).stderr
    assert "1 inversions made, 1 kept" in said
    assert torch.allclose(read_codes(face_folder.path(first, INVERSION), net), own, atol=1e-3)
    succeed("pair", folder, *small)
    record = face_folder.record(first)
    assert record.pair is not None and face_folder.record(second).pair != record.pair
    face_folder.keep(first, record.model_copy(update={"pair": Pairing(index=5)}))

    other = record.model_copy(update={"pair": Pairing(index=5, pool="pool-64-other")})
    face_folder.keep(second, other)
    assert "paired in another pool" in refused(run("optimize", folder, *small)).message
    face_folder.keep(second, face_folder.record(second).model_copy(update={"pair": Pairing(index=64)}))
    assert "not in the pool of 64" in refused(run("optimize", folder, *small)).message
    face_folder.keep(second, face_folder.record(second).model_copy(update={"pair": Pairing(index=6)}))
    succeed("optimize", folder, *small)
    made = read_codes(face_folder.path(first, RESULT), net)
    assert torch.allclose(made[8:], own[8:], atol=1e-3)  # outer layers stay the inversion's, mine

    before = face_folder.path(first, RESULT).read_bytes()
    face_folder.path(second, RESULT).unlink()
    assert "1 results made, 1 kept" in succeed("optimize", folder, *small).stderr
    assert face_folder.path(first, RESULT).read_bytes() == before
    os.utime(face_folder.path(first, INVERSION))
    assert f"{first}: kept, but older" in succeed("optimize", folder, *small).stderr

    succeed("render", face_folder.path(first, RESULT), tmp_path / "one.png", "--quiet")
    succeed("render", folder)
    assert np.array_equal(shown(tmp_path / "one.png"), face_folder.picture(first))
    assert face_folder.picture(first).shape == (1024, 1024, 3)
