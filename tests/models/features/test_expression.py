"""The port against face-api's own code; tests/reference/make_expression.mjs made the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from convert_expression import convert, read_tfjs
from PIL import Image

from mien.errors import ModelError
from mien.models.detection.yunet import YuNet
from mien.models.features.expression import EXPRESSIONS, SIZE, Expression
from mien.models.hub.shipped import shipped_file
from mien.types import Face

EXPECTED = np.array(json.loads((Path(__file__).parents[2] / "reference" / "expression.json").read_text()))


def pictures() -> torch.Tensor:
    """The pictures of make_expression.mjs: [3, 3, 112, 112], 0..255."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    waves = [[np.sin(x / 9 * n), np.cos(y / 7 * n), np.sin((x + y) / 13)] for n in (1, 2, 3)]
    return torch.from_numpy((127.5 + 127.5 * np.array(waves)).astype(np.float32))


@pytest.fixture(scope="module")
def network() -> Expression:
    return Expression.from_file(shipped_file("expression"))


def test_answers_are_face_api_s(network: Expression) -> None:
    found = network(pictures()).numpy()
    assert found.shape == (3, len(EXPRESSIONS))
    assert np.abs(found - EXPECTED).max() < 0.02  # the weights are rounded to 16 bits; differences of pictures are 1


def test_the_astronaut_smiles(network: Expression, weights: Callable[[str], Path]) -> None:
    with Image.open(weights("astronaut")) as image:
        photo = np.array(image.convert("RGB"))
    face = YuNet(weights("yunet"), score_threshold=0.6).detect(photo)[0]
    found = network.tell(photo, face)
    assert found.dtype == np.float32 and found.sum() == pytest.approx(1, abs=1e-5)
    assert EXPRESSIONS[int(found.argmax())] == "happy"


def test_what_cannot_be_a_face_is_refused(network: Expression, tmp_path: Path) -> None:
    photo = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match="in one place, or are not finite"):
        network.tell(photo, Face((1.0, 1.0, 9.0, 9.0), np.full((5, 2), 7, np.float32), 1.0))
    with pytest.raises(ValueError, match="expression network takes"):
        network(torch.zeros(1, 3, 64, 64))
    (tmp_path / "expression.safetensors").write_bytes(b"no network")
    with pytest.raises(ModelError, match="expression"):
        Expression.from_file(tmp_path / "expression.safetensors")


def packed(folder: Path, network: Expression) -> None:
    """Writes a network as face-api's package holds one: bytes with scale and offset, biases as they are."""
    entries, blob = [], b""
    for key, tensor in network.state_dict().items():
        head, *place, part = key.split(".")
        layer = "fc" if head == "classify" else f"dense{place[0]}/{place[1]}"
        if part == "bias":
            name, values = f"{layer}/bias", tensor.numpy()
        elif head == "classify":
            name, values = "fc/weights", tensor.numpy().T
        elif place[-1] == "depthwise":
            name, values = f"{layer}/depthwise_filter", tensor.numpy().transpose(2, 3, 0, 1)
        else:
            kind = "pointwise_filter" if place[-1] == "pointwise" else "filters"
            name, values = f"{layer}/{kind}", tensor.numpy().transpose(2, 3, 1, 0)
        entry = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        if part == "bias":
            blob += values.astype("<f4").tobytes()
        else:
            low, scale = float(values.min()), float(np.ptp(values)) / 255
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": low}
            blob += np.rint((values - low) / scale).astype(np.uint8).tobytes()
        entries.append(entry)
    (folder / "net.bin").write_bytes(blob)
    (folder / "net-weights_manifest.json").write_text(json.dumps([{"weights": entries, "paths": ["net.bin"]}]))


def test_a_package_is_converted(network: Expression, tmp_path: Path) -> None:
    """Packing the network as face-api does and converting it gives it back, but for what 8 bits do not hold."""
    packed(tmp_path, network)
    back = convert(read_tfjs(tmp_path, "net"))
    for key, tensor in network.state_dict().items():
        step = float(tensor.max() - tensor.min()) / 255
        assert float((back.state_dict()[key] - tensor).abs().max()) <= step / 2 + 1e-6


def test_a_package_of_another_size_is_refused(network: Expression, tmp_path: Path) -> None:
    packed(tmp_path, network)
    with (tmp_path / "net.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match="bytes"):
        read_tfjs(tmp_path, "net")
