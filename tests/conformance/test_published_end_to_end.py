"""The command imports files in the authors' formats, and anonymizes photographs with them.

Their weights are filled by a rule, so what they generate is no face. No real face may be left as it was all the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import fake_run
from helpers.fake_run import call, changed, photos_in, pixels_of, rows_in, save
from helpers.nvidia_pickles import write_snapshot
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.model_sets import model_set
from mien.util.files import stamp

pytestmark = pytest.mark.slow

PUBLISHED = {"stylegan2_ffhq1024", "e4e", "arcface", "farl"}
FEW = """
name = "few"
invert = { steps = 2, shared_steps = 1 }
pool = { truncation_space = "w" }
verify = { attempts = 1 }
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, filled: Any, manifest: Any, fill: Any) -> dict[str, Path]:
    """Writes files as the authors publish them, by their usual names; e4e's options as a dict and as a namespace."""
    folder = tmp_path_factory.mktemp("pretrained")
    options = {"encoder_type": "Encoder4Editing", "stylegan_size": 1024, "start_from_latent_avg": True,
               "checkpoint_path": "e4e.pt", "device": "cuda:0"}
    encoder = {"state_dict": filled("e4e_ffhq_encode"), "opts": options,
               "latent_avg": torch.from_numpy(fill.tensor(manifest("e4e_ffhq_encode")["latent_avg"]))}
    contents: dict[str, Callable[[], Any]] = {
        "stylegan2_ffhq1024.pth": lambda: {"generator_smooth": filled("stylegan2_ffhq1024"), "discriminator": {}},
        "e4e_ffhq_encode.pt": lambda: encoder,
        "e4e with a namespace.pt": lambda: encoder | {"opts": argparse.Namespace(**options)},
        "model_ir_se50.pth": lambda: filled("arcface_ir_se50"),
        "FaRL-Base-Patch16-LAIONFace20M-ep64.pth": lambda: {"state_dict": filled("farl_vitb16_visual"), "epoch": 64}}
    for name, content in contents.items():
        torch.save(content(), folder / name)
    return {name: folder / name for name in contents}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, weights: Callable[[str], Path],
          checkpoints: dict[str, Path]) -> Iterator[Path]:
    """Makes a cache of this module's own: links to the judging networks, and the imported checkpoints."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "models").mkdir()
    for name in model_set("falco").fetched:
        entry = weights(name).parent
        (folder / "models" / entry.name).symlink_to(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        done = call("models", "import", *checkpoints.values(), quick=False)
        assert done.returncode == 0, done.stderr
        rows = [line.split(": ")[1] for line in done.stdout.splitlines()]
        assert rows == ["stylegan2_ffhq1024 (genforce, 145 tensors)", *["e4e (e4e, 622 tensors)"] * 2,
                        "arcface (InsightFace_Pytorch, 397 tensors)", "farl (state dict, 152 tensors)"]
        yield folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, weights: Callable[[str], Path]) -> Path:
    """Saves two photos: an astronaut, and a person whom the mobile model set made up."""
    folder = tmp_path_factory.mktemp("photos")
    save(folder / "astronaut.png", pixels_of(weights("astronaut")))
    person, = fake_run.portraits(MobileStyleGAN.from_file(weights("mobilestylegan")), [501])
    save(folder / "deep" / "person.png", person)
    return folder


def recipe_of(name: str, folder: Path) -> list[str]:
    if name == "falco":
        return ["--recipe", "falco"]
    (folder / "few.toml").write_text(FEW)
    return ["--recipe", str(folder / "few.toml"), "--models", "falco"]


@pytest.mark.parametrize("name", ["falco", "few"])
def test_no_face_stays_and_a_second_run_does_nothing(tmp_path: Path, cache: Path, photos: Path, name: str) -> None:
    dst, work = tmp_path / "dst", tmp_path / "work"
    command = ["anonymize", photos, dst, "--work", work, *recipe_of(name, tmp_path), "--pool-size", "64",
               "--steps", "3"]
    done = call(*command, quick=False)
    assert done.returncode == 0, done.stderr
    results = photos_in(dst)
    assert results.keys() == {"astronaut.png", "deep/person.png"}
    rows = rows_in(dst)
    assert {row["file"] for row in rows} == results.keys()
    for row in rows:
        assert row["status"] in ("anonymized", "blurred")
        box = [row[side] for side in ("x", "y", "width", "height")]
        assert changed(pixels_of(photos / row["file"]), pixels_of(dst / row["file"]), box)
    record = json.loads((dst / "mien.json").read_text())
    published = {key: json.loads((cache / "models" / "published" / key / "card.json").read_text())["sha256"]
                 for key in PUBLISHED}
    assert record["weights_sha256"].items() >= published.items()
    assert record["weights_sha256"].keys() == PUBLISHED | set(model_set("falco").fetched)
    stamps = {path: stamp(path) for path in [*(dst / result for result in results), *(work / "shards").iterdir()]}
    again = call(*command, quick=False)
    assert again.returncode == 0, again.stderr
    assert {path: stamp(path) for path in stamps} == stamps and rows_in(dst) == rows
    assert len(list((cache / "pools").glob("*.safetensors"))) == 1  # both recipes choose from one pool


def test_a_published_pickle_of_nvidias_imports_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       filled: Any) -> None:
    from safetensors.torch import load_file

    from mien.models.formats.stylegan2_names import from_nvidia
    from mien.models.generators.stylegan2 import prepare_stylegan2
    from mien.models.hub.imported import import_file

    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    state = filled("nvidia_ada_g_ema_1024")
    found = import_file(write_snapshot(tmp_path / "ffhq.pkl", state, tmp_path / "executed", protocol=3))
    assert (found.name, found.format) == ("stylegan2_ffhq1024", "NVIDIA pickle")
    kept, wanted = load_file(found.path), prepare_stylegan2(from_nvidia(state))
    assert kept.keys() == wanted.keys()
    assert all(torch.equal(kept[key], wanted[key]) for key in wanted)
    assert not (tmp_path / "executed").exists()
