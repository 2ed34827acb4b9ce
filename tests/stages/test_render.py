from __future__ import annotations

import numpy as np
import torch

from generated import Generated
from mien.geometry import to_pixels
from mien.models.networks import Networks
from mien.stages.render import render


def test_pictures_are_the_generator_s_own(networks: Networks, generated: Generated) -> None:
    """Whitened codes through `colour`, clamped and rounded; each alone as it is in a batch."""
    pictures = render(networks, generated.codes[:, None].expand(-1, 16, -1))
    assert [(picture.shape, picture.dtype) for picture in pictures] == [((1024, 1024, 3), np.uint8)] * 2
    for picture, full in zip(pictures, to_pixels(generated.full), strict=True):
        difference = np.abs(picture.astype(int) - full.numpy().astype(int))
        assert difference.max() <= 2 and difference.mean() < 0.01  # whitening and back costs a little rounding


def test_no_codes_no_pictures(networks: Networks) -> None:
    assert render(networks, torch.zeros(0, 16, 512)) == []
