from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mien.errors import ModelError
from mien.models.features.efficientnet_lite import (
    BLOCKS,
    TAPS,
    EfficientNetLite0,
    convert_efficientnet_lite0,
)

REFERENCE = Path(__file__).parents[2] / "reference" / "efficientnet_lite0.npz"
Weights = Callable[[str], Path]


def images(height: int, width: int) -> torch.Tensor:
    """The images of reference/make_efficientnet_lite0.py."""
    noise = np.random.RandomState(3).randint(0, 256, (3, height, width)) / 127.5 - 1
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / (6 + 2 * c) + y / (13 - 3 * c)) for c in range(3)])
    return torch.from_numpy(np.stack([noise, waves]).astype(np.float32))


@pytest.fixture(scope="module", params=[False, True], ids=["contiguous", "channels_last"])
def network(weights: Weights, request: pytest.FixtureRequest) -> EfficientNetLite0:
    return EfficientNetLite0.from_file(weights("efficientnet_lite0"), channels_last=request.param)


def maps(network: EfficientNetLite0, x: torch.Tensor) -> dict[str, np.ndarray]:
    found = {f"tap{tap}": value.numpy() for tap, value in zip(TAPS, network(x), strict=True)}
    return found | {"head": network.head(x).numpy()}


def test_equals_the_package_it_comes_from(network: EfficientNetLite0) -> None:
    reference = np.load(REFERENCE)
    small = {name: value[:1] for name, value in maps(network, images(64, 96)).items()}
    usual = {name: value.mean((2, 3)) for name, value in maps(network, images(224, 224)).items()}
    for size, found in (("small", small), ("usual", usual)):
        for name, value in found.items():
            expected = reference[f"{size}_{name}"]
            assert np.abs(value - expected).max() / np.abs(expected).max() < 1e-5, (size, name)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (128, 192), (256, 224)])
def test_shapes(height: int, width: int) -> None:
    network, x = EfficientNetLite0(), torch.zeros(2, 3, height, width)
    strides = [2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32, 32, 32, 32]
    for tap, value in enumerate(network(x, taps=tuple(range(16)))):
        assert value.shape == (2, BLOCKS[tap][3], height // strides[tap], width // strides[tap])
    assert network.head(x).shape == (2, 1280, height // 32, width // 32)


def test_nothing_is_computed_beyond_the_last_tap() -> None:
    network = EfficientNetLite0()
    ran: list[int] = []
    for i, block in enumerate(network.blocks):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    network.top.register_forward_hook(lambda *_: ran.append(16))
    network(torch.zeros(1, 3, 64, 64), taps=(4, 2))
    assert ran == [0, 1, 2, 3, 4]


def test_taps_come_in_the_order_asked_for() -> None:
    network = EfficientNetLite0()
    x = images(64, 64)
    later, earlier = network(x, taps=(4, 2))
    for found, again in zip((earlier, later), network(x, taps=(2, 4)), strict=True):
        torch.testing.assert_close(found, again, rtol=0, atol=0)


def test_gradients_reach_the_input_and_no_weight(network: EfficientNetLite0) -> None:
    x = images(64, 64).requires_grad_()
    torch.stack([value.square().mean() for value in network(x)]).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.train().training


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 99, 64), (0, 3, 64, 64), (1, 3, 0, 9)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="32"):
        EfficientNetLite0()(torch.zeros(shape))


@pytest.mark.parametrize("taps", [(), (16,), (-1, 2)])
def test_taps_that_do_not_exist_are_refused(taps: tuple[int, ...]) -> None:
    assert len(BLOCKS) == 16
    with pytest.raises(ValueError, match=r"0\.\.15"):
        EfficientNetLite0()(torch.zeros(1, 3, 64, 64), taps=taps)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "a")
    (tmp_path / "b").write_bytes(b"nothing of the kind")
    torch.save({"_conv_stem.weight": torch.zeros(3)}, tmp_path / "c")
    torch.save({"_conv_stem.weight": "words"}, tmp_path / "d")
    torch.save([1, 2], tmp_path / "e")
    for name in ("a", "b", "c", "d", "e", "absent"):
        with pytest.raises(ModelError):
            EfficientNetLite0.from_file(tmp_path / name)
        with pytest.raises(ModelError):
            convert_efficientnet_lite0(tmp_path / name)


class Trap:
    """Unpickling it calls a function; reading weights must not."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("trapped"),)


def test_a_pickle_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"_conv_stem.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ModelError):
        convert_efficientnet_lite0(tmp_path / "trap.pth")
    assert not (tmp_path / "trapped").exists()
