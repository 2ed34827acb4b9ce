"""Which networks a set needs, with either detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mien.errors import ModelError, UsageError
from mien.models.detection.fan import FAN
from mien.models.detection.s3fd import S3FD
from mien.models.detection.s3fd_fan import LandmarkDetector
from mien.models.hub import imported
from mien.models.model_sets import model_set


@pytest.mark.parametrize("models", ["mobile", "falco"])
def test_the_published_detector_brings_its_checkpoints_and_changes_nothing_else(models: str) -> None:
    usual, published = model_set(models), model_set(models, "auto", "s3fd")
    assert not {"s3fd", "fan"} & {*usual.fetched, *usual.published}
    assert published.published == (*usual.published, "s3fd", "fan")
    assert (published.fetched, published.shipped, published.features) == (usual.fetched, usual.shipped, usual.features)
    assert published.pool == usual.pool  # whose faces are found by YuNet


def test_a_detector_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no detector 'mtcnn'"):
        model_set("falco", "auto", "mtcnn")
    with pytest.raises(UsageError, match="there is no model set"):
        model_set("nothing", "auto", "s3fd")


def test_its_checkpoints_have_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"not there: s3fd \(s3fd-619a316812.pth, 90 MB\), fan \(2DFAN4-") as refused:
        model_set("mobile", "auto", "s3fd").gather()
    assert "mien models list" in refused.value.hint and "mien models import FILE..." in refused.value.hint


def test_the_set_loads_its_detector_with_the_recipe_s_threshold(tmp_path: Path) -> None:
    paths = {"s3fd": tmp_path / "s3fd.safetensors", "fan": tmp_path / "fan.safetensors"}
    for name, network in (("s3fd", S3FD()), ("fan", FAN())):
        save_file({key: torch.zeros_like(value) for key, value in network.state_dict().items()}, paths[name])
    detector = model_set("mobile", "auto", "s3fd").load_detector(paths, 0.7)
    assert isinstance(detector, LandmarkDetector) and detector.score_threshold == 0.7
    with pytest.raises(ModelError, match=r"fan\.safetensors does not hold S3FD"):
        model_set("mobile", "auto", "s3fd").load_detector({"s3fd": paths["fan"], "fan": paths["fan"]}, 0.7)


def test_the_record_of_a_run_names_the_detector_s_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    for name, network in (("s3fd", S3FD()), ("fan", FAN())):
        torch.save({key: torch.zeros_like(value) for key, value in network.state_dict().items()}, tmp_path / name)
        imported.import_file(tmp_path / name)
    monkeypatch.setattr("mien.models.model_sets.weights_sha256", lambda name: "fetched")
    usual, published = model_set("mobile").hashes(), model_set("mobile", "auto", "s3fd").hashes()
    assert published.keys() - usual.keys() == {"s3fd", "fan"}
    assert len({published["s3fd"], published["fan"], "fetched"}) == 3
