"""Recognisers that judge: dlib's, which is never in a loss, SFace, which is, and any that a user brings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mien.errors import UsageError
from mien.geometry import to_tensor, view
from mien.losses import VIEW, view_matrix
from mien.models.networks import Recogniser
from mien.models.sets import load_judge
from mien.records import Face, Floats, Pixels
from mien.stages.align import align, from_photo, map_points

Embed = Callable[[Pixels, Face], Floats]
BUILT_IN = ("dlib", "sface")


@dataclass(frozen=True)
class FaceJudge:
    """One recogniser.

    Attributes:
        embed: a photo [H, W, 3] uint8 RGB and a face in it -> vector [D] whose Euclidean distances tell people apart.
            ValueError: nothing can be said of these points.
        in_loss: whether anonymising knew it, so that it is no fair judge.
    """

    name: str
    embed: Embed
    in_loss: bool = False


def open_judges(names: list[str]) -> list[FaceJudge]:
    """The judges of these names: dlib, sface, arcface (where its weights were imported) or `module:function`.

    The function takes a photo [H, W, 3] uint8 RGB and five points [5, 2] and returns a vector.

    Raises:
        UsageError: there is no such judge. FetchError, ModelError: its weights cannot be had.
    """
    return [_open(name) for name in dict.fromkeys(names)]


def _open(name: str) -> FaceJudge:
    from mien.models.fetch import ensure

    if name == "dlib":
        judge = load_judge(ensure(["dlib_resnet", "shape_predictor"]))
        return FaceJudge(name, lambda photo, face: judge.embed(photo, face.points[None])[0])
    if name == "sface":
        from mien.models.sface import SFace

        return FaceJudge(name, _by_view(SFace.from_file(ensure(["sface"])["sface"])), in_loss=True)
    if name == "arcface":
        from mien.models.arcface import ArcFace
        from mien.models.importing import published_path

        return FaceJudge(name, _by_view(ArcFace.from_file(published_path("arcface"))))
    return FaceJudge(name, _plug_in(name))


def _by_view(network: Recogniser) -> Embed:
    def embed(photo: Pixels, face: Face) -> Floats:
        crop = align(photo, face)
        matrix = view_matrix(map_points(from_photo(crop.quad, len(crop.pixels)), face.points))
        with torch.inference_mode():
            return np.asarray(network.identify(view(to_tensor(crop.pixels), matrix, VIEW))[0])

    return embed


def _plug_in(name: str) -> Embed:
    module, _, function = name.partition(":")
    try:
        call = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"there is no judge {name!r}: {error}",
                         f"the judges are {', '.join(BUILT_IN)}, arcface, or module:function") from error

    def embed(photo: Pixels, face: Face) -> Floats:
        vector = np.asarray(call(photo, face.points), np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise UsageError(f"the judge {name} gave {list(vector.shape)} in place of a vector of finite numbers",
                             "it must return one vector for one face")
        return vector

    return embed
