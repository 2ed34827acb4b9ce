from __future__ import annotations

from typing import cast

import numpy as np
import torch

from helpers.generated_people import Generated
from mien.anonymizer.render import render
from mien.models.bundle import Networks
from mien.util.image_tensors import to_pixels


def test_pictures_are_the_generator_s_own(networks: Networks, generated: Generated) -> None:
    """They are rendered through `color`, clamped and rounded, one by one as in a batch."""
    pictures = render(networks, generated.codes[:, None].expand(-1, 16, -1))
    assert [(picture.shape, picture.dtype) for picture in pictures] == [((1024, 1024, 3), np.uint8)] * 2
    for picture, full in zip(pictures, to_pixels(generated.full), strict=True):
        difference = np.abs(picture.astype(int) - full.numpy().astype(int))
        assert difference.max() <= 2 and difference.mean() < 0.01  # whitening and back costs a little rounding


def test_the_reference_stretches_each_picture_by_itself() -> None:
    class Ramp:
        """Draws a ramp from 0 to the code's first number."""

        generator = property(lambda self: self)

        def color(self, codes: torch.Tensor) -> torch.Tensor:
            return codes

        def render(self, wp: torch.Tensor) -> torch.Tensor:
            return torch.linspace(0, float(wp[0, 0, 0]), 256).expand(1, 3, 4, 256)

    codes = torch.tensor([0.1, 7.0])[:, None, None].expand(2, 16, 512)
    first, second = render(cast(Networks, Ramp()), codes, stretch=True)
    assert first.shape == second.shape == (4, 256, 3)
    for picture in (first, second):
        assert (picture == picture[:1, :, :1]).all()
        assert np.abs(picture[0, :, 0] - np.arange(256)).max() <= 1  # cut to whole numbers
        assert (picture[0, 0, 0], picture[0, -1, 0]) == (0, 255)
    plain = render(cast(Networks, Ramp()), codes)
    assert plain[0].min() == 128 and plain[0].max() == 140 and plain[1].max() == 255
    assert render(cast(Networks, Ramp()), torch.zeros(1, 16, 512), stretch=True)[0].max() == 0


def test_no_codes_no_pictures(networks: Networks) -> None:
    assert render(networks, torch.zeros(0, 16, 512)) == []
