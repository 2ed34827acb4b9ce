"""Tests what counts as the same person with a made-up judge; the last tests use the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest

from helpers.generated_people import Generated
from mien.anonymizer.verify import distances, embed, find_again
from mien.models.bundle import Networks
from mien.types import Face, Floats, Pixels


@dataclass
class ColorJudge:
    """Judges by the photo's pixel under the first point, and refuses points that are not finite."""

    found: list[Face] = field(default_factory=list)
    lying: bool | None = None  # whether the last search was for rotated faces too

    @property
    def judge(self) -> ColorJudge:
        return self

    @property
    def detector(self) -> ColorJudge:
        return self

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        self.lying = lying
        return self.found

    def embed(self, photo: Pixels, points: Floats) -> Floats:
        if not np.isfinite(points).all():
            raise ValueError("no face has such points")
        out = np.zeros((len(points), 128), np.float32)
        for row, five in zip(out, points, strict=True):
            x, y = five[0].astype(int)
            row[:3] = photo[y, x] / 100
        return out


def face(x: float, y: float) -> Face:
    return Face((x - 5, y - 5, 10, 10), np.full((5, 2), (x, y), np.float32), 0.9)


def networks_of(judge: ColorJudge) -> Networks:
    return cast(Networks, judge)


PHOTO = np.zeros((40, 60, 3), np.uint8)
PHOTO[:, 20:40] = 100
PHOTO[:, 40:] = 200
UNKNOWN = Face((0, 0, 9, 9), np.full((5, 2), np.nan, np.float32), 0.9)


def test_distance_is_that_of_the_vectors() -> None:
    networks = networks_of(ColorJudge())
    faces = [face(10, 10), face(30, 10)]
    originals = embed(networks, PHOTO, faces)
    later = PHOTO.copy()
    later[:, :20] = 50
    result = distances(networks, originals, later, faces, [None, None])
    assert result.dtype == np.float64
    assert result.tolist() == pytest.approx([3**0.5 / 2, 0.0])


def test_the_smaller_of_the_two_places_counts() -> None:
    """A landmark that moved must not hide a likeness, neither in the old photo nor in the new one."""
    networks = networks_of(ColorJudge())
    original = embed(networks, PHOTO, [face(10, 10)])
    other_place = face(30, 10)
    assert distances(networks, original, PHOTO, [face(10, 10)], [other_place]).tolist() == [0.0]
    assert distances(networks, original, PHOTO, [other_place], [face(10, 10)]).tolist() == [0.0]
    assert distances(networks, original, PHOTO, [other_place], [other_place])[0] > 1


def test_what_cannot_be_judged_counts_as_the_same_person() -> None:
    networks = networks_of(ColorJudge())
    original = embed(networks, PHOTO, [face(10, 10)])
    unknown = np.full((1, 128), np.nan, np.float32)
    assert np.isnan(embed(networks, PHOTO, [UNKNOWN])).all()
    assert distances(networks, original, PHOTO, [UNKNOWN], [None]).tolist() == [0.0]
    assert distances(networks, original, PHOTO, [UNKNOWN], [face(50, 5)]).tolist() == [0.0]
    assert distances(networks, original, PHOTO, [face(50, 5)], [UNKNOWN]).tolist() == [0.0]
    assert distances(networks, unknown, PHOTO, [face(50, 5)], [face(50, 5)]).tolist() == [0.0]


def test_one_face_that_cannot_be_judged_does_not_disturb_the_others() -> None:
    networks = networks_of(ColorJudge())
    faces = [UNKNOWN, face(50, 5)]
    originals = embed(networks, PHOTO, [face(10, 10), face(10, 10)])
    result = distances(networks, originals, PHOTO, faces, [None, None])
    assert result[0] == 0 and result[1] > 1


def test_a_face_is_found_again_in_its_place_only() -> None:
    judge = ColorJudge([face(11, 11), face(31, 10)])
    again = find_again(networks_of(judge).detector, PHOTO, [face(30, 10), face(10, 10), face(10, 35)])
    assert again == [judge.found[1], judge.found[0], None]


@pytest.mark.parametrize("quarters", range(4))
def test_rotated_faces_are_searched_where_one_was_rotated(quarters: int) -> None:
    judge = ColorJudge()
    five = np.array([[-5, -4], [5, -4], [0, 0], [-4, 5], [4, 5]], np.float32)
    for tilt in (-40, 0, 40):
        angle = np.deg2rad(90 * quarters + tilt)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
        one = Face((20, 10, 10, 10), five @ turn + 20, 0.9)
        find_again(networks_of(judge).detector, PHOTO, [face(10, 10), one])
        assert judge.lying is one.is_rotated is (quarters > 0)
    find_again(networks_of(judge).detector, PHOTO, [UNKNOWN])
    assert judge.lying


@pytest.mark.parametrize("quarters", range(4))
def test_a_real_face_is_found_again_at_any_rotation(networks: Networks, generated: Generated, quarters: int) -> None:
    photo = np.ascontiguousarray(np.rot90(generated.photos[0], quarters))
    faces = networks.detector.detect(photo)
    again = find_again(networks.detector, photo, faces)
    assert faces and [one and one.box for one in again] == [one.box for one in faces]


def test_of_two_in_its_place_the_one_that_covers_it_best() -> None:
    judge = ColorJudge([face(13, 10), face(10.5, 10), face(12, 12)])
    assert find_again(networks_of(judge).detector, PHOTO, [face(10, 10)]) == [judge.found[1]]


def test_no_faces_are_no_trouble() -> None:
    networks = networks_of(ColorJudge())
    assert embed(networks, PHOTO, []).shape == (0, 128)
    assert find_again(networks.detector, PHOTO, []) == []
    assert distances(networks, np.zeros((0, 128), np.float32), PHOTO, [], []).shape == (0,)


def test_the_real_judge_knows_a_photo_from_itself_and_people_from_one_another(networks: Networks,
                                                                              generated: Generated) -> None:
    photo, there = generated.photos[0], [generated.found[0]]
    found = find_again(networks.detector, photo, there)
    assert found[0] is not None
    original = embed(networks, photo, there)
    assert float(distances(networks, original, photo, there, found)[0]) == 0.0
    stranger = generated.photos[1]
    where = find_again(networks.detector, stranger, there)
    assert float(distances(networks, original, stranger, there, where)[0]) > 0.5


def test_the_real_judge_cannot_judge_points_that_are_none(networks: Networks, generated: Generated) -> None:
    broken = [np.full((5, 2), np.nan, np.float32), np.full((5, 2), 30, np.float32)]
    faces = [Face((0, 0, 9, 9), points, 0.9) for points in broken]
    original = embed(networks, generated.photos[0], [generated.found[0]] * 2)
    assert distances(networks, original, generated.photos[0], faces, [None] * 2).tolist() == [0, 0]
