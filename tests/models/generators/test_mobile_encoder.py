from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mien.errors import ModelError
from mien.models.generators.mobile_encoder import LEADING, PASSES, SIZE, MobileEncoder


@pytest.fixture(scope="module")
def encoder() -> MobileEncoder:
    """Untrained, but with answers large enough to be seen."""
    torch.manual_seed(0)
    network = MobileEncoder()
    for layer in (network.shared, network.offsets):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return network.eval().requires_grad_(False)


class FakePreview:
    """Stands in for the generator: one color, decided by the codes; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        self.asked.append(codes)
        return codes[:, :, :3].mean(dim=1)[:, :, None, None].expand(-1, -1, SIZE, SIZE)


def faces(count: int = 2, size: int = 256) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.inference_mode()
def test_it_starts_at_the_mean_face_and_corrects_itself(encoder: MobileEncoder) -> None:
    preview = FakePreview()
    codes = encoder.encode(faces(), preview)
    assert codes.shape == (2, 16, 512) and len(preview.asked) == PASSES
    assert not preview.asked[0].any()
    one = encoder.encode(faces(), preview, passes=1)
    assert torch.allclose(preview.asked[1], one, atol=1e-5) and not torch.allclose(codes, one, atol=1e-3)


@torch.inference_mode()
def test_layers_differ_in_the_widest_directions_only(encoder: MobileEncoder) -> None:
    change = encoder(faces(size=SIZE), faces(size=SIZE).flip(0))
    spread = (change - change[:, :1]).abs().amax(dim=(0, 1))
    assert (spread[:LEADING] > 0).all() and not spread[LEADING:].any()


@torch.inference_mode()
def test_a_batch_gives_what_its_faces_give_alone(encoder: MobileEncoder) -> None:
    together = encoder.encode(faces(), FakePreview())
    alone = torch.cat([encoder.encode(face[None], FakePreview()) for face in faces()])
    assert torch.allclose(together, alone, atol=1e-3)


@torch.inference_mode()
def test_pictures_of_any_size_are_seen_at_one_size(encoder: MobileEncoder) -> None:
    small = faces(size=SIZE)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.allclose(encoder.encode(small, FakePreview()), encoder.encode(large, FakePreview()), atol=1e-4)


def test_weights_are_read_back_frozen(tmp_path: Path, encoder: MobileEncoder) -> None:
    state = {key: value.contiguous() for key, value in encoder.state_dict().items()}
    save_file(state, tmp_path / "encoder.safetensors")
    read = MobileEncoder.from_file(tmp_path / "encoder.safetensors")
    with torch.inference_mode():
        assert torch.equal(read.encode(faces(), FakePreview()), encoder.encode(faces(), FakePreview()))
    assert not read.training and not any(p.requires_grad for p in read.parameters())
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("other", "missing"):
        with pytest.raises(ModelError, match="does not hold the encoder"):
            MobileEncoder.from_file(tmp_path / f"{name}.safetensors")
