"""Recognizers that judge who is who: dlib's, which is in no loss, SFace and ArcFace, which may be, and plug-ins."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mien.anonymizer.align import align, from_photo, map_points
from mien.anonymizer.losses import VIEW, view_matrix
from mien.errors import UsageError
from mien.models.bundle import Recognizer
from mien.models.hub.cache import sha256_of, weights_sha256
from mien.models.model_sets import load_judge
from mien.types import Face, Floats, Pixels
from mien.util.image_tensors import to_tensor, view

Embed = Callable[[Pixels, Face], Floats]
PlugIn = Callable[[Pixels, Floats], npt.ArrayLike]  # a user's function, see `load_face_judges`
JUDGE_WEIGHTS = {"dlib": ("dlib_resnet", "shape_predictor"), "sface": ("sface",)}  # of the built-in ones
_plug_ins: dict[str, tuple[PlugIn, str]] = {}  # name -> function, and its fingerprint when it was first imported


@dataclass(frozen=True)
class FaceJudge:
    """One recognizer that judges.

    Attributes:
        embed: a photo [H, W, 3] uint8 RGB and a face in it -> vector [D] whose Euclidean distances tell people apart.
            It raises ValueError where no face can have such points.
    """

    name: str
    embed: Embed


def load_face_judges(names: list[str]) -> list[FaceJudge]:
    """Loads the judges of these names: dlib, sface, arcface (where its weights were imported) or `module:function`.

    The function takes a photo [H, W, 3] uint8 RGB and five points [5, 2] and returns a vector. Its vectors are kept
    until its module's file changes.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: its weights cannot be had.
    """
    return [_load(name) for name in dict.fromkeys(names)]


def fingerprint(name: str) -> str:
    """A judge's identity: the SHA-256 of its weights, or of the files that a plug-in was imported from.

    Other files that a plug-in uses are not considered. A function that is in no file has a new fingerprint in every
    process.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: its weights cannot be had.
    """
    from mien.models.hub.fetch import ensure
    from mien.models.hub.imported import published_sha256

    if name in JUDGE_WEIGHTS:
        return " ".join(weights_sha256(one) for one in ensure(JUDGE_WEIGHTS[name]))
    if name == "arcface":
        return published_sha256(name)
    plug_in = _import(name)
    # What judges is what was imported, whatever has become of the file since.
    if name not in _plug_ins or _plug_ins[name][0] is not plug_in:
        _plug_ins[name] = plug_in, _of_files(name, plug_in)
    return _plug_ins[name][1]


def _of_files(name: str, plug_in: PlugIn) -> str:
    module = name.partition(":")[0]
    modules = dict.fromkeys((module, getattr(plug_in, "__module__", None) or module))  # it may come from another one
    files = [getattr(sys.modules.get(one), "__file__", None) or "" for one in modules]
    if not all(Path(file).is_file() for file in files):
        return uuid.uuid4().hex
    return " ".join(sha256_of(Path(file)) for file in files)


def _load(name: str) -> FaceJudge:
    from mien.models.hub.fetch import ensure

    if name == "dlib":
        judge = load_judge(ensure(JUDGE_WEIGHTS[name]))
        return FaceJudge(name, lambda photo, face: judge.embed(photo, face.points[None])[0])
    if name == "sface":
        from mien.models.recognition.sface import SFace

        return FaceJudge(name, _embed_with(SFace.from_file(ensure(JUDGE_WEIGHTS[name])[name])))
    if name == "arcface":
        from mien.models.hub.imported import published_path
        from mien.models.recognition.arcface import ArcFace

        return FaceJudge(name, _embed_with(ArcFace.from_file(published_path("arcface"))))
    return FaceJudge(name, _embed_with_plug_in(name))


def _embed_with(network: Recognizer) -> Embed:
    def embed(photo: Pixels, face: Face) -> Floats:
        crop = align(photo, face)
        matrix = view_matrix(map_points(from_photo(crop.quad, len(crop.pixels)), face.points))
        with torch.inference_mode():
            return np.asarray(network.identify(view(to_tensor(crop.pixels), matrix, VIEW))[0])

    return embed


def _import(name: str) -> PlugIn:
    module, _, function = name.partition(":")
    try:
        plug_in: PlugIn = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"there is no judge {name!r}: {error}",
                         f"the judges are {', '.join(JUDGE_WEIGHTS)}, arcface, or module:function") from error
    return plug_in


def _embed_with_plug_in(name: str) -> Embed:
    plug_in = _import(name)

    def embed(photo: Pixels, face: Face) -> Floats:
        vector = np.asarray(plug_in(photo, face.points), np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise UsageError(f"the judge {name} returned {list(vector.shape)} in place of a vector of finite numbers",
                             "it must return one vector for one face")
        return vector

    return embed
