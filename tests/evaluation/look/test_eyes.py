from __future__ import annotations

import math

import numpy as np
import pytest

from mien.evaluation.look.eyes import (
    CHIN_BACK,
    EYEBALL,
    OUTWARDS,
    UPWARDS,
    HeadPose,
    eye_state,
    eye_states,
    head_pose,
    mouth_openness,
)
from mien.models.features.iris import Eye
from mien.types import Floats

WIDTH = 40.0


def eye(gap: float = 12.0, right: float = 0.0, up: float = 0.0, left_eye: bool = False, angle: float = 0.0) -> Eye:
    """An eye 40 px wide around (100, 50) whose iris is turned by these angles; `angle` tilts it clockwise."""
    side = 1.0 if left_eye else -1.0  # of the outer corner
    contour = np.zeros((71, 3))
    along = np.linspace(side, -side, 9) * WIDTH / 2
    height = gap / 2 * (1 - np.abs(np.linspace(-1, 1, 9)) ** 4)
    contour[:9, 0], contour[:9, 1] = along, height
    contour[9:16, 0], contour[9:16, 1] = along[1:8], -height[1:8]
    iris = np.zeros((5, 3))
    iris[:, 0] = WIDTH * (side * OUTWARDS + EYEBALL * math.sin(math.radians(right)))
    iris[:, 1] = -WIDTH * (UPWARDS + EYEBALL * math.sin(math.radians(up)))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for points in (contour, iris):
        points[:, :2] = points[:, :2] @ turn.T + (100, 50)
    return Eye(contour.astype(np.float32), iris.astype(np.float32))


def head(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, mouth: float = 0.0) -> Floats:
    """A head of a few points; the others are in its middle. The angles are those of `HeadPose`."""
    mesh = np.zeros((468, 3))
    back = math.radians(CHIN_BACK)
    for index, place in {33: (-3, -2, 0), 263: (3, -2, 0), 234: (-5, 0, 4), 454: (5, 0, 4),
                         10: (0, -6 * math.cos(back), -6 * math.sin(back)),
                         152: (0, 6 * math.cos(back), 6 * math.sin(back)), 61: (-2, 3, 0), 291: (2, 3, 0),
                         82: (-0.5, 3, 0), 13: (0, 3, 0), 312: (0.5, 3, 0), 87: (-0.5, 3 + mouth, 0),
                         14: (0, 3 + mouth, 0), 317: (0.5, 3 + mouth, 0)}.items():
        mesh[index] = place
    a, b, c = (math.radians(v) for v in (yaw, pitch, roll))
    nod = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
    shake = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    tilt = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return (mesh @ (tilt @ shake @ nod).T * 20 + 300).astype(np.float32)


@pytest.mark.parametrize("left_eye", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.5, -0.7])
def test_openness_is_the_gap_over_the_width(left_eye: bool, angle: float) -> None:
    assert eye_state(eye(12.0, left_eye=left_eye, angle=angle)).openness == pytest.approx(0.3, abs=0.02)
    assert eye_state(eye(6.0, left_eye=left_eye, angle=angle)).openness == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("left_eye", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.5])
@pytest.mark.parametrize(("right", "up"), [(0, 0), (20, 0), (-30, 10), (5, -15)])
def test_gaze_is_where_the_iris_is(left_eye: bool, angle: float, right: float, up: float) -> None:
    state = eye_state(eye(14.0, right, up, left_eye, angle))
    assert (state.right, state.up) == (pytest.approx(right, abs=1e-3), pytest.approx(up, abs=1e-3))


def test_a_closed_eye_has_no_gaze() -> None:
    state = eye_state(eye(1.0))
    assert state.openness < 0.1 and math.isnan(state.right) and math.isnan(state.up)
    crossed = eye_state(eye(-2.0))  # lids that the network lays over each other
    assert crossed.openness == 0.0


def test_an_iris_outside_the_eyeball_is_at_its_edge() -> None:
    one = eye(14.0)
    one.iris[:, 0] += 500
    assert eye_state(one).right == 90


def test_an_eye_in_one_place_is_unknown() -> None:
    state = eye_state(Eye(np.zeros((71, 3), np.float32), np.zeros((5, 3), np.float32)))
    assert math.isnan(state.openness) and math.isnan(state.right)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (-50, 0, 0), (0, 20, 0), (0, -25, 0),
                                                     (0, 0, 15), (0, 0, -40), (25, 10, 0)])
def test_the_pose_is_the_head_s(yaw: float, pitch: float, roll: float) -> None:
    found = head_pose(head(yaw, pitch, roll))
    assert found == HeadPose(pytest.approx(yaw, abs=1e-2), pytest.approx(pitch, abs=1e-2),
                             pytest.approx(roll, abs=1e-2))


def test_a_turn_is_towards_the_side_that_the_nose_points_to() -> None:
    """Turned to the image's right, the cheek there goes back and the other comes closer to the camera."""
    mesh = head(yaw=30)
    assert mesh[454, 2] > mesh[234, 2] and head_pose(mesh).yaw > 0
    assert head(pitch=20)[152, 2] < head(pitch=-20)[152, 2]  # looking up brings the chin forward
    assert head(roll=20)[263, 1] > head(roll=20)[33, 1]


def test_the_far_eye_of_a_turned_head_is_hidden() -> None:
    eyes = eye(), eye(left_eye=True)
    for yaw, hidden in ((0, (False, False)), (60, (False, True)), (-60, (True, False))):
        states = eye_states(head(yaw), eyes)
        assert tuple(math.isnan(state.openness) for state in states) == hidden


@pytest.mark.parametrize("yaw", [0, 40])
def test_the_mouth_is_open_by_the_gap_over_its_width(yaw: float) -> None:
    assert mouth_openness(head(yaw, mouth=0)) == pytest.approx(0, abs=1e-5)
    assert mouth_openness(head(yaw, mouth=1)) == pytest.approx(0.25, abs=1e-4)


def test_points_in_one_place_have_no_pose() -> None:
    flat = np.zeros((468, 3), np.float32)
    assert math.isnan(head_pose(flat).yaw) and math.isnan(mouth_openness(flat))
