"""Loads the networks that judge."""

from __future__ import annotations

from collections.abc import Sequence

from mien.evaluation.judges import fingerprint, open_judges
from mien.evaluation.measure import Evaluators
from mien.models.detection.centerface import CenterFace
from mien.models.detection.yunet import YuNet
from mien.models.features.age_gender import AgeGender
from mien.models.features.attribute_network import AttributeJudge
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.features.inception import Inception
from mien.models.hub.cache import sha256_of, weights_sha256
from mien.models.hub.fetch import ensure
from mien.models.hub.imported import published_path, published_sha256, read_record
from mien.models.hub.shipped import shipped_file
from mien.models.model_sets import load_judge
from mien.models.recognition.shape_predictor import ShapePredictor

WEIGHTS = ("yunet", "centerface", "efficientnet_lite0", "age", "gender", "dlib_resnet", "shape_predictor",
           "shape_predictor_68")
SCORE = 0.6  # from which YuNet's finding is a face, as in anonymizing


def open_detector() -> YuNet:
    """Who finds the originals' faces."""
    return YuNet(ensure(["yunet"])["yunet"], score_threshold=SCORE)


def fingerprints(judges: Sequence[str]) -> dict[str, str]:
    """Of all weights by which is seen, and of the judges: what was seen by others is not what these see.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: weights cannot be had.
    """
    imported = {"inception": published_sha256("inception")} if read_record("inception") else {}
    return ({name: weights_sha256(name) for name in ensure(WEIGHTS)} | imported
            | {"attribute_judge": sha256_of(shipped_file("attribute_judge"))}
            | {f"judge {name}": fingerprint(name) for name in judges})


def open_instruments(judges: Sequence[str]) -> Evaluators:
    """Fetch what is missing and load everything.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: weights cannot be had.
    """
    paths = ensure(WEIGHTS)
    return Evaluators(
        open_judges(list(judges)),
        open_detector(),
        CenterFace(paths["centerface"]),
        AttributeJudge.from_file(shipped_file("attribute_judge")),
        EfficientNetLite0.from_file(paths["efficientnet_lite0"]),
        load_judge(paths),
        ShapePredictor.from_file(paths["shape_predictor_68"]),
        AgeGender(paths["age"], paths["gender"]),
        Inception.from_file(published_path("inception")) if read_record("inception") else None,
    )
