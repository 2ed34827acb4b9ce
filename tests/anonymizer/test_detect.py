from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.generated_people import Generated
from mien.anonymizer.detect import detect, overlap
from mien.models.bundle import Networks
from mien.types import Encoding, Photo, Pixels

boxes = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 80), st.floats(0.1, 80))
Box = tuple[float, float, float, float]


@given(a=boxes, b=boxes)
def test_overlap_is_symmetric_and_between_0_and_1(a: Box, b: Box) -> None:
    assert 0 <= overlap(a, b) <= 1 + 1e-9
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert overlap(a, a) == pytest.approx(1)


@given(a=boxes, b=boxes, x=st.floats(-100, 100), y=st.floats(-100, 100), scale=st.floats(0.5, 4))
def test_overlap_does_not_depend_on_position_and_scale(a: Box, b: Box, x: float, y: float, scale: float) -> None:
    def moved(box: Box) -> Box:
        return box[0] * scale + x, box[1] * scale + y, box[2] * scale, box[3] * scale

    assert overlap(moved(a), moved(b)) == pytest.approx(overlap(a, b), abs=1e-6)


def test_overlap_by_hand() -> None:
    assert overlap((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 4, 4), (1, 1, 2, 2)) == pytest.approx(1 / 4)
    assert overlap((0, 0, 2, 2), (2, 0, 2, 2)) == 0  # they touch
    assert overlap((0, 0, 2, 2), (9, 9, 2, 2)) == 0


def photo(pixels: Pixels) -> Photo:
    return Photo("photo.png", pixels, Encoding("PNG", "RGB"))


def test_every_face_is_found_with_its_points_inside(networks: Networks, generated: Generated) -> None:
    pair = np.concatenate(generated.photos, axis=1)
    found = detect(networks, photo(pair))
    assert len(found) == 2
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    assert {int(face.points[:, 0].mean() > 256) for face in found} == {0, 1}
    for face in found:
        x, y, width, height = face.box
        assert ((face.points >= [x, y]) & (face.points <= [x + width, y + height])).all()
        assert face.points[0, 0] < face.points[1, 0] and face.points[0, 1] < face.points[3, 1]


def test_a_wall_has_no_face(networks: Networks) -> None:
    assert detect(networks, photo(np.full((120, 200, 3), 140, np.uint8))) == []
