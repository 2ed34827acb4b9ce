"""The networks of one model set, loaded together."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from mien.models.efficientnet_lite0 import EfficientNetLite0
from mien.models.image_head import BLOCKS, ImageHead
from mien.models.judge import Judge
from mien.models.mobilestylegan import MobileStyleGAN
from mien.models.sface import SFace
from mien.models.yunet import YuNet

MOBILE = ("mobilestylegan", "yunet", "sface", "dlib_resnet", "shape_predictor", "efficientnet_lite0")


@dataclass(frozen=True)
class Networks:
    """Frozen networks: generator, cheap look at its picture, features, loss's recogniser, judge, detector."""

    generator: MobileStyleGAN
    head: ImageHead
    features: EfficientNetLite0
    recogniser: SFace
    judge: Judge
    detector: YuNet

    def look(self, wp: Tensor) -> Tensor:
        """W+ [B, 16, 512] -> picture [B, 3, 256, 256] in about -1..1, through the image head."""
        return self.head(self.generator.modulated(wp, BLOCKS), wp)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def render(self, wp: Tensor) -> Tensor:
        """W+ [B, 16, 512] -> pictures [B, 3, 1024, 1024], one at a time: memory stays that of one."""
        return torch.cat([self.generator(wp[i : i + 1]) for i in range(len(wp))])


def head_file() -> Path:
    """The image head that ships with the package."""
    return Path(str(resources.files("mien").joinpath("weights", "image_head_256.safetensors")))


def load_networks(paths: dict[str, Path], detect_score: float = 0.6) -> Networks:
    """Load the `mobile` set from converted files.

    Raises:
        ModelError: a file is missing or does not hold its network.
    """
    from mien.models.dlib_resnet import DlibResNet
    from mien.models.shape_predictor import ShapePredictor

    networks = Networks(
        generator=MobileStyleGAN.from_file(paths["mobilestylegan"]),
        head=ImageHead.from_file(head_file()),
        features=EfficientNetLite0.from_file(paths["efficientnet_lite0"]),
        recogniser=SFace.from_file(paths["sface"]),
        judge=Judge(DlibResNet.from_file(paths["dlib_resnet"]),
                    ShapePredictor.from_file(paths["shape_predictor"])),
        detector=YuNet(paths["yunet"], score_threshold=detect_score),
    )
    for network in (networks.generator, networks.head, networks.features, networks.recogniser):
        network.requires_grad_(False)
    return networks
