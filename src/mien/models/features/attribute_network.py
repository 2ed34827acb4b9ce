"""Implements this project's own networks for CelebA's 40 attributes and for a face's appearance without its identity.

`training/attributes.py` trained the two of them independently. The attribute network (on EfficientNet-Lite0) is used
to anonymize: its maps in the attribute loss, one of its maps and its vector to pair faces. The attribute judge (on
EfficientNet-Lite1) only judges results.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.models.features.efficientnet_lite import BLOCKS, HEAD_CHANNELS, LITE1_BLOCKS, EfficientNetLite0
from mien.models.hints import REINSTALL
from mien.models.hub.load_state import load_into

# In the order of CelebA's files (Liu et al. 2015, arXiv 1411.7766).
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)  # fmt: skip
VECTOR = 64  # length of the pairing vector
SIZE = 224  # px, of the input


class AttributeClassifier(nn.Module):
    """Classifies aligned faces [B, 3, H, W] in -1..1: logits [B, 40] in the order of `ATTRIBUTES`.

    Attributes:
        blocks: the blocks of its EfficientNet-Lite.
    """

    blocks: ClassVar[tuple[tuple[int, int, int, int], ...]] = BLOCKS

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0(channels_last=True, blocks=self.blocks)
        self.classify = nn.Linear(HEAD_CHANNELS, len(ATTRIBUTES))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Loads trained weights (safetensors, float16 or float32) and freezes them.

        Raises:
            ModelError: the file does not hold this network.
        """
        return load_into(cls(), path, "an attribute network", REINSTALL).eval().requires_grad_(False)

    def maps(self, image: Tensor) -> tuple[Tensor, ...]:
        """Computes the trunk's maps of aligned faces, at 56, 28, 14 and 7 px."""
        return tuple(self.trunk(_resized(image)))

    def pooled(self, image: Tensor) -> Tensor:
        """Computes pooled features [B, 1280] of aligned faces."""
        return self.trunk.head(_resized(image)).mean(dim=(2, 3))

    def forward(self, image: Tensor) -> Tensor:
        return torch.as_tensor(self.classify(self.pooled(image)))


class AttributeJudge(AttributeClassifier):
    """The classifier that only judges results; it has another backbone and another seed."""

    blocks = LITE1_BLOCKS


class AttributeNetwork(AttributeClassifier):
    """The classifier in the losses, with a pairing vector that identity and origin have been removed from."""

    def __init__(self) -> None:
        super().__init__()
        self.describe = nn.Linear(HEAD_CHANNELS, VECTOR)

    def vector(self, last: Tensor) -> Tensor:
        """Computes pairing vectors [B, 64] of the last of `maps`."""
        return torch.as_tensor(self.describe(F.relu6(self.trunk.top(last)).mean(dim=(2, 3))))


def _resized(image: Tensor) -> Tensor:
    return F.interpolate(image, size=(SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
