from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mien.anonymizer.align import align
from mien.errors import ModelError
from mien.models.detection.yunet import YuNet
from mien.models.features.attribute_network import ATTRIBUTES, AttributeClassifier, AttributeJudge, AttributeNetwork
from mien.models.hub.shipped import shipped_file


@pytest.fixture(scope="module", params=["attribute_judge", "attribute_network"])
def network(request: pytest.FixtureRequest) -> AttributeClassifier:
    kinds = {"attribute_judge": AttributeJudge, "attribute_network": AttributeNetwork}
    return kinds[request.param].from_file(shipped_file(request.param))


@pytest.fixture(scope="module")
def astronaut(weights: Callable[[str], Path]) -> torch.Tensor:
    """[1, 3, 256, 256]: NASA's portrait of Eileen Collins, aligned."""
    pixels = np.asarray(Image.open(weights("astronaut")).convert("RGB"))
    crop = align(pixels, YuNet(weights("yunet"), score_threshold=0.6).detect(pixels)[0])
    return torch.from_numpy(crop.pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_the_attributes_are_celeba_s() -> None:
    assert len(ATTRIBUTES) == 40 and tuple(sorted(ATTRIBUTES, key=str.lower)) == ATTRIBUTES


@torch.inference_mode()
def test_a_known_portrait_has_its_attributes(network: AttributeClassifier, astronaut: torch.Tensor) -> None:
    told = dict(zip(ATTRIBUTES, (network(astronaut)[0] > 0).tolist(), strict=True))
    assert told["Smiling"] and told["Mouth_Slightly_Open"] and told["No_Beard"]
    assert not any(told[name] for name in ("Eyeglasses", "Bald", "Mustache", "Goatee", "Gray_Hair", "Blurry"))


@torch.inference_mode()
def test_a_mirrored_face_has_the_same_attributes(network: AttributeClassifier, astronaut: torch.Tensor) -> None:
    both = network(torch.cat([astronaut, astronaut.flip(3)]))
    assert both.shape == (2, 40)
    assert ((both[0] > 0) == (both[1] > 0)).float().mean() >= 0.9


@torch.inference_mode()
def test_a_batch_gives_what_its_faces_give_alone(network: AttributeClassifier, astronaut: torch.Tensor) -> None:
    other = astronaut.roll(20, dims=3)
    together = network(torch.cat([astronaut, other]))
    assert torch.allclose(together, torch.cat([network(astronaut), network(other)]), atol=1e-3)


@pytest.mark.parametrize("damage", ["missing", "text", "other"])
def test_another_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "network.safetensors"
    if damage == "text":
        path.write_text("not weights")
    elif damage == "other":
        save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"network\.safetensors does not hold an attribute network"):
        AttributeJudge.from_file(path)
