"""The look judge: what it tells of a known portrait, alone and in a batch, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.anonymizer.align import align
from mien.errors import ModelError
from mien.evaluation.judges.face_judges import aligned_chip
from mien.models.detection.yunet import YuNet
from mien.models.features.attribute_network import AttributeJudge
from mien.models.features.look_judge import GROUPS, LookJudge
from mien.models.hub.shipped import shipped_file
from mien.util.image_tensors import to_tensor

Known = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def judge() -> LookJudge:
    return LookJudge.from_file(shipped_file("look_judge"))


@pytest.fixture(scope="module")
def astronaut(weights: Callable[[str], Path]) -> Known:
    """Pooled features [1, 1280] and chip [1, 3, 112, 112] of NASA's portrait of Eileen Collins."""
    pixels = np.asarray(Image.open(weights("astronaut")).convert("RGB"))
    face = YuNet(weights("yunet"), score_threshold=0.6).detect(pixels)[0]
    with torch.inference_mode():
        attributes = AttributeJudge.from_file(shipped_file("attribute_judge"))
        return attributes.pooled(to_tensor(align(pixels, face).pixels)), aligned_chip(pixels, face)


@torch.inference_mode()
def test_a_known_portrait_is_told_right(judge: LookJudge, astronaut: Known) -> None:
    """Eileen Collins, who is white, was 36 years old when it was taken."""
    told = judge(*astronaut)
    assert 0 <= float(told.man) <= 1
    assert GROUPS[int(told.group[0].argmax())] == "white" and told.group.sum() == pytest.approx(1)
    assert 20 < float(told.age) < 52


@torch.inference_mode()
def test_a_batch_gives_what_its_faces_give_alone(judge: LookJudge, astronaut: Known) -> None:
    features, chip = astronaut
    alone, other = judge(features, chip), judge(features, chip.flip(3))
    together = judge(features.repeat(2, 1), torch.cat([chip, chip.flip(3)]))
    for one, a, b in zip(together, alone, other, strict=True):
        assert torch.allclose(one, torch.cat([a, b]), atol=1e-4)


def test_its_weights_take_no_gradient(judge: LookJudge) -> None:
    assert not any(one.requires_grad for one in judge.parameters())


def test_another_file_is_refused() -> None:
    with pytest.raises(ModelError, match="look judge"):
        LookJudge.from_file(shipped_file("attribute_judge"))
