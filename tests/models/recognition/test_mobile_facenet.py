"""The architecture of MobileFaceNet, which is the same whatever its weights and the length of its vectors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mien.models.recognition.mobile_facenet import MobileFaceNet


@pytest.fixture(scope="module")
def network() -> MobileFaceNet:
    torch.manual_seed(0)
    return MobileFaceNet(width=192)


def test_it_has_the_layers_of_the_paper(network: MobileFaceNet) -> None:
    """Table 1 of Chen et al. 2018: 17 convolutions of 3 x 3, 15 bottlenecks, 12 of them residual, 7 x 7 at the end."""
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert [one.kernel_size[0] for one in convolutions].count(3) == 17
    assert len(network.blocks) == 15 and sum(block.is_residual for block in network.blocks) == 12
    assert [tuple(one.stride) for one in convolutions].count((2, 2)) == 4
    assert convolutions[-1].kernel_size == (7, 7) and convolutions[-1].groups == 512


def test_the_vectors_have_the_width_asked_for(network: MobileFaceNet) -> None:
    assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 192)


def test_a_batch_is_its_members(network: MobileFaceNet) -> None:
    x = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(x), torch.cat([network(one[None]) for one in x]), rtol=1e-5, atol=1e-6)


def test_gradients_reach_the_input_and_no_weight(network: MobileFaceNet) -> None:
    x = torch.zeros(1, 3, 112, 112, requires_grad=True)
    network(x).square().sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert not any(one.requires_grad for one in network.parameters()) and not network.train().training


@pytest.mark.parametrize("shape", [(3, 112, 112), (1, 1, 112, 112), (1, 3, 128, 128)])
def test_other_shapes_are_refused(network: MobileFaceNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="112"):
        network(torch.zeros(shape))
