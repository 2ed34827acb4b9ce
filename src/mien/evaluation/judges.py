"""Recognizers that judge: dlib's, which is in no loss, SFace and ArcFace, which may be, any that a user brings."""

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
Call = Callable[[Pixels, Floats], npt.ArrayLike]
WEIGHTS = {"dlib": ("dlib_resnet", "shape_predictor"), "sface": ("sface",)}  # of the built-in ones
_seen: dict[str, tuple[Call, str]] = {}  # judge of a user -> its function, and the fingerprint when it was first met


@dataclass(frozen=True)
class FaceJudge:
    """One recognizer.

    Attributes:
        embed: a photo [H, W, 3] uint8 RGB and a face in it -> vector [D] whose Euclidean distances tell people apart.
            ValueError: nothing can be said of these points.
    """

    name: str
    embed: Embed


def open_judges(names: list[str]) -> list[FaceJudge]:
    """The judges of these names: dlib, sface, arcface (where its weights were imported) or `module:function`.

    The function takes a photo [H, W, 3] uint8 RGB and five points [5, 2] and returns a vector. What it has seen is kept
    until its module's file changes.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: its weights cannot be had.
    """
    return [_open(name) for name in dict.fromkeys(names)]


def fingerprint(name: str) -> str:
    """What tells a judge from others of its name: of its weights, or of the file that a user's function is in.

    Other files that a user's function needs are not looked at. One that is in no file itself is new in every process.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: its weights cannot be had.
    """
    from mien.models.hub.fetch import ensure
    from mien.models.hub.imported import published_sha256

    if name in WEIGHTS:
        return " ".join(weights_sha256(one) for one in ensure(WEIGHTS[name]))
    if name == "arcface":
        return published_sha256(name)
    call = _found(name)
    # What judges is what was imported, whatever has become of the file since.
    if name not in _seen or _seen[name][0] is not call:
        _seen[name] = call, _of_files(name, call)
    return _seen[name][1]


def _of_files(name: str, call: Call) -> str:
    module = name.partition(":")[0]
    modules = dict.fromkeys((module, getattr(call, "__module__", None) or module))  # it may come from another one
    files = [getattr(sys.modules.get(one), "__file__", None) or "" for one in modules]
    if not all(Path(file).is_file() for file in files):
        return uuid.uuid4().hex
    return " ".join(sha256_of(Path(file)) for file in files)


def _open(name: str) -> FaceJudge:
    from mien.models.hub.fetch import ensure

    if name == "dlib":
        judge = load_judge(ensure(WEIGHTS[name]))
        return FaceJudge(name, lambda photo, face: judge.embed(photo, face.points[None])[0])
    if name == "sface":
        from mien.models.recognition.sface import SFace

        return FaceJudge(name, _by_view(SFace.from_file(ensure(WEIGHTS[name])[name])))
    if name == "arcface":
        from mien.models.hub.imported import published_path
        from mien.models.recognition.arcface import ArcFace

        return FaceJudge(name, _by_view(ArcFace.from_file(published_path("arcface"))))
    return FaceJudge(name, _plug_in(name))


def _by_view(network: Recognizer) -> Embed:
    def embed(photo: Pixels, face: Face) -> Floats:
        crop = align(photo, face)
        matrix = view_matrix(map_points(from_photo(crop.quad, len(crop.pixels)), face.points))
        with torch.inference_mode():
            return np.asarray(network.identify(view(to_tensor(crop.pixels), matrix, VIEW))[0])

    return embed


def _found(name: str) -> Call:
    module, _, function = name.partition(":")
    try:
        call: Call = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"there is no judge {name!r}: {error}",
                         f"the judges are {', '.join(WEIGHTS)}, arcface, or module:function") from error
    return call


def _plug_in(name: str) -> Embed:
    call = _found(name)

    def embed(photo: Pixels, face: Face) -> Floats:
        vector = np.asarray(call(photo, face.points), np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise UsageError(f"the judge {name} gave {list(vector.shape)} in place of a vector of finite numbers",
                             "it must return one vector for one face")
        return vector

    return embed
