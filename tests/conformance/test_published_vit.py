from __future__ import annotations

from typing import Any

import pytest
import torch
from agreement import assert_same

from mien.models.resizing import fit_square
from mien.models.vit import VisionTransformer, from_dino

pytestmark = pytest.mark.slow


def half_rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As if read from an OpenAI file: all but norms and embeddings are float16 there."""
    return {key: value if "ln_" in key or "embedding" in key else value.half().float() for key, value in state.items()}


@torch.inference_mode()
def test_farl(filled: Any, vectors: Any, waves: Any) -> None:
    reference, state = vectors("farl_vitb16_visual"), filled("farl_vitb16_visual", "visual.")
    network = VisionTransformer(state)
    faces = waves("farl/x0", "farl/x1", size=(224, 224))
    tokens = network.tokens(faces)
    assert_same(tokens[0], reference["tokens_before_ln_post_x0"])
    assert_same(network.finish(tokens), reference["embedding_224"])
    real = waves("attrloss/real0", size=(1024, 1024), low=0)
    assert_same(network(network.normalise(real))[0], reference["pairing_feature_real0"].reshape(-1))
    assert_same(VisionTransformer(half_rounded(state))(faces), reference["embedding_224_half_rounded_weights"])


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
    assert_same(network(network.normalise(real))[0], reference["pairing_feature_real0"].reshape(-1))


@torch.inference_mode()
def test_dino(filled: Any, vectors: Any, waves: Any) -> None:
    reference, network = vectors("dino_vitb16"), VisionTransformer(from_dino(filled("dino_vitb16")))
    assert_same(network(waves("dino/x0", "dino/x1", size=(224, 224))), reference["embedding_224"])
    for name, low in (("real0", 0), ("fake0", -1)):
        image = waves(f"attrloss/{name}", size=(1024, 1024), low=low)
        assert_same(network(network.normalise(image))[0], reference[f"pairing_feature_{name}"].reshape(-1))
