"""Colors, light, sharpness and grain of drawn faces whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.evaluation.look.appearance import LIT, chroma, grain, iris_mask, light_direction, normals, sharpness, to_lab
from mien.evaluation.look.compare import vector_angle

SIDE = 256


def dome() -> np.ndarray:
    """A mesh of 468 points on the front of a ball of radius 100 around the picture's middle, (x, y, depth)."""
    rng = np.random.default_rng(0)
    angle, away = rng.uniform(0, 2 * np.pi, 468), 0.9 * np.sqrt(rng.random(468))
    x, y = away * np.cos(angle), away * np.sin(angle)
    return (np.stack([x, y, -np.sqrt(1 - x * x - y * y)], axis=1) * 100 + (SIDE / 2, SIDE / 2, 0)).astype(np.float32)


def lit_ball(light: tuple[float, float, float]) -> np.ndarray:
    """Gray levels of that ball under a directed light and some of all around; no shadow where it is turned away."""
    y, x = (np.mgrid[:SIDE, :SIDE] - SIDE / 2) / 100
    z = -np.sqrt(np.clip(1 - x * x - y * y, 0, None))
    return (120 + 60 * (x * light[0] + y * light[1] + z * light[2])).astype(np.float32)


def test_normals_of_a_ball_point_outwards() -> None:
    mesh = dome()
    wanted = (mesh - (SIDE / 2, SIDE / 2, 0)) / 100
    inner = np.hypot(*wanted[:, :2].T) < 0.7
    assert np.median(vector_angle(normals(mesh)[inner], wanted[inner])) < 6


@pytest.mark.parametrize("light", [(1.0, 0, -0.5), (-1.0, 0, -0.5), (0, -1.0, -0.5), (0.6, -0.6, -0.6)])
def test_the_light_comes_from_where_it_comes(light: tuple[float, float, float]) -> None:
    told = light_direction(lit_ball(light), dome())
    assert vector_angle(told[None], np.array([light]))[0] < 25
    other = light_direction(lit_ball((-light[0], -light[1], light[2])), dome())
    assert vector_angle(told[None], other[None])[0] > 60


def test_the_light_of_a_face_beyond_the_picture_is_not_known() -> None:
    assert np.isnan(light_direction(lit_ball((1, 0, 0)), dome() + np.float32([1000, 0, 0]))).all()
    assert len(np.unique(np.concatenate(LIT))) > 30


def test_gray_has_no_chroma() -> None:
    gray = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8), 3, axis=2)
    face = np.ones((40, 40), bool)
    assert chroma(to_lab(gray), face) == pytest.approx(0, abs=0.05)
    pink = np.clip(gray.astype(int) + np.array((20, 0, 5)), 0, 255).astype(np.uint8)
    assert chroma(to_lab(pink), face) > 5
    assert np.isnan(chroma(to_lab(gray), ~face))


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_grain_is_the_noise_and_no_edge(sigma: float) -> None:
    rng = np.random.default_rng(1)
    picture = np.where(np.arange(200)[:, None] > 100, 180.0, 60.0) + np.linspace(0, 40, 200)
    face = np.ones((200, 200), bool)
    noisy = (picture + rng.normal(0, sigma, picture.shape)).astype(np.float32)
    assert grain(noisy, face) == pytest.approx(sigma, rel=0.08)
    assert grain(picture.astype(np.float32), face) < 0.3


def test_blur_is_seen_as_blur() -> None:
    picture = np.random.default_rng(2).uniform(0, 255, (100, 100)).astype(np.float32)
    face = np.ones((100, 100), bool)
    assert sharpness(cv2.GaussianBlur(picture, (0, 0), 1.5), face) < 0.2 * sharpness(picture, face)


def test_rings_of_irises_leave_pupil_and_lids_out() -> None:
    mask = iris_mask(np.float32([[30, 30, 10], [70, 30, 1.5]]), (60, 100))
    assert not mask[30, 30] and not mask[:, 60:].any()  # the pupil; too small an iris
    assert mask[30, 37] and not mask[38, 30] and not mask[30, 41]
