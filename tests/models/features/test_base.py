from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from helpers.generated_people import Generated
from mien.models.features.attribute_network import VECTOR, AttributeNetwork
from mien.models.features.base import VECTOR_WEIGHT, AttributeFeatures, ConvFeatures
from mien.models.hub.shipped import shipped_file


@pytest.fixture(scope="module")
def network() -> AttributeNetwork:
    return AttributeNetwork.from_file(shipped_file("attribute_network"))


@torch.inference_mode()
def test_attribute_features_are_the_network_s_maps_and_its_vector(network: AttributeNetwork,
                                                                  generated: Generated) -> None:
    image = generated.faces.image
    maps, vector = AttributeFeatures(network).observe(image)
    assert [tuple(one.shape[1:]) for one in maps] == [(24, 56, 56), (40, 28, 28), (112, 14, 14), (320, 7, 7)]
    assert all(torch.allclose(one.norm(dim=1), torch.ones(()), atol=1e-4) for one in maps)
    assert vector.shape == (2, VECTOR)
    assert torch.allclose(vector, network.describe(network.pooled(image)), atol=1e-4)
    for one, again in zip(maps, AttributeFeatures(network)(image), strict=True):
        assert torch.equal(one, again)
    assert torch.equal(AttributeFeatures(network).embed(image), vector)


@torch.inference_mode()
def test_pairing_adds_up_what_the_map_and_the_vector_see(network: AttributeNetwork, generated: Generated) -> None:
    features = AttributeFeatures(network)
    maps, vector = features.observe(generated.faces.image)
    seen = features.pairing(maps, vector)
    shapes = ConvFeatures(network.maps).pairing(maps, vector)
    apart = [(one[0] - one[1]).square().sum() for one in (seen, shapes, vector)]
    assert apart[0] == pytest.approx(float(apart[1] + VECTOR_WEIGHT * apart[2]), rel=1e-4)
    assert apart[1] > 0 and apart[2] > 0


@torch.inference_mode()
def test_a_vector_changes_less_with_the_light_than_with_the_face(network: AttributeNetwork,
                                                                 generated: Generated) -> None:
    image = F.interpolate(generated.full, size=(256, 256), mode="area").clamp(-1, 1)
    vectors = network.describe(network.pooled(torch.cat([image, 0.85 * image - 0.05])))
    assert (vectors[:2] - vectors[2:]).norm(dim=1).max() < 0.7 * (vectors[0] - vectors[1]).norm()
