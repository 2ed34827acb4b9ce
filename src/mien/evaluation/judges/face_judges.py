"""Recognizers that judge who is who.

They are faceplugin, the independent judge, which neither trains nor gates; dlib, the gate, which decides which new
faces pass; SFace and ArcFace, which may be in the loss; and a user's own, as an ONNX file or a function.
"""

from __future__ import annotations

import importlib
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mien.anonymizer.align import align, from_photo, map_points
from mien.anonymizer.losses import VIEW, view_matrix
from mien.errors import MienError, UsageError
from mien.evaluation.judges.onnx_judge import OnnxRecognizer, is_onnx, split_name
from mien.images.formats import printable
from mien.models.hub.cache import sha256_of, weights_sha256
from mien.models.hub.shipped import shipped_file
from mien.models.model_sets import load_judge
from mien.types import Face, Floats, Pixels
from mien.util.image_tensors import to_tensor, view

Embed = Callable[[Pixels, Face], Floats]
Identify = Callable[[torch.Tensor], torch.Tensor]  # faces [1, 3, 112, 112] in -1..1 -> unit vectors [1, D]
PlugIn = Callable[[Pixels, Floats], npt.ArrayLike | None]  # a user's function, see `load_face_judges`
DEFAULT_JUDGES = ("faceplugin", "dlib", "sface")
JUDGE_WEIGHTS = {"dlib": ("dlib_resnet", "shape_predictor"), "sface": ("sface",)}  # of those that are fetched
_plug_ins: dict[str, tuple[PlugIn, str]] = {}  # name -> function, and its fingerprint when it was first imported


@dataclass(frozen=True)
class FaceJudge:
    """One recognizer that judges.

    Attributes:
        name: in figures, see `judge_name`.
        embed: a photo [H, W, 3] uint8 RGB and a face in it -> vector [D] whose Euclidean distances tell people apart.
            It raises ValueError where no face can have such points or a plug-in cannot judge the face, and UsageError
            where a plug-in fails.
    """

    name: str
    embed: Embed


def load_face_judges(names: Sequence[str]) -> list[FaceJudge]:
    """Loads the judges of these names.

    They are faceplugin, dlib, sface, arcface (where its weights were imported), the path of an ONNX file, with its
    `OnnxInput` or without, and `module:function`. The function takes a photo [H, W, 3] uint8 RGB and five points [5, 2]
    and returns a vector of finite numbers, or None for a face that it cannot judge. Its vectors are kept until its
    module's file changes.

    Raises:
        UsageError: there is no such judge, two have one name, or an ONNX file cannot judge.
        FetchError, ModelError: its weights cannot be had.
    """
    names = list(dict.fromkeys(names))
    name, count = max(Counter(map(judge_name, names)).items(), key=lambda one: one[1], default=("", 0))
    if count > 1:
        raise UsageError(f"{count} judges are called {name!r}",
                         "an ONNX file's judge is called as the file, without folder and ending: rename one")
    return [_load(one) for one in names]


def judge_name(name: str) -> str:
    """The name that figures have of a judge: an ONNX file's stem; any other judge's own."""
    return printable(Path(name.partition("?")[0]).stem) if is_onnx(name) else name


def fingerprint(name: str) -> str:
    """A judge's identity: the SHA-256 of its weights, or of the files that a plug-in was imported from.

    An ONNX file's input counts as well. Other files that a plug-in or an ONNX file uses are not considered. A function
    that is in no file has a new fingerprint in every process.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: its weights cannot be had.
    """
    from mien.models.hub.fetch import ensure
    from mien.models.hub.imported import published_sha256

    if name in JUDGE_WEIGHTS:
        return " ".join(weights_sha256(one) for one in ensure(JUDGE_WEIGHTS[name]))
    if name == "faceplugin":
        return sha256_of(shipped_file("independent_judge"))
    if name == "arcface":
        return published_sha256(name)
    if is_onnx(name):
        path, given = split_name(name)
        return f"{sha256_of(path)} {given.channels} {given.mean} {given.scale}"
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

    if name == "faceplugin":
        from mien.models.recognition.independent_judge import IndependentJudge

        return FaceJudge(name, _embed_with(IndependentJudge.from_file(shipped_file("independent_judge")).identify))
    if name == "dlib":
        judge = load_judge(ensure(JUDGE_WEIGHTS[name]))
        return FaceJudge(name, lambda photo, face: judge.embed(photo, face.points[None])[0])
    if name == "sface":
        from mien.models.recognition.sface import SFace

        return FaceJudge(name, _embed_with(SFace.from_file(ensure(JUDGE_WEIGHTS[name])[name]).identify))
    if name == "arcface":
        from mien.models.hub.imported import published_path
        from mien.models.recognition.arcface import ArcFace

        return FaceJudge(name, _embed_with(ArcFace.from_file(published_path("arcface")).identify))
    if is_onnx(name):
        return FaceJudge(judge_name(name), _embed_with(OnnxRecognizer(*split_name(name)).identify))
    return FaceJudge(name, _embed_with_plug_in(name))


def _embed_with(identify: Identify) -> Embed:
    def embed(photo: Pixels, face: Face) -> Floats:
        with torch.inference_mode():
            return np.asarray(identify(aligned_chip(photo, face))[0])

    return embed


def aligned_chip(photo: Pixels, face: Face) -> Tensor:
    """Cuts a face out of a photo [H, W, 3] uint8, aligned to the ArcFace template: [1, 3, 112, 112] in -1..1.

    Raises:
        ValueError: no face can have such points.
    """
    crop = align(photo, face)
    matrix = view_matrix(map_points(from_photo(crop.quad, len(crop.pixels)), face.points))
    return view(to_tensor(crop.pixels), matrix, VIEW)


def _import(name: str) -> PlugIn:
    module, _, function = name.partition(":")
    try:
        plug_in: PlugIn = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever the module does when it is imported
        known = ", ".join(DEFAULT_JUDGES)
        kind = "" if isinstance(error, (ImportError, AttributeError, ValueError)) else f"{type(error).__name__}: "
        raise UsageError(f"there is no judge {name!r}: {kind}{error}",
                         f"the judges are {known}, arcface, FILE.onnx or module:function") from error
    if not callable(plug_in):
        raise UsageError(f"the judge {name!r} is no function: {type(plug_in).__name__}",
                         "give module:function, a function of a photo and five points")
    return plug_in


def _embed_with_plug_in(name: str) -> Embed:
    plug_in = _import(name)

    must = "it must return one vector for one face, or None for a face that it cannot judge"

    def embed(photo: Pixels, face: Face) -> Floats:
        try:
            told = plug_in(photo, face.points)
            vector = None if told is None else np.asarray(told, np.float32)
        except MienError:
            raise
        except Exception as error:  # a ValueError as well, which would be taken for a face that cannot be judged
            raise UsageError(f"the judge {name} failed: {type(error).__name__}: {error}", must) from error
        if vector is None:
            raise ValueError(f"the judge {name} cannot judge the face")
        if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
            raise UsageError(f"the judge {name} returned {list(vector.shape)} in place of a vector of finite numbers",
                             must)
        return vector

    return embed
