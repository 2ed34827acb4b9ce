"""Measures how one face looks: sex, age, ethnic group, expression, eyes, mouth, pose, colors, light, grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mien.evaluation.judges.face_judges import aligned_chip
from mien.evaluation.look.appearance import pixel_look
from mien.evaluation.look.eyes import eye_state, eye_states, head_pose, mouth_openness
from mien.models.features.expression import EXPRESSIONS, Expression
from mien.models.features.face_mesh import FaceMesh
from mien.models.features.iris import Eye, Iris
from mien.models.features.look_judge import GROUPS, LookJudge
from mien.types import Crop, Face, Floats, Pixels

Measured = dict[str, npt.ArrayLike]


@dataclass(frozen=True)
class LookEvaluators:
    """Networks that see what people see of a face; none of them took part in anonymizing.

    Attributes:
        judge: tells sex, age and ethnic group. mesh: MediaPipe's 468 points. iris: its points of eyes and irises.
    """

    judge: LookJudge
    expression: Expression
    mesh: FaceMesh
    iris: Iris


def measure_look(evaluators: LookEvaluators, photo: Pixels, face: Face, crop: Crop, pooled: Tensor) -> Measured:
    """Measures the look of a face in a photo [H, W, 3] uint8 RGB.

    Args:
        face: as found in this photo. crop: where the original has the face. pooled: [1, 1280] of the attribute judge.

    Returns:
        look_man: probability. look_age: years. look_group: [5] probabilities. expression: [7] probabilities.
        gaze: [2] degrees to the image's right and up. eyes_open: gap of the lids over the eyes' width, mean of the eyes
        that are seen. mouth_open: gap of the lips over the mouth's width. pose: [3] yaw, pitch, roll in degrees.
        The fields of `PixelLook`. NaN where something cannot be told.
    """
    measured = _who(evaluators.judge, photo, face, pooled)
    measured["expression"] = _expression(evaluators.expression, photo, face)
    mesh = eyes = None
    try:
        mesh = evaluators.mesh.tell(photo, face)
        eyes = evaluators.iris.tell(photo, mesh)
    except ValueError:  # points that no face can have, or no face is seen there
        pass
    measured |= _points(mesh, eyes)
    return measured | vars(pixel_look(photo, crop, mesh, None if eyes is None else _irises(eyes)))


def _who(judge: LookJudge, photo: Pixels, face: Face, pooled: Tensor) -> Measured:
    """Sex, age and ethnic group."""
    try:
        chip = aligned_chip(photo, face)
    except ValueError:  # points that no face can have
        return {"look_man": np.nan, "look_age": np.nan, "look_group": np.full(len(GROUPS), np.nan)}
    told = judge(pooled, chip)
    return {"look_man": float(told.man), "look_age": float(told.age), "look_group": told.group[0].numpy()}


def _expression(network: Expression, photo: Pixels, face: Face) -> Floats:
    try:
        return network.tell(photo, face)
    except ValueError:  # a box that no face can have
        return np.full(len(EXPRESSIONS), np.nan, np.float32)


def _points(mesh: Floats | None, eyes: tuple[Eye, Eye] | None) -> Measured:
    """What points tell of eyes, mouth and pose."""
    if mesh is None:
        return {"gaze": np.full(2, np.nan), "eyes_open": np.nan, "mouth_open": np.nan, "pose": np.full(3, np.nan)}
    pose = head_pose(mesh)
    states = () if eyes is None else eye_states(mesh, eyes)
    seen = [state for state in states if np.isfinite(state.openness)]
    looking = [(state.right, state.up) for state in seen if np.isfinite(state.right)]
    return {"gaze": np.mean(looking, axis=0) if looking else np.full(2, np.nan),
            "eyes_open": np.mean([state.openness for state in seen]) if seen else np.nan,
            "mouth_open": mouth_openness(mesh), "pose": np.array([pose.yaw, pose.pitch, pose.roll])}


def _irises(eyes: tuple[Eye, Eye]) -> Floats:
    """Center and radius [I, 3] of the irises, in photo pixels, of eyes that are open."""
    circles = []
    for eye in eyes:
        center, rim = eye.iris[0, :2], eye.iris[1:, :2]
        if np.isfinite(eye_state(eye).right):
            circles.append([*center, float(np.linalg.norm(rim - center, axis=1).mean())])
    return np.array(circles, np.float32).reshape(-1, 3)
