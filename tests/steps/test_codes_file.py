"""Codes files, the project's own and other people's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from safetensors.torch import save_file

from helpers.face_folders import codes
from mien.errors import UsageError
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.models.generators.stylegan2 import StyleGAN2, expected_shapes, prepare_stylegan2
from mien.steps.codes_file import read_codes, read_styles, write_codes


def generator() -> MobileStyleGAN:
    """The two maps that codes files need, linear here."""
    return cast(MobileStyleGAN, SimpleNamespace(n_layers=16, color=lambda v: 2 * v + 1, whiten=lambda w: (w - 1) / 2))





def test_codes_come_back(tmp_path: Path) -> None:
    write_codes(tmp_path / "a.safetensors", codes(), generator())
    assert torch.equal(read_codes(tmp_path / "a.safetensors", generator()), codes())


@pytest.mark.parametrize("tensors", [
    {"codes": codes()}, {"w_plus": 2 * codes() + 1}, {"codes": codes()[None]}, {"codes": codes().half()},
    {"codes": codes().double(), "w_plus": (2 * codes() + 1).half()},
    {"codes": codes(), "other": torch.zeros(3)},
])
def test_own_codes_files_are_read(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    assert torch.allclose(read_codes(tmp_path / "a.safetensors", generator()), codes(), atol=3e-3)


def test_one_vector_stands_for_all_layers(tmp_path: Path) -> None:
    save_file({"codes": codes()[0].clone()}, tmp_path / "a.safetensors")
    assert torch.equal(read_codes(tmp_path / "a.safetensors", generator()), codes()[:1].expand(16, -1))


@pytest.mark.parametrize("tensors, reason", [
    ({"latents": codes()}, "neither codes nor w_plus"),
    ({"codes": torch.zeros(18, 512)}, r"codes has the shape \[18, 512\], not \[16, 512\]"),
    ({"w_plus": torch.zeros(2, 16, 512)}, r"w_plus has the shape \[2, 16, 512\]"),
    ({"codes": torch.zeros(())}, r"shape \[\]"),
    ({"codes": torch.zeros(16, 512, dtype=torch.int64)}, "codes holds int64"),
    ({"codes": torch.full((16, 512), torch.nan)}, "not finite"),
    ({"codes": codes(), "w_plus": codes()}, "two different faces"),
])
def test_codes_files_are_checked_at_the_door(
        tmp_path: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match=reason) as caught:
        read_codes(tmp_path / "a.safetensors", generator())
    assert "a.safetensors" in caught.value.message


def test_what_is_no_codes_file_is_named(tmp_path: Path) -> None:
    write_codes(tmp_path / "cut.safetensors", codes(), generator())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:1000])
    torch.save(codes(), tmp_path / "pickle.safetensors")
    (tmp_path / "empty.safetensors").touch()
    for name in ("cut", "pickle", "empty"):
        with pytest.raises(UsageError, match=rf"{name}\.safetensors is damaged"):
            read_codes(tmp_path / f"{name}.safetensors", generator())
    with pytest.raises(UsageError, match="cannot read the codes"):
        read_codes(tmp_path / "none.safetensors", generator())


def small_stylegan2() -> StyleGAN2:
    shapes = expected_shapes(16)
    return StyleGAN2(prepare_stylegan2({key: torch.ones(shape) for key, shape in shapes.items()}))


def test_styles_come_back(tmp_path: Path) -> None:
    net = small_stylegan2()
    styles = [torch.randn(width) for width in net.style_widths]
    write_codes(tmp_path / "s.safetensors", torch.zeros(net.n_layers, 512), net, styles)
    found = read_styles(tmp_path / "s.safetensors", net)
    assert found is not None and all(torch.equal(a, b) for a, b in zip(found, styles, strict=True))
    write_codes(tmp_path / "w.safetensors", torch.zeros(net.n_layers, 512), net)
    assert read_styles(tmp_path / "w.safetensors", net) is None


@pytest.mark.parametrize("styles", [torch.zeros(5), torch.full((100_000,), torch.nan), torch.zeros(2, 2)])
def test_styles_of_something_else_are_refused(tmp_path: Path, styles: torch.Tensor) -> None:
    net = small_stylegan2()
    bad = styles[: sum(net.style_widths)] if styles.numel() > 1000 else styles
    save_file({"codes": torch.zeros(net.n_layers, 512), "styles": bad.contiguous()}, tmp_path / "bad.safetensors")
    with pytest.raises(UsageError, match=r"bad\.safetensors: styles must be"):
        read_styles(tmp_path / "bad.safetensors", net)
