"""Embeddings of a folder's faces, kept in a file that anybody may make."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.face_folders import Networks, aligned, face_at, step_context
from mien.errors import UsageError
from mien.recipe import Recipe
from mien.steps.embeddings import embed_folder, read_embeddings
from mien.steps.face_folder import CROP, EMBEDDINGS, FaceFolder, write_picture


class Embedding(Networks):
    """The mean color of a crop; counts how many crops it is asked about."""

    asked, device = 0, torch.device("cpu")

    @property
    def features(self) -> Embedding:
        return self

    def embed(self, image: Tensor) -> Tensor:
        self.asked += len(image)
        return image.mean(dim=(2, 3))


@pytest.fixture
def face_folder(tmp_path: Path) -> FaceFolder:
    return aligned(tmp_path, [face_at(20, 20), face_at(150, 60), face_at(90, 90)])[1]


def made(face_folder: FaceFolder, again: bool = False) -> int:
    network = Embedding([])
    embed_folder(face_folder.folder, step_context(network, recipe=Recipe(batch=2)), again)
    return network.asked


def test_each_face_has_a_row_of_its_own(face_folder: FaceFolder) -> None:
    assert made(face_folder) == 3
    rows = read_embeddings(face_folder.folder / EMBEDDINGS, face_folder.names())
    for name, row in zip(face_folder.names(), rows, strict=True):
        mean = face_folder.crop(name, face_folder.record(name)).pixels.mean(axis=(0, 1)) / 127.5 - 1
        assert row.tolist() == pytest.approx(mean.tolist(), abs=1e-4)
    turned = read_embeddings(face_folder.folder / EMBEDDINGS, face_folder.names()[::-1])
    assert torch.equal(turned, rows.flip(0))


def test_what_is_there_is_kept(face_folder: FaceFolder) -> None:
    assert (made(face_folder), made(face_folder), made(face_folder, again=True)) == (3, 0, 3)
    write_picture(face_folder.path("photo.1", CROP), np.full((256, 256, 3), 255, np.uint8))  # somebody else
    assert made(face_folder) == 1
    assert read_embeddings(face_folder.folder / EMBEDDINGS, ["photo.1"]).tolist() == [[1, 1, 1]]
    face_folder.path("photo.0", ".json").unlink()
    assert made(face_folder) == 0 and len(read_embeddings(face_folder.folder / EMBEDDINGS, 2)) == 2


def test_another_network_s_are_made_anew(face_folder: FaceFolder) -> None:
    assert made(face_folder) == 3
    network = Embedding([])
    other = step_context(network)
    other.__dict__["weights"] = {"fake": "1" * 64}
    embed_folder(face_folder.folder, other, again=False)
    assert network.asked == 3
    names = json.dumps(face_folder.names())
    save_file({"embeddings": torch.ones(3, 5)}, face_folder.folder / EMBEDDINGS, {"names": names})  # who knows what of
    assert made(face_folder) == 3


def test_a_lost_crop_is_named(face_folder: FaceFolder) -> None:
    face_folder.path("photo.1", CROP).unlink()
    with pytest.raises(UsageError, match=r"photo\.1 in .*: no crop"):
        made(face_folder)


def test_a_file_of_anybody_goes_by_order(tmp_path: Path) -> None:
    save_file({"embeddings": torch.eye(3)}, tmp_path / "own.safetensors")
    assert torch.equal(read_embeddings(tmp_path / "own.safetensors", ["a", "b", "c"]), torch.eye(3))
    for faces in (["a", "b"], 4):
        with pytest.raises(UsageError, match="has 3 embeddings for"):
            read_embeddings(tmp_path / "own.safetensors", faces)  # type: ignore[arg-type]


@pytest.mark.parametrize("tensors, metadata", [
    ({"embeddings": torch.zeros(3)}, None), ({"other": torch.zeros(3, 3)}, None),
    ({"embeddings": torch.full((3, 3), torch.nan)}, None), ({"embeddings": torch.zeros(3, 3)}, {"names": "[1"}),
    ({"embeddings": torch.zeros(3, 3)}, {"names": '["a"]'}), ({"embeddings": torch.zeros(3, 3)}, {"names": "3"}),
    ({"embeddings": torch.zeros(3, 0)}, None), ({"embeddings": torch.zeros(3, 3)}, {"names": '[["a"], 1, 2]'}),
    ({"embeddings": torch.zeros(3, 3)}, {"crops": '["a"]'}),
])
def test_a_file_of_something_else_is_refused(tmp_path: Path, tensors: dict[str, Tensor],
                                             metadata: dict[str, str] | None) -> None:
    save_file(tensors, tmp_path / "bad.safetensors", metadata)
    with pytest.raises(UsageError, match=r"bad\.safetensors"):
        read_embeddings(tmp_path / "bad.safetensors", 3)


def test_a_missing_file_and_a_missing_face_are_named(tmp_path: Path, face_folder: FaceFolder) -> None:
    with pytest.raises(UsageError, match=r"none\.safetensors holds no embeddings"):
        read_embeddings(tmp_path / "none.safetensors", 3)
    made(face_folder)
    with pytest.raises(UsageError, match=r"no embedding of other\.0"):
        read_embeddings(face_folder.folder / EMBEDDINGS, ["photo.0", "other.0"])
