from __future__ import annotations

from typing import Any

import pytest
import torch
from agreement import assert_same

from mien.models.arcface import ArcFace, face_view
from mien.models.resizing import fit_square

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(filled: Any) -> ArcFace:
    network = ArcFace()
    network.load_state_dict(filled("arcface_ir_se50"))
    return network


@pytest.fixture(scope="module")
def pictures(waves: Any) -> dict[str, torch.Tensor]:
    return {"real1024": waves("idloss/real0", "idloss/real1", size=(1024, 1024), low=0),
            "fake1024": waves("idloss/fake0", "idloss/fake1", size=(1024, 1024)),
            "real256": waves("idloss/real256_0", "idloss/real256_1", size=(256, 256), low=0),
            "rect300x420": waves("idloss/rect", size=(300, 420))}


@torch.inference_mode()
def test_embeddings_of_aligned_faces(network: ArcFace, vectors: Any, waves: Any) -> None:
    faces = waves(*(f"arcface/x{i}" for i in range(3)), size=(112, 112))
    assert_same(network(faces), vectors("arcface_ir_se50")["embedding_112"])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["real1024", "fake1024", "real256", "rect300x420"])
def test_the_fixed_cut_and_its_embedding(network: ArcFace, vectors: Any, pictures: Any, name: str) -> None:
    reference, image = vectors("arcface_ir_se50"), pictures[name]
    assert_same(fit_square(image, 256)[..., 96:128, 96:128], reference[f"{name}_resized_patch"])
    view = face_view(image)
    assert_same(view[..., 40:72, 40:72], reference[f"{name}_pooled112_patch"])
    assert_same(network(view), reference[f"{name}_embedding"])
