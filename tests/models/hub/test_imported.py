"""Published checkpoints: taken in whatever form they come, refused when they are not what they seem."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from helpers.fake_wheels import on_small_disk
from mien.cli.models import models_app
from mien.errors import ModelError
from mien.models.detection.fan import FAN
from mien.models.detection.s3fd import S3FD
from mien.models.features.inception import Inception
from mien.models.features.vit import VisionTransformer
from mien.models.features.vit import expected_shapes as vit_shapes
from mien.models.generators.e4e import E4eEncoder
from mien.models.generators.stylegan2 import StyleGAN2, expected_shapes
from mien.models.hub.imported import import_file, published_folder, published_path, published_state, read_record
from mien.models.hub.published import PUBLISHED, recognize
from mien.models.recognition.arcface import ArcFace

State = dict[str, Tensor]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(models_app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def numbered(shapes: dict[str, tuple[int, ...]]) -> State:
    """Tensors of these shapes, each filled with a number of its own, so that none can stand for another."""
    return {key: torch.full(shape, 0.001 * i) for i, (key, shape) in enumerate(shapes.items())}


def module(network: nn.Module) -> State:
    return {key: torch.full_like(value, i % 100) for i, (key, value) in enumerate(network.state_dict().items())}


def genforce() -> State:
    kernels = {f"synthesis.layer{i}.filter.kernel": torch.ones(1, 1, 4, 4) for i in range(1, 17, 2)}
    return numbered(expected_shapes(1024)) | kernels | {"synthesis.upsample.kernel": torch.ones(1, 1, 4, 4)}


def dino() -> State:
    names = {"class_embedding": "cls_token", "positional_embedding": "pos_embed", "ln_post": "norm",
             "conv1": "patch_embed.proj", "transformer.resblocks": "blocks", "ln_1": "norm1", "ln_2": "norm2",
             "attn.in_proj_": "attn.qkv.", "attn.out_proj": "attn.proj", "c_fc": "fc1", "c_proj": "fc2"}
    state = {}
    for key, value in numbered(vit_shapes(16, clip=False)).items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = value[None, None] if key == "cls_token" else value[None] if key == "pos_embed" else value
    return state


def clip(patch: int) -> State:
    tower = {f"visual.{key}": value.half() for key, value in numbered(vit_shapes(patch, clip=True)).items()}
    return tower | {"token_embedding.weight": torch.zeros(10, 512), "logit_scale": torch.tensor(4.0)}


def last_layer(classes: int) -> State:
    return {"fc.weight": torch.zeros(classes, 2048), "fc.bias": torch.zeros(classes)}


def encoder() -> dict[str, Any]:
    state = {f"encoder.{key}": value for key, value in module(E4eEncoder()).items() if key != "latent_avg"}
    return {"state_dict": state | {"decoder.x": torch.zeros(1)}, "latent_avg": torch.full((1, 512), 7.0),
            "opts": argparse.Namespace(encoder_type="Encoder4Editing")}


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "genforce": (lambda: {"generator_smooth": genforce(), "discriminator": {"x": torch.zeros(2)}},
                 "stylegan2_ffhq1024"),
    "genforce without a smooth one": (lambda: {"generator": genforce()}, "stylegan2_ffhq1024"),
    "e4e": (encoder, "e4e"),
    "arcface": (lambda: module(ArcFace()), "arcface"),
    "arcface without counters": (
        lambda: {k: v for k, v in module(ArcFace()).items() if "num_batches" not in k}, "arcface"),
    "s3fd": (lambda: module(S3FD()), "s3fd"),
    "fan": (lambda: module(FAN()), "fan"),
    "fan without counters": (lambda: {k: v for k, v in module(FAN()).items() if "num_batches" not in k}, "fan"),
    "inception": (lambda: module(Inception()) | last_layer(1008), "inception"),
    "farl": (lambda: {"state_dict": clip(16)}, "farl"),
    "clip": (lambda: clip(32), "clip_vitb32"),
    "dino": (dino, "dino_vitb16"),
    "s3fd from several GPUs": (lambda: {f"module.{k}": v for k, v in module(S3FD()).items()}, "s3fd"),
    "farl from several GPUs": (lambda: {"state_dict": {f"module.{k}": v for k, v in clip(16).items()}}, "farl"),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_published_file_is_recognized_and_kept(tmp_path: Path, case: str, legacy: bool) -> None:
    if legacy and case not in ("genforce", "s3fd"):
        pytest.skip("two kinds show that torch's older format is read")
    content, name = CASES[case]
    torch.save(content(), tmp_path / "file.pth", _use_new_zipfile_serialization=not legacy)
    found = import_file(tmp_path / "file.pth")
    assert found.name == name and published_path(name) == found.path
    assert published_state(name) == "ready"
    record = read_record(name)
    assert record is not None and record["source"] == "file.pth" and record["card"]["license"]
    assert [path.name for path in published_folder().iterdir()] == [name]  # no workplace stays behind


def test_an_inception_of_other_classes_is_not_fid_s() -> None:
    with pytest.raises(ModelError, match="of 1000 classes, not the one of 1008"):
        recognize(module(Inception()) | last_layer(1000))


@pytest.mark.slow
def test_kept_weights_load_into_their_networks(tmp_path: Path) -> None:
    for case, load in (("genforce", StyleGAN2.from_file), ("e4e", E4eEncoder.from_file), ("arcface", ArcFace.from_file),
                       ("s3fd", S3FD.from_file), ("fan without counters", FAN.from_file),
                       ("inception", Inception.from_file),
                       ("farl", VisionTransformer.from_file), ("dino", VisionTransformer.from_file)):
        content, name = CASES[case]
        torch.save(content(), tmp_path / "file.pth")
        import_file(tmp_path / "file.pth")
        load(published_path(name))
    assert torch.equal(E4eEncoder.from_file(published_path("e4e")).latent_avg, torch.full((18, 512), 7.0))
    found = load_file(published_path("farl"))
    assert {value.dtype for value in found.values()} == {torch.float32}
    ours = load_file(published_path("stylegan2_ffhq1024"))
    assert torch.equal(ours["synthesis.layer3.weight"], genforce()["synthesis.layer3.weight"])


class Leaf(nn.Module):
    def __init__(self, state: State) -> None:
        super().__init__()
        tree: dict[str, State] = {}
        for key, value in state.items():
            head, _, rest = key.partition(".")
            if rest:
                tree.setdefault(head, {})[rest] = value
            else:
                self.register_parameter(key, nn.Parameter(value, requires_grad=False))
        for head, inside in tree.items():
            self.add_module(head, Leaf(inside))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_torchscript_archive_is_read_without_its_code(tmp_path: Path) -> None:
    state = clip(32)
    torch.jit.script(Leaf(state)).save(str(tmp_path / "ViT-B-32.pt"))
    found = import_file(tmp_path / "ViT-B-32.pt")
    assert (found.name, found.format) == ("clip_vitb32", "TorchScript archive")
    kept = load_file(found.path)
    assert torch.equal(kept["transformer.resblocks.11.mlp.c_fc.weight"],
                       state["visual.transformer.resblocks.11.mlp.c_fc.weight"].float())


class Bomb:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def hostile(folder: Path) -> dict[str, bytes]:
    marker = folder / "executed"
    torch.save({"generator": genforce() | {"x": Bomb(marker)}}, folder / "bomb.pth")
    torch.save(module(S3FD()), folder / "whole.pth")
    whole = (folder / "whole.pth").read_bytes()
    missing, bent, empty = module(S3FD()), module(S3FD()), module(S3FD())
    del missing["fc7.bias"]
    bent["fc7.bias"] = torch.zeros(5)
    empty["fc7.bias"] = torch.full((1024,), torch.nan)
    files = {"bomb": (folder / "bomb.pth").read_bytes(), "pickled bomb": pickle.dumps({"G_ema": Bomb(marker)}),
             "cut": whole[: len(whole) // 2], "cut early": whole[:100], "nothing": b"", "text": b"<html>not found",
             "flipped": whole[:3000] + bytes(64) + whole[3064:], "number": pickle.dumps(3)}
    for name, state in (("missing", missing), ("bent", bent), ("not finite", empty), ("unknown", {"a": torch.ones(2)})):
        torch.save(state, folder / "state.pth")
        files[name] = (folder / "state.pth").read_bytes()
    return files


def test_wrong_and_hostile_files_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    expected = {"missing": "lacks fc7.bias", "bent": "[5] where [1024] is wanted", "not finite": "not finite",
                "unknown": "no published network", "pickled bomb": "system", "cut": "", "bomb": ""}
    for name, data in hostile(tmp_path).items():
        file = tmp_path / "hostile file.pth"
        file.write_bytes(data)
        with pytest.raises(ModelError) as refused:
            import_file(file)
        assert "hostile file.pth" in refused.value.message, name
        assert expected.get(name, "") in refused.value.message, (name, refused.value.message)
    assert not (tmp_path / "executed").exists()
    assert not published_folder().exists() or not list(published_folder().iterdir())


def test_a_fan_of_fewer_stacks_is_refused(tmp_path: Path) -> None:
    cut = {key: value for key, value in module(FAN()).items() if not key.startswith(("m3.", "top_m_3."))}
    torch.save(cut, tmp_path / "2DFAN3.pth.tar")
    with pytest.raises(ModelError, match=r"2DFAN3\.pth\.tar: looks like 2D-FAN-4, but lacks m3\..* more tensors"):
        import_file(tmp_path / "2DFAN3.pth.tar")
    assert read_record("fan") is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_is_kept_as_float32(dtype: torch.dtype) -> None:
    state = {key: (value % 8).to(dtype) for key, value in module(S3FD()).items()}
    found = recognize(state).state
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert torch.equal(found["fc7.bias"], state["fc7.bias"].float())


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "whole numbers": (lambda: module(S3FD()) | {"fc7.bias": torch.ones(1024, dtype=torch.int64)}, "whole numbers"),
    "infinite in float32": (lambda: module(S3FD()) | {"fc7.bias": torch.full((1024,), 1e300, dtype=torch.float64)},
                            "not finite"),
    "some from several GPUs": (lambda: {"module.x": torch.ones(1)} | module(S3FD()), "has unknown module.x"),
    "a tensor for a generator": (lambda: {"generator": torch.ones(3)}, "no published network"),
    "names that are numbers": (lambda: {1: torch.ones(3), "generator": {2: torch.ones(1)}}, "no published network"),
    "a list": (lambda: [torch.ones(3)], "no published network"),
    "256 px": (lambda: {"generator": numbered(expected_shapes(256))}, "with 7 resolutions"),
    "512 px": (lambda: {"generator": numbered(expected_shapes(512))}, "with 8 resolutions, not 9"),
    "resolutions without end": (
        lambda: {"generator": numbered(expected_shapes(4)) | {f"synthesis.output{i}.style.bias": torch.ones(1)
                                                              for i in range(5000)}}, "with 5000 resolutions"),
    "a mapping to infinity": (
        lambda: {"generator": genforce() | {f"mapping.dense{i}.weight": torch.full((512, 512), 3e38)
                                               for i in range(8)}}, "leads to infinity"),
    "rosinality without a mean": (lambda: {"g_ema": {"conv1.conv.weight": torch.ones(1)}}, "without latent_avg"),
    "rosinality with a mean in words": (
        lambda: {"g_ema": {"conv1.conv.weight": torch.ones(1)}, "latent_avg": [1.0]}, "without latent_avg"),
    "rosinality without tensors": (
        lambda: {"g_ema": {"conv1.conv.weight": torch.ones(1)}, "latent_avg": torch.ones(512)}, "lacks a tensor"),
    "rosinality with words": (
        lambda: {"g_ema": {"conv1.conv.weight": torch.ones(1), "input.input": "x"}, "latent_avg": torch.ones(3)},
        "lacks a tensor"),
    "rosinality far too large": (
        lambda: {"g_ema": {"conv1.conv.weight": torch.ones(1).expand(10**9)}, "latent_avg": torch.ones(512)},
        "far larger"),
    "NVIDIA without tensors": (lambda: {"G_ema": {"synthesis.b4.const": torch.ones(512, 4, 4)}}, "lacks a tensor"),
    "NVIDIA of no size": (lambda: {"G_ema": {"synthesis.b4.const": torch.ones(1), "synthesis.bx.y": torch.ones(1)}},
                          "lacks a tensor"),
    "e4e with a mean in words": (lambda: encoder() | {"latent_avg": "mean"}, "without a latent_avg"),
    "e4e with a mean of no shape": (lambda: encoder() | {"latent_avg": torch.tensor(1.0)}, "without a latent_avg"),
    "a tower without patches": (lambda: {"visual.conv1.weight": torch.tensor(1.0)}, "patches of 0 px"),
    "DINO of other names": (lambda: dino() | {"head.weight": torch.ones(3)}, "lacks a tensor"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_contents_are_refused_in_words(name: str) -> None:
    content, words = ODD[name]
    with pytest.raises(ModelError, match=words):
        recognize(content())


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(ModelError):
            import_file(path)


def test_what_a_killed_import_left_goes_with_the_next(tmp_path: Path) -> None:
    left = published_folder() / ".import-abc" / "s3fd"
    left.mkdir(parents=True)
    torch.save(module(S3FD()), tmp_path / "good.pth")
    import_file(tmp_path / "good.pth")
    assert [path.name for path in published_folder().iterdir()] == ["s3fd"]


def test_a_full_disk_is_said_in_words_and_what_was_there_stays(tmp_path: Path) -> None:
    torch.save(module(S3FD()), tmp_path / "good.pth")
    code, output = on_small_disk("size=40m", tmp_path / "cache", sys.executable, "-m", "mien", "models", "import",
                                 str(tmp_path / "good.pth"))
    assert code == 3 and "not enough room for the weights" in output and "Traceback" not in output


def test_a_record_without_a_hash_is_none(tmp_path: Path) -> None:
    torch.save(module(S3FD()), tmp_path / "good.pth")
    (import_file(tmp_path / "good.pth").path.parent / "card.json").write_text("{}")
    assert read_record("s3fd") is None and published_state("s3fd") == "missing"


def test_a_folder_is_short_for_the_checkpoints_in_it(tmp_path: Path) -> None:
    (tmp_path / "pretrained" / "sfd").mkdir(parents=True)
    torch.save(module(S3FD()), tmp_path / "pretrained" / "sfd" / "s3fd-619a316812.pth")
    (tmp_path / "pretrained" / "readme.txt").write_text("nothing")
    result = run("import", tmp_path / "pretrained")
    assert result.exit_code == 0 and "s3fd (S3FD" in result.stdout
    (tmp_path / "pretrained" / "other.pt").write_bytes(b"nonsense")
    result = run("import", tmp_path / "pretrained")
    assert isinstance(result.exception, ModelError) and "other.pt" in result.exception.message
    assert "s3fd (S3FD" in result.stdout
    (tmp_path / "empty").mkdir()
    result = run("import", tmp_path / "empty")
    assert isinstance(result.exception, ModelError) and "no checkpoints in" in result.exception.message


def shown(listed: str) -> dict[str, str]:
    """Published checkpoints that are here, and what the list says of them."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in listed.splitlines() if "│" in line]
    return {row[0]: row[-1] for row in rows if row[0] in PUBLISHED and row[-1] != "no"}


def test_the_command_goes_on_after_a_bad_file_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    torch.save(module(S3FD()), tmp_path / "good.pth")
    result = run("import", tmp_path / "bad.pth", tmp_path / "good.pth")
    assert isinstance(result.exception, ModelError) and "bad.pth" in result.exception.message
    assert "s3fd (S3FD" in result.stdout
    listed = run("list").stdout
    assert "e4e_ffhq_encode.pt" in listed and "2DFAN4-11f355bf06.pth.tar, about 96 MB" in listed
    assert "s3fd-619a316812.pth, about" not in listed
    assert shown(listed) == {"s3fd": "yes"}
    assert "s3fd: ok" in run("check").stdout
    published_path("s3fd").write_bytes(b"x" * published_path("s3fd").stat().st_size)
    assert "damaged" in str(run("check", "s3fd").exception)
    published_path("s3fd").write_bytes(b"x")
    assert shown(run("list").stdout) == {"s3fd": "damaged"}


def test_missing_weights_say_where_to_get_them() -> None:
    with pytest.raises(ModelError) as refused:
        published_path("e4e")
    assert "omertov/encoder4editing" in refused.value.hint and "mien models import" in refused.value.hint
