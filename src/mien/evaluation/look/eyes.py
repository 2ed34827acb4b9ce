"""Measures from points how a face looks: open eyes, direction of gaze, open mouth, pose of the head.

All lengths are ratios and all angles are relative, so that an original and a new photograph can be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.models.features.iris import Eye
from mien.types import Floats

CLOSED_EYE = 0.10  # openness below which an eye is called closed, and has no gaze
HIDDEN = 40.0  # degrees of yaw from where the nose hides the far eye
# Of the eyeball over the distance of the eye's corners: 12 mm over 30 mm (Bekerman et al. 2014; Farkas 1994).
EYEBALL = 0.4
# Where the iris of an eye that looks straight ahead is: outwards and upwards of the middle of the corners, in units of
# their distance; and the angle of the line from forehead to chin against the upright, degrees. Both are medians over
# 1,400 portraits (CelebA-HQ), most of which look into the camera.
OUTWARDS, UPWARDS, CHIN_BACK = 0.06, 0.075, 12.0
_Vector = npt.NDArray[np.float64]
# Points of the lids in an eye's contour: outer and inner corner, then pairs in the middle of lower and upper lid.
_OUTER, _INNER, _LOWER, _UPPER = 0, 8, (3, 4, 5), (11, 12, 13)
# Points of the mesh: middles of the inner upper and lower lip, corners of the mouth.
_UPPER_LIP, _LOWER_LIP, _MOUTH = (82, 13, 312), (87, 14, 317), (61, 291)
# Pairs of points on opposite sides of the head, the one on the image's left first; then forehead and chin.
_ACROSS, _DOWN = ((33, 263), (234, 454)), (10, 152)


@dataclass(frozen=True)
class EyeState:
    """Tells how one eye looks.

    Attributes:
        openness: gap between the lids over the distance of the corners: about 0 closed, 0.3 open. NaN if hidden.
        right, up: direction of gaze relative to the eye's corners, degrees, positive to the image's right and upwards;
            about 0 where a frontal face looks into the camera. NaN for an eye that is closed or hidden.
    """

    openness: float
    right: float
    up: float


@dataclass(frozen=True)
class HeadPose:
    """Tells how a head is turned, degrees.

    Attributes:
        yaw: positive where the face looks to the image's right. pitch: positive where it looks up.
        roll: positive where it is tilted clockwise in the image.
    """

    yaw: float
    pitch: float
    roll: float


def eye_states(mesh: Floats, eyes: tuple[Eye, Eye]) -> tuple[EyeState, EyeState]:
    """Tells how both eyes look; the far eye of a head that is turned by more than 40 degrees counts as hidden.

    Args:
        mesh: [468, 3] as `FaceMesh.tell` returns it. eyes: as `Iris.tell` returns them.
    """
    yaw = head_pose(mesh).yaw
    hidden = EyeState(math.nan, math.nan, math.nan)
    return (hidden if yaw < -HIDDEN else eye_state(eyes[0]), hidden if yaw > HIDDEN else eye_state(eyes[1]))


def eye_state(eye: Eye) -> EyeState:
    """Measures one eye.

    Openness is the eye aspect ratio of Soukupová and Čech 2016, "Real-Time Eye Blink Detection using Facial
    Landmarks", of three pairs of points on the lids. The gaze is asin(d / r), with d the iris's distance, along the
    corners' line and across it, from where it is when an eye looks straight ahead, and r = 0.4 times the corners'
    distance the radius of the eyeball.

    Args:
        eye: of an upright face, or one that is tilted by less than 90 degrees.
    """
    contour, iris = eye.contour[:, :2].astype(np.float64), eye.iris[0, :2].astype(np.float64)
    outer, inner = contour[_OUTER], contour[_INNER]
    width, side = float(np.hypot(*(outer - inner))), math.copysign(1.0, float(outer[0] - inner[0]))
    if not width > 0:
        return EyeState(math.nan, math.nan, math.nan)
    right = (outer - inner) * side / width
    up = np.array([right[1], -right[0]])
    gap = (contour[list(_UPPER)] - contour[list(_LOWER)]).mean(axis=0)
    openness = max(0.0, float(gap @ up) / width)
    if openness < CLOSED_EYE:
        return EyeState(openness, math.nan, math.nan)
    away = (iris - (outer + inner) / 2) / width
    return EyeState(openness, _angle((float(away @ right) - side * OUTWARDS) / EYEBALL),
                    _angle((float(away @ up) - UPWARDS) / EYEBALL))


def mouth_openness(mesh: Floats) -> float:
    """Returns the gap between the inner lips over the mouth's width: 0 closed, about 0.5 wide open; NaN for no width.

    Args:
        mesh: [468, 3].
    """
    points = mesh.astype(np.float64)
    width = float(np.linalg.norm(points[_MOUTH[1]] - points[_MOUTH[0]]))
    gaps = np.linalg.norm(points[list(_LOWER_LIP)] - points[list(_UPPER_LIP)], axis=1)
    return float(gaps.mean()) / width if width > 0 else math.nan


def head_pose(mesh: Floats) -> HeadPose:
    """Measures how the head is turned from its own axes; all NaN where the points are in one place.

    The first axis goes from side to side (outer eye corners, cheeks), the second, made perpendicular to it, from
    forehead to chin; the face looks along the third, raised by the 12 degrees that the chin is behind the forehead.

    Args:
        mesh: [468, 3] (x, y, depth), all in one unit.
    """
    points = mesh.astype(np.float64)
    across = _unit(np.sum([points[b] - points[a] for a, b in _ACROSS], axis=0))
    down = points[_DOWN[1]] - points[_DOWN[0]]
    down = _unit(down - (down @ across) * across)
    tilt = math.radians(CHIN_BACK)
    x, y, depth = (float(v) for v in -np.cross(across, down) * math.cos(tilt) - down * math.sin(tilt))
    return HeadPose(math.degrees(math.atan2(x, -depth)), math.degrees(math.atan2(-y, math.hypot(x, depth))),
                    math.degrees(math.atan2(across[1], across[0])))


def _unit(vector: _Vector) -> _Vector:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.full(3, np.nan)


def _angle(sine: float) -> float:
    return math.degrees(math.asin(min(1.0, max(-1.0, sine))))
