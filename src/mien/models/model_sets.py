"""Defines the model sets: `mobile`, which mien fetches, and `falco`, published checkpoints that users import."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from mien.errors import ModelError, UsageError
from mien.models.bundle import Detector, Networks
from mien.models.detection.yunet import YuNet
from mien.models.features.base import AttributeFeatures, Features, IdentityFeatures, TokenFeatures
from mien.models.hub.cache import sha256_of, weights_sha256
from mien.models.hub.fetch import FetchProgress, ensure
from mien.models.hub.imported import published_path, published_sha256, read_record
from mien.models.hub.published import PUBLISHED
from mien.models.hub.shipped import shipped_file
from mien.models.recognition.dlib_judge import Judge
from mien.util.devices import CPU
from mien.util.precision import PRECISIONS

_JUDGING = ("yunet", "dlib_resnet", "shape_predictor")
MOBILE = ("mobilestylegan", "sface", *_JUDGING)
PUBLISHED_DETECTOR = ("s3fd", "fan")
FEATURES = ("farl", "clip_vitb16", "clip_vitb32", "dino_vitb16", "arcface")


@dataclass(frozen=True)
class ModelSet:
    """Names the networks of one model set.

    Attributes:
        name: `mobile` or `falco`. features: the name of the feature network.
        fetched: cards that are downloaded. published: checkpoints that the user imports. shipped: files of the package.
        pool: the networks among these that determine the numbers of a pool. detector: `yunet`, or `s3fd` (with 2D-FAN).
    """

    name: str
    features: str
    fetched: tuple[str, ...]
    published: tuple[str, ...]
    shipped: tuple[str, ...]
    pool: tuple[str, ...]
    detector: str = "yunet"

    def gather(self, progress: FetchProgress | None = None) -> dict[str, Path]:
        """Returns the files of all networks by name, and fetches those cards that are missing.

        Raises:
            ModelError: checkpoints have not been imported; the message names all of them.
            FetchError: weights cannot be fetched.
        """
        missing = [PUBLISHED[name] for name in self.published if read_record(name) is None]
        if len(missing) > 1:
            names = ", ".join(f"{one.name} ({one.files[0]}, {one.megabytes} MB)" for one in missing)
            raise ModelError(f"these checkpoints are not there: {names}",
                             "mien models list says where their authors publish them; then: mien models import FILE...")
        published = {name: published_path(name) for name in self.published}
        return ensure(self.fetched, progress) | published | {name: shipped_file(name) for name in self.shipped}

    def hashes(self) -> dict[str, str]:
        """Returns the SHA-256 of every weights file, by name.

        Raises:
            ModelError: one is missing.
        """
        return ({name: weights_sha256(name) for name in self.fetched}
                | {name: published_sha256(name) for name in self.published}
                | {name: sha256_of(shipped_file(name)) for name in self.shipped})

    def load(self, paths: dict[str, Path], detect_score: float = 0.6, precision: str = "float32",
             device: torch.device = CPU) -> Networks:
        """Loads all networks, frozen.

        Args:
            paths: the files of `gather`. detect_score: faces below this score, 0..1, are dropped.
            precision: `float32` or `bfloat16`, of the networks in the optimization; in the mobile set, whose networks
                are small, only of the preview. device: the device of all networks except YuNet.

        Raises:
            ModelError: a file does not hold its network.
        """
        detector = self.load_detector(paths, detect_score, device)
        if self.name == "mobile":
            return _load_mobile(paths, detector, PRECISIONS[precision], device)
        return _load_falco(self, paths, detector, PRECISIONS[precision], device)

    def load_detector(self, paths: dict[str, Path], score: float, device: torch.device = CPU) -> Detector:
        """Loads the detector.

        Args:
            score: faces below this score, 0..1, are dropped.

        Raises:
            ModelError: a file does not hold its network.
        """
        if self.detector == "yunet":
            return YuNet(paths["yunet"], score_threshold=score)
        from mien.models.detection.s3fd_fan import LandmarkDetector

        return LandmarkDetector.from_files(paths["s3fd"], paths["fan"], score, device)


def model_set(models: str, features: str = "auto", detector: str = "yunet") -> ModelSet:
    """Returns the model set of a name, with one of its feature networks and one of the detectors.

    Args:
        models: `mobile` or `falco`. features: `auto`, or for falco one of `FEATURES`. detector: `yunet` or `s3fd`.

    Raises:
        UsageError: there is no such set or detector, or the set has no such features.
    """
    if detector == "s3fd":
        usual = model_set(models, features)
        return replace(usual, published=usual.published + PUBLISHED_DETECTOR, detector=detector)
    if detector != "yunet":
        raise UsageError(f"there is no detector {detector!r}", "the detectors are yunet and s3fd")
    if models == "mobile" and features == "auto":
        return ModelSet("mobile", "attribute_network", MOBILE, (),
                        ("image_head_256", "image_head_128", "encoder", "attribute_network"),
                        ("mobilestylegan", "image_head_256", "attribute_network", "sface", "yunet"))
    if models == "falco" and features in ("auto", *FEATURES):
        chosen = "farl" if features == "auto" else features
        published = tuple(dict.fromkeys(("stylegan2_ffhq1024", "e4e", "arcface", chosen)))
        return ModelSet("falco", chosen, _JUDGING, published, (), ("stylegan2_ffhq1024", "arcface", chosen, "yunet"))
    if models in ("mobile", "falco"):
        raise UsageError(f"the {models} set has no features {features!r}",
                         f"falco has {', '.join(FEATURES)}; mobile has its own (auto)")
    raise UsageError(f"there is no model set {models!r}", "the sets are mobile and falco")


def load_judge(paths: dict[str, Path], device: torch.device = CPU) -> Judge:
    """Loads the identity judge of both sets, from the files of `dlib_resnet` and `shape_predictor`."""
    from mien.models.recognition.dlib_resnet import DlibResNet
    from mien.models.recognition.shape_predictor import ShapePredictor

    return Judge(DlibResNet.from_file(paths["dlib_resnet"]).to(device),
                 ShapePredictor.from_file(paths["shape_predictor"]))


def _load_mobile(paths: dict[str, Path], detector: Detector, precision: torch.dtype, device: torch.device) -> Networks:
    from mien.models.features.attribute_network import AttributeNetwork
    from mien.models.generators.mobile_encoder import SIZE, MobileEncoder
    from mien.models.generators.mobilestylegan import MobileStyleGAN
    from mien.models.generators.preview_head import SHAPES, PreviewHead
    from mien.models.recognition.sface import SFace

    generator = MobileStyleGAN.from_file(paths["mobilestylegan"]).to(device)
    heads = {size: PreviewHead.from_file(paths[f"image_head_{size}"], size).to(device) for size in SHAPES}
    features = AttributeFeatures(AttributeNetwork.from_file(paths["attribute_network"]).to(device))
    recognizer = SFace.from_file(paths["sface"]).to(device)
    encoder = MobileEncoder.from_file(paths["encoder"]).to(device)
    for network in (generator, recognizer):
        network.requires_grad_(False)
    middle = generator
    if precision is not torch.float32:
        middle, heads = generator.reduced(precision), {size: head.reduced(precision) for size, head in heads.items()}

    def preview(wp: Tensor, size: int) -> Tensor:
        return heads[size].preview(middle, wp)

    def encode(image: Tensor) -> Tensor:
        return encoder.encode(image, lambda codes: preview(middle.color(codes), SIZE))

    return Networks(generator, preview, features, recognizer, load_judge(paths, device), detector, encode, precision)


def _load_falco(chosen: ModelSet, paths: dict[str, Path], detector: Detector, precision: torch.dtype,
                device: torch.device) -> Networks:
    from mien.models.features.vit import VisionTransformer
    from mien.models.generators.e4e import E4eEncoder
    from mien.models.generators.stylegan2 import StyleGAN2
    from mien.models.recognition.arcface import ArcFace

    generator = StyleGAN2.from_file(paths["stylegan2_ffhq1024"]).to(device)
    encoder = E4eEncoder.from_file(paths["e4e"]).to(device)
    recognizer = ArcFace.from_file(paths["arcface"], precision).to(device)
    features: Features = (IdentityFeatures(recognizer) if chosen.features == "arcface"
                          else TokenFeatures(VisionTransformer.from_file(paths[chosen.features], precision).to(device)))

    def encode(image: Tensor) -> Tensor:
        return generator.whiten(encoder(image))

    return Networks(generator, lambda wp, size: generator(wp, size, precision), features, recognizer,
                    load_judge(paths, device), detector, encode, precision)
