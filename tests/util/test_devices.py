"""Networks on a device, all else in this machine's memory: what would stop a run on a GPU stops these tests."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.fake_device import ELSEWHERE, Elsewhere
from helpers.fake_run import TINY, album, call
from helpers.generated_people import Generated
from mien.anonymizer.detect import detect
from mien.anonymizer.invert import invert
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import faces_of
from mien.anonymizer.pipeline import Pipeline, WorkItem
from mien.anonymizer.pool import build_pool
from mien.anonymizer.render import render_styles
from mien.errors import UsageError
from mien.jobs.executors.workers import Workers
from mien.models.bundle import Networks
from mien.models.detection.fan import FAN
from mien.models.detection.s3fd import S3FD, ChannelNorm
from mien.models.detection.s3fd_fan import LandmarkDetector
from mien.models.generators.stylegan2 import StyleGAN2, expected_shapes, prepare_stylegan2
from mien.models.model_sets import model_set
from mien.recipe import Recipe
from mien.steps.codes_file import read_codes, write_codes
from mien.types import Encoding, Photo
from mien.util.devices import CPU, open_device, split_devices
from mien.util.precision import fastest, reduced

FEW = {"optimize.steps": 2, "verify.attempts": 1, "batch": 4}
RECIPES = {"default": Recipe().with_changes(FEW), "fast": Recipe.load("fast").with_changes(FEW),
           "published": Recipe.load("falco-mobile").with_changes(FEW),
           "per-person": Recipe().with_changes(FEW | {"optimize.layers": [3, 4, 5, 6, 7], "invert.steps": 2})}


@pytest.fixture(scope="module")
def far(ready: Loaded) -> Networks:
    """The real networks, elsewhere."""
    del ready  # their files are there
    chosen = model_set("mobile")
    with Elsewhere():
        return chosen.load(chosen.gather(), device=ELSEWHERE)


@pytest.fixture(scope="module")
def photo(generated: Generated) -> Photo:
    """Two people side by side."""
    return Photo("two.png", np.hstack(generated.photos), Encoding("PNG", "RGB"))


def anonymized(networks: Networks, ready: Loaded, recipe: Recipe, photo: Photo) -> WorkItem:
    pipeline = Pipeline(networks, ready.pool, recipe)
    work = pipeline.prepare(photo, detect(networks, photo))
    pipeline.run([work])
    assert work.pixels is not None
    pipeline.finish(work, lambda work: work.pixels)  # type: ignore[arg-type,return-value]
    return work


def test_what_is_here_and_what_is_elsewhere_do_not_mix(far: Networks) -> None:
    with Elsewhere():
        there = torch.ones(2, 2, device=ELSEWHERE)
        assert there.device == ELSEWHERE and (there + 1).sum().item() == 8
        with pytest.raises(RuntimeError, match="here"):
            there + torch.ones(2, 2)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="here"):
            far.features(torch.zeros(1, 3, 256, 256))
    assert far.device == ELSEWHERE


@pytest.mark.parametrize("name", ["default", *(pytest.param(name, marks=pytest.mark.slow) for name in RECIPES
                                               if name != "default")])
def test_a_photo_becomes_the_same_elsewhere(ready: Loaded, far: Networks, photo: Photo, name: str) -> None:
    with Elsewhere():
        there = anonymized(far, ready, RECIPES[name], photo)
    here = anonymized(ready.networks, ready, RECIPES[name], photo)
    assert len(here.outcomes) == 2
    for a, b in zip(here.outcomes, there.outcomes, strict=True):
        assert (a.status, a.reason, a.steps, a.box) == (b.status, b.reason, b.steps, b.box)
        if a.judge_distance is not None and b.judge_distance is not None:
            assert a.judge_distance == pytest.approx(b.judge_distance, abs=0.02)
    assert here.pixels is not None and there.pixels is not None
    assert np.abs(here.pixels.astype(int) - there.pixels.astype(int)).mean() < 0.1


@pytest.mark.slow
def test_inversion_and_pool_elsewhere(ready: Loaded, far: Networks, generated: Generated, tmp_path: Path) -> None:
    settings = Recipe().invert.model_copy(update={"steps": 2, "shared_steps": 1})
    few = TINY.pool.model_copy(update={"size": 8})
    with Elsewhere():
        codes = invert(far, faces_of(far, generated.found, generated.crops), settings).codes
        there = build_pool(far, few, tmp_path, "there")
    assert torch.allclose(codes, invert(ready.networks, generated.faces, settings).codes, atol=1e-3)
    here = build_pool(ready.networks, few, tmp_path, "here")
    assert torch.allclose(there.codes, here.codes, atol=1e-5)
    assert torch.allclose(there.identities, here.identities, atol=1e-3)


def test_the_published_detector_elsewhere() -> None:
    torch.manual_seed(0)
    boxes, points = S3FD(), FAN()
    for part in boxes.modules():
        if isinstance(part, ChannelNorm):
            torch.nn.init.constant_(part.weight, 10)
    photo = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    score = float(boxes.detect(image, 0.05)[:2, 4].mean())  # the surest alone is above
    (one,) = LandmarkDetector(boxes, points, score).detect(photo)
    with Elsewhere():
        (other,) = LandmarkDetector(boxes.to(ELSEWHERE), points.to(ELSEWHERE), score, ELSEWHERE).detect(photo)
    assert one.box == pytest.approx(other.box, abs=0.1) and np.abs(one.points - other.points).max() < 2


def test_stylegan2_elsewhere() -> None:
    """In W+, and in S space."""
    torch.manual_seed(0)
    state = prepare_stylegan2({name: torch.randn(shape) for name, shape in expected_shapes(64).items()})
    here, codes = StyleGAN2(state), torch.randn(2, 10, 512)
    with torch.inference_mode():
        one = here(here.color(codes)), here.synthesize(here.styles(here.color(codes)), 32)
    with Elsewhere():
        far = StyleGAN2(state).to(ELSEWHERE)
        other = far(far.color(codes)).cpu(), far.synthesize(far.styles(far.color(codes)), 32).cpu()
        assert len(render_styles(far, far.styles(far.color(codes)))) == 2
    for a, b in zip(one, other, strict=True):
        assert (a - b).abs().max() < 1e-3 * a.std()


def test_codes_are_written_and_read_elsewhere(far: Networks, tmp_path: Path) -> None:
    codes = torch.randn(16, 512)
    with Elsewhere():
        write_codes(tmp_path / "codes", codes, far.generator)
        assert torch.equal(read_codes(tmp_path / "codes", far.generator), codes)
        save_file({"w_plus": far.generator.color(codes).cpu()}, tmp_path / "w")
        assert torch.allclose(read_codes(tmp_path / "w", far.generator), codes, atol=1e-3)


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_device("cpu") == CPU
    for name in ("nonsense", "cuda:99", "meta:-2", ""):
        with pytest.raises(UsageError, match=f"there is no device '{name}'"):
            open_device(name)
    assert split_devices("cuda:0, cuda:1") == ("cuda:0", "cuda:1")
    for names in ("", "cuda:0,,cpu"):
        with pytest.raises(UsageError, match="a device without a name"):
            split_devices(names)
    monkeypatch.setenv("MIEN_DEVICE", "nonsense")
    with pytest.raises(UsageError, match="there is no device 'nonsense'"):
        open_device("auto")
    assert open_device("cpu") == CPU
    for name in ("cpu", ""):
        monkeypatch.setenv("MIEN_DEVICE", name)
        assert open_device("auto") == CPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # there is one, but this torch cannot use it
    assert open_device("auto") == CPU
    for device in ("cuda:0", "cpu,cpu"):
        with pytest.raises(UsageError, match="with --engine ray"):
            Workers(engine="ray", device=device).check()
    assert Workers(engine="ray", device="cuda").here == "auto" and Workers(engine="ray", device="cpu").here == "cpu"


def test_each_device_has_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr("torch.cuda.device", nullcontext)
    for able in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True, able=able: able)
        assert fastest(gpu) == ("bfloat16" if able else "float32")
    with reduced(torch.zeros(1), torch.float32):
        assert not torch.is_autocast_enabled("cpu")
    with reduced(torch.zeros(1), torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")


def test_ranks_and_workers_take_devices_in_turn(tmp_path: Path) -> None:
    ranks = [Workers(rank=rank, world_size=4, device="cuda:0,cuda:1") for rank in range(4)]
    assert [one.here for one in ranks] == ["cuda:0", "cuda:1"] * 2
    result = call("anonymize", album(tmp_path / "src", 4), tmp_path / "dst", "--device", "cpu,cpu")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "dst" / "mien.json").read_text())
    assert (record["workers"], record["device"]) == (2, "cpu")


def test_a_device_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    src = album(tmp_path / "src", 1)
    for name, words in (("cuda:99", "there is no device 'cuda:99'"), ("cpu,", "a device without a name")):
        result = call("anonymize", src, tmp_path / "dst", "--device", name)
        assert result.returncode == 2 and words in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "dst").exists()


def test_too_little_memory_is_said_with_a_way_out(ready: Loaded, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("mien.anonymizer.pipeline.optimize_faces", full)
    with pytest.raises(UsageError, match="too little memory for 2 faces at once") as caught:
        anonymized(ready.networks, ready, RECIPES["default"], photo)
    assert "--batch 1" in caught.value.hint


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_photo_is_anonymized_on_a_gpu(ready: Loaded, photo: Photo, precision: str) -> None:
    chosen = model_set("mobile")
    networks = chosen.load(chosen.gather(), precision=precision, device=torch.device("cuda"))
    here = anonymized(ready.networks, ready, RECIPES["default"], photo)
    there = anonymized(networks, ready, RECIPES["default"], photo)
    assert [row.status for row in there.outcomes] == [row.status for row in here.outcomes]
    for a, b in zip(here.outcomes, there.outcomes, strict=True):
        assert a.judge_distance == pytest.approx(b.judge_distance, abs=0.15)
