from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from helpers.agreement import assert_same
from mien.models.generators.e4e import E4eEncoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(filled: Any, manifest: Any, fill: Any) -> E4eEncoder:
    network = E4eEncoder()
    mean = torch.from_numpy(fill.tensor(manifest("e4e_ffhq_encode")["latent_avg"]))
    network.load_state_dict(filled("e4e_ffhq_encode", "encoder.") | {"latent_avg": mean})
    return network


@torch.inference_mode()
def test_codes_and_taps(encoder: E4eEncoder, vectors: Any, waves: Any, fill: Any) -> None:
    reference = vectors("e4e_ffhq_encode")
    drawn = (fill.formula_image(256, 256, 0).transpose(2, 0, 1).astype(np.float32) / 255 - 0.5) / 0.5
    images = torch.cat([waves("e4e/x0", "e4e/x1", size=(256, 256)), torch.from_numpy(drawn)[None]])
    for block, x in zip((6, 20, 23), encoder.taps(images), strict=True):
        found = torch.stack([x.mean(dim=(1, 2, 3)), x.std(dim=(1, 2, 3), unbiased=False)], dim=1)
        assert_same(found, reference[f"body{block}_mean_std_per_image"])
    assert_same(x[:1, :32, :4, :4], reference["body23_crop"])
    offsets = encoder.offsets(images)
    assert_same(offsets, reference["codes_without_avg"])
    assert_same(offsets + encoder.latent_avg, reference["codes"])
