from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from helpers.agreement import assert_same
from mien.models.detection.fan import FAN, crop, frame, peaks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(filled: Any) -> FAN:
    network = FAN()
    network.load_state_dict(filled("fan4_2d"))
    return network


def drawn(fill: Any, height: int, width: int, variant: int) -> torch.Tensor:
    return torch.from_numpy(fill.formula_image(height, width, variant)).permute(2, 0, 1)


@torch.inference_mode()
def test_heat_maps_of_all_stacks_and_their_points(network: FAN, vectors: Any, fill: Any) -> None:
    reference = vectors("fan4_2d")
    stacks = network(drawn(fill, 256, 256, 2)[None] / 255)
    for i, maps in enumerate(stacks):
        found = torch.stack([maps[0].mean(dim=(1, 2)), maps[0].std(dim=(1, 2), unbiased=False)], dim=1)
        assert_same(found, reference[f"heatmap{i}_mean_std_per_channel"])
    assert_same(stacks[-1], reference["heatmap_last"])
    assert len(stacks) == 4
    differences = np.abs(peaks(stacks[-1])[0].numpy() - reference["points_heatmap_space"]).max(axis=1)
    assert (differences > 0).sum() <= 2


@pytest.mark.parametrize("name", ["inside", "over_border"])
def test_the_crop_of_a_box_and_its_landmarks(network: FAN, vectors: Any, fill: Any, name: str) -> None:
    reference, picture = vectors("fan4_2d"), drawn(fill, 480, 640, 3)
    box = torch.from_numpy(reference[f"box_{name}"])[:4]
    center, scale = frame(box)
    assert_same(np.array([*center.tolist(), scale]), reference[f"center_scale_{name}"])
    seen = crop(picture, center, scale)[None]
    assert_same(seen[..., 112:144, 112:144], reference[f"crop_{name}_patch"])
    assert_same(F.avg_pool2d(seen, 8), reference[f"crop_{name}_area32"])
    differences = np.abs(network.landmarks(picture, box[None])[0].numpy() - reference[f"landmarks_{name}"]).max(axis=1)
    assert (differences > 0).sum() <= 2 and differences.max() <= 1
