"""Loads the networks that faces are measured with, and says which weights they have."""

from __future__ import annotations

from collections.abc import Sequence

from mien.evaluation.judges.face_judges import fingerprint, judge_name, load_face_judges
from mien.evaluation.look.measure_look import LookEvaluators
from mien.evaluation.measure_face import Evaluators
from mien.models.detection.centerface import CenterFace
from mien.models.detection.yunet import YuNet
from mien.models.features.age_gender import AgeGender
from mien.models.features.attribute_network import AttributeJudge
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.features.expression import Expression
from mien.models.features.face_mesh import FaceMesh
from mien.models.features.inception import Inception
from mien.models.features.iris import Iris
from mien.models.features.look_judge import LookJudge
from mien.models.hub.cache import sha256_of, weights_sha256
from mien.models.hub.fetch import ensure
from mien.models.hub.imported import published_path, published_sha256, read_record
from mien.models.hub.shipped import shipped_file
from mien.models.model_sets import load_judge
from mien.models.recognition.shape_predictor import ShapePredictor

WEIGHTS = ("yunet", "centerface", "efficientnet_lite0", "age", "gender", "dlib_resnet", "shape_predictor",
           "shape_predictor_68", "face_mesh", "iris")
SHIPPED_JUDGES = ("attribute_judge", "look_judge", "expression")
SCORE = 0.6  # from which YuNet takes something for a face, as in the default recipe


def load_detector() -> YuNet:
    """Loads the detector that finds the faces in the originals.

    Raises:
        FetchError, ModelError: its weights cannot be had.
    """
    return YuNet(ensure(["yunet"])["yunet"], score_threshold=SCORE)


def fingerprints(judges: Sequence[str]) -> dict[str, str]:
    """SHA-256 of all weights that faces are measured with, and of the judges: measurements by others are made anew.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: weights cannot be had.
    """
    imported = {"inception": published_sha256("inception")} if read_record("inception") else {}
    return ({name: weights_sha256(name) for name in ensure(WEIGHTS)} | imported
            | {name: sha256_of(shipped_file(name)) for name in SHIPPED_JUDGES}
            | {f"judge {judge_name(name)}": fingerprint(name) for name in judges})


def load_evaluators(judges: Sequence[str]) -> Evaluators:
    """Fetches what is missing and loads everything.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: weights cannot be had.
    """
    paths = ensure(WEIGHTS)
    return Evaluators(
        load_face_judges(list(judges)),
        load_detector(),
        CenterFace(paths["centerface"]),
        AttributeJudge.from_file(shipped_file("attribute_judge")),
        EfficientNetLite0.from_file(paths["efficientnet_lite0"]),
        load_judge(paths),
        ShapePredictor.from_file(paths["shape_predictor_68"]),
        AgeGender(paths["age"], paths["gender"]),
        LookEvaluators(LookJudge.from_file(shipped_file("look_judge")),
                       Expression.from_file(shipped_file("expression")), FaceMesh.from_file(paths["face_mesh"]),
                       Iris.from_file(paths["iris"])),
        Inception.from_file(published_path("inception")) if read_record("inception") else None,
    )
