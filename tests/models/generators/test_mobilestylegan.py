from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import ModelError
from mien.models.generators.mobilestylegan import MobileStyleGAN, convert_mobilestylegan, inverse_haar

REFERENCE = Path(__file__).parents[2] / "reference" / "mobilestylegan.npz"


@pytest.fixture(scope="module")
def generator(weights: Callable[[str], Path]) -> MobileStyleGAN:
    return MobileStyleGAN.from_file(weights("mobilestylegan"))


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(7).standard_normal((2, 512)).astype(np.float32))


@torch.inference_mode()
def test_mapping_and_synthesis_agree_with_the_original_runtime(generator: MobileStyleGAN,
                                                               codes: torch.Tensor) -> None:
    reference = np.load(REFERENCE)
    w = generator.map(codes)
    assert np.abs(w.numpy() - reference["w"]).max() < 2e-5
    images = generator(torch.from_numpy(reference["w"])[:, None].expand(-1, 16, -1)).numpy()
    assert images.shape == (2, 3, 1024, 1024)
    area = images.reshape(2, 3, 64, 16, 64, 16).mean(axis=(3, 5))
    assert np.abs(area - reference["area"]).max() < 5e-5
    for i, (y, x) in enumerate(reference["corners"]):
        assert np.abs(images[:, :, y : y + 32, x : x + 32] - reference["patches"][:, i]).max() < 1e-4


@torch.inference_mode()
def test_whitening_is_unit_normal_and_invertible(generator: MobileStyleGAN) -> None:
    w = generator.map(torch.randn(4000, 512, generator=torch.Generator().manual_seed(3)))
    v = generator.whiten(w)
    assert (generator.color(v) - w).abs().max() < 1e-4
    strong = v[:, generator.whiten_spread > 0.05]
    assert abs(strong.mean()) < 0.05
    assert abs(strong.var() - 1) < 0.1


@torch.inference_mode()
def test_truncation_pulls_towards_the_mean(generator: MobileStyleGAN, codes: torch.Tensor) -> None:
    w = generator.map(codes)
    assert torch.equal(generator.truncate(w, 1.0), w) or (generator.truncate(w, 1.0) - w).abs().max() < 1e-6
    assert (generator.truncate(w, 0.0) - generator.w_mean).abs().max() == 0
    near = (generator.truncate(w, 0.7) - generator.w_mean).norm() / (w - generator.w_mean).norm()
    assert abs(near - 0.7) < 1e-5


@torch.inference_mode()
def test_later_layers_leave_earlier_features_alone(generator: MobileStyleGAN, codes: torch.Tensor) -> None:
    wp = generator.map(codes)[:1, None].repeat(1, 16, 1)
    other = wp.clone()
    other[:, 9:] = generator.map(codes)[1]
    assert torch.equal(generator.features(wp, 4), generator.features(other, 4))
    other = wp.clone()
    other[:, 8] = generator.map(codes)[1]
    assert not torch.equal(generator.features(wp, 4), generator.features(other, 4))


def test_a_batch_gives_what_its_faces_give_alone(generator: MobileStyleGAN, codes: torch.Tensor) -> None:
    with torch.inference_mode():
        wp = generator.map(codes)[:, None].repeat(1, 16, 1)
        together = generator.features(wp, 4)
        alone = torch.cat([generator.features(row[None], 4) for row in wp])
    # Features reach 34: float32 sums in another order differ in their fifth digit, by machine.
    assert (together - alone).abs().max() < 2e-5 * alone.abs().max()


def test_gradient_reaches_every_layer_that_is_used(generator: MobileStyleGAN, codes: torch.Tensor) -> None:
    wp = generator.map(codes)[:1, None].repeat(1, 16, 1).clone().requires_grad_()
    generator.modulated(wp, 4).square().mean().backward()
    assert wp.grad is not None
    used = wp.grad[0].abs().sum(dim=1) > 0
    assert used.tolist() == [True] * 10 + [False] * 6


def test_reduced_precision_gives_nearly_the_same_and_leaves_the_original(generator: MobileStyleGAN,
                                                                         codes: torch.Tensor) -> None:
    wp = generator.map(codes)[:1, None].repeat(1, 16, 1)
    before = generator.features(wp, 4)
    rough = generator.reduced(torch.bfloat16)
    features = rough.features(wp, 4)
    assert features.dtype == torch.bfloat16 and generator.const.dtype == torch.float32
    assert 0 < (features.float() - before).norm() < 0.04 * before.norm()
    assert torch.equal(generator.features(wp, 4), before)
    wp.requires_grad_()
    exact, = torch.autograd.grad(generator.features(wp, 4).square().mean(), wp)
    close, = torch.autograd.grad(rough.features(wp, 4).float().square().mean(), wp)
    assert torch.cosine_similarity(exact.flatten(), close.flatten(), dim=0) > 0.98


@torch.inference_mode()
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_inverse_haar_is_the_same_in_both_memory_layouts(channels: int) -> None:
    x = torch.randn(2, 4 * channels, 6, 10, generator=torch.Generator().manual_seed(0))
    last = inverse_haar(x.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(inverse_haar(x), last, atol=1e-6)


def test_inverse_haar_keeps_bands_and_channels_apart() -> None:
    x = torch.randn(1, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    (a, b), (lh_a, lh_b), (hl_a, hl_b), (hh_a, hh_b) = x.flatten().view(4, 2).tolist()
    out = inverse_haar(x)
    for got, low, lh, hl, hh in ((out[0, 0], a, lh_a, hl_a, hh_a), (out[0, 1], b, lh_b, hl_b, hh_b)):
        wanted = [[low + lh + hl + hh, low + lh - hl - hh], [low - lh + hl - hh, low - lh - hl + hh]]
        assert torch.allclose(got, 0.5 * torch.tensor(wanted), atol=1e-6)


def test_inverse_haar_of_a_constant_is_constant() -> None:
    bands = torch.zeros(1, 8, 3, 5)
    bands[:, :2] = 2.0
    assert torch.equal(inverse_haar(bands), torch.ones(1, 2, 6, 10))


def test_what_is_no_such_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="OpenVINO"):
        convert_mobilestylegan(tmp_path)
    for part in ("mnet", "snet"):
        (tmp_path / f"mobilestylegan_ffhq_{part}.xml").write_text("<net><layers/><edges/></net>")
        (tmp_path / f"mobilestylegan_ffhq_{part}.bin").write_bytes(b"")
    with pytest.raises(ModelError):
        convert_mobilestylegan(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError):
        MobileStyleGAN.from_file(tmp_path / "broken.safetensors")
