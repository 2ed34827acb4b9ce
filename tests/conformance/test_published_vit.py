from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from helpers.agreement import assert_same
from mien.models.features.base import TokenFeatures
from mien.models.features.resize import fit_square
from mien.models.features.vit import VisionTransformer, from_dino

pytestmark = pytest.mark.slow


def half_rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rounds all but norms and embeddings to float16, as they are in OpenAI's files."""
    return {key: value if "ln_" in key or "embedding" in key else value.half().float() for key, value in state.items()}


@pytest.fixture(scope="module")
def farl(filled: Any) -> VisionTransformer:
    return VisionTransformer(filled("farl_vitb16_visual", "visual."))


@pytest.fixture(scope="module")
def rounded(filled: Any) -> VisionTransformer:
    return VisionTransformer(half_rounded(filled("farl_vitb16_visual", "visual.")))


def attribute_loss(network: VisionTransformer, new: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Returns the loss averaged over the batch, on images in the reference's ranges."""
    features = TokenFeatures(network)
    return (features.tokens(new, raw=True) - features.tokens(real, raw=True)).abs().mean(dim=2).sum(dim=1).mean()


@torch.inference_mode()
def test_farl(farl: VisionTransformer, vectors: Any, waves: Any) -> None:
    reference = vectors("farl_vitb16_visual")
    tokens = farl.tokens(waves("farl/x0", "farl/x1", size=(224, 224)))
    assert_same(tokens[0], reference["tokens_before_ln_post_x0"])
    assert_same(farl.finish(tokens), reference["embedding_224"])
    for name, low in (("real0", 0), ("fake0", -1)):
        image = waves(f"attrloss/{name}", size=(1024, 1024), low=low)
        assert_same(farl(farl.normalize(image)), reference[f"pairing_feature_{name}"])


@torch.inference_mode()
def test_farl_with_weights_of_half_precision(rounded: VisionTransformer, vectors: Any, waves: Any,
                                             manifest: Any) -> None:
    reference = vectors("farl_vitb16_visual")
    keys = {entry["key"] for entry in manifest("farl_vitb16_visual")["tensors"]}
    touched = {key for key in keys if "ln_" not in key and "embedding" not in key}  # as `half_rounded` has it
    assert {str(key) for key in reference["half_rounded_keys"]} == touched
    assert_same(rounded(waves("farl/x0", "farl/x1", size=(224, 224))),
                reference["embedding_224_half_rounded_weights"])
    loss = attribute_loss(rounded, waves("attrloss/fake0", size=(1024, 1024)),
                          waves("attrloss/real0", size=(1024, 1024), low=0))
    expected = float(reference["attrloss_real0_fake0_half_rounded_weights"])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "real", "new", "size"), [
    ("real_fake_batch2", ("real0", "real1"), ("fake0", "fake1"), (1024, 1024)),
    ("real0_fake0", ("real0",), ("fake0",), (1024, 1024)),
    ("real1_fake1", ("real1",), ("fake1",), (1024, 1024)),
    ("real0_rect", ("real0",), ("rect",), (300, 420))])
def test_attribute_loss(farl: VisionTransformer, vectors: Any, waves: Any, name: str, real: tuple[str, ...],
                        new: tuple[str, ...], size: tuple[int, int]) -> None:
    originals = waves(*(f"attrloss/{one}" for one in real), size=(1024, 1024), low=0)
    loss = attribute_loss(farl, waves(*(f"attrloss/{one}" for one in new), size=size), originals)
    assert float(loss) == pytest.approx(float(vectors("farl_vitb16_visual")[f"attrloss_{name}"]), rel=1e-5)


def test_gradient_of_the_attribute_loss(farl: VisionTransformer, vectors: Any, waves: Any) -> None:
    reference, image = vectors("farl_vitb16_visual"), waves("attrloss/fake0", size=(1024, 1024)).requires_grad_()
    loss = attribute_loss(farl, image, waves("attrloss/real0", size=(1024, 1024), low=0))
    gradient, = torch.autograd.grad(loss, image)
    cells = F.avg_pool2d(gradient, 16) * 16**2
    assert_same(cells, reference["attrloss_grad_fake0_sum16x16"], relative=1e-4, largest=float("inf"))
    assert float(gradient.norm()) == pytest.approx(float(reference["attrloss_grad_fake0_norm"]), rel=1e-4)


@torch.inference_mode()
def test_the_attribute_loss_sees_the_middle_square(vectors: Any, waves: Any) -> None:
    patch = vectors("farl_vitb16_visual")["attr_transform_patch"]
    generated = waves("attrloss/fake0", size=(1024, 1024))
    assert_same(fit_square(generated, 224)[..., 96:128, 96:128], patch)


@torch.inference_mode()
def test_clip_b32_with_weights_of_half_precision(filled: Any, vectors: Any, waves: Any) -> None:
    reference = vectors("clip_vitb32")
    network = VisionTransformer(half_rounded(filled("clip_vitb32", "visual.")))
    assert_same(network(waves("clip/x0", "clip/x1", size=(224, 224))), reference["embedding_224"])
    real = waves("attrloss/real0", size=(1024, 1024), low=0)
    assert_same(network(network.normalize(real)), reference["pairing_feature_real0"])


@torch.inference_mode()
def test_dino(filled: Any, vectors: Any, waves: Any) -> None:
    reference, network = vectors("dino_vitb16"), VisionTransformer(from_dino(filled("dino_vitb16")))
    tokens = network.tokens(waves("dino/x0", "dino/x1", size=(224, 224)))
    assert_same(network.finish(tokens), reference["embedding_224"])
    last = F.layer_norm(tokens[0, :8], (768,), network.ln_post_weight, network.ln_post_bias, 1e-6)
    assert_same(last, reference["last_tokens_x0_first8"])
    for name, low in (("real0", 0), ("fake0", -1)):
        image = waves(f"attrloss/{name}", size=(1024, 1024), low=low)
        assert_same(network(network.normalize(image)), reference[f"pairing_feature_{name}"])
