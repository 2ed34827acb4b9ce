"""The look of generated faces, measured by the real networks: the same one, shifted, gray, turned, another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import fake_run
from mien.evaluation.baselines import encode_again
from mien.evaluation.evaluators import load_evaluators
from mien.evaluation.look.compare import MONOCHROME, compare_looks
from mien.evaluation.measure_face import Evaluators, largest_face, measure_face
from mien.evaluation.measurements import Columns, Measurements
from mien.models.generators.mobilestylegan import MobileStyleGAN
from mien.types import Pixels

SEEDS = tuple(range(701, 709))


@pytest.fixture(scope="module")
def evaluators() -> Evaluators:
    return load_evaluators(())


@pytest.fixture(scope="module")
def faces(weights: Callable[[str], Path]) -> list[Pixels]:
    """Portraits of eight people who do not exist."""
    return list(fake_run.portraits(MobileStyleGAN.from_file(weights("mobilestylegan")), list(SEEDS)))


def measured(evaluators: Evaluators, originals: list[Pixels], photos: list[Pixels]) -> Measurements:
    """Measures photographs in the places where the originals have their faces."""
    rows: list[Columns] = []
    for original, photo in zip(originals, photos, strict=True):
        face = largest_face(evaluators.detector, original)
        assert face is not None
        rows.append(measure_face(evaluators, photo, face, original))
    return Measurements(np.arange(len(rows)), {name: np.stack([row[name] for row in rows]) for name in rows[0]}, [])


@pytest.fixture(scope="module")
def originals(evaluators: Evaluators, faces: list[Pixels]) -> Measurements:
    return measured(evaluators, faces, faces)


def compared(a: Measurements, b: Measurements) -> dict[str, float]:
    return {name: one.value for name, one in compare_looks(a, b, a.rows).items()}


def test_everything_is_measured_of_a_portrait(originals: Measurements) -> None:
    for name in ("look_man", "look_age", "look_group", "expression", "gaze", "eyes_open", "mouth_open", "pose", "skin",
                 "iris", "light", "sharpness", "grain", "chroma"):
        assert np.isfinite(originals.columns[name]).mean() > 0.85, name
    both = [originals.columns[name] > 0.5 for name in ("look_man", "man")]
    assert (both[0] == both[1]).mean() > 0.8
    assert originals.columns["look_group"].sum(axis=1) == pytest.approx(1)
    assert (np.abs(originals.columns["pose"]) < 45).all() and (originals.columns["chroma"] > 3).all()


@pytest.mark.slow
def test_a_shifted_copy_stays_at_the_floor_and_another_face_does_not(evaluators: Evaluators, faces: list[Pixels],
                                                                    originals: Measurements) -> None:
    floor = compared(originals, measured(evaluators, faces, [encode_again(one) for one in faces]))
    assert floor["sex_kept"] == floor["group_kept"] == 1
    assert floor["age_change"] < 4 and floor["gaze_difference"] < 5 and floor["pose_difference"] < 4
    assert floor["skin_color"] < 2 and floor["light_difference"] < 12 and floor["points68_difference"] < 0.06
    assert 0.6 < floor["sharpness_ratio"] < 1.4
    other = compared(originals, measured(evaluators, faces, faces[1:] + faces[:1]))
    assert other["sex_kept"] < 0.9
    for name in ("age_change", "pose_difference", "skin_color", "iris_color", "points68_difference"):
        assert other[name] > 1.5 * floor[name], name


@pytest.mark.slow
def test_a_gray_copy_is_gray_and_color_in_its_place_is_seen(evaluators: Evaluators, faces: list[Pixels]) -> None:
    gray = [np.repeat(one.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2) for one in faces[:3]]
    before = measured(evaluators, gray, gray)
    assert (before.columns["chroma"] < 0.1).all()
    assert compared(before, before)["monochrome_chroma"] < 0.1
    assert compared(before, measured(evaluators, gray, faces[:3]))["monochrome_chroma"] > 3 * MONOCHROME


@pytest.mark.slow
def test_an_upside_down_copy_is_noticed(evaluators: Evaluators, faces: list[Pixels], originals: Measurements) -> None:
    some, upright = originals.at(np.arange(3)), faces[:3]
    floor = compared(some, measured(evaluators, upright, [encode_again(one) for one in upright]))
    turned = compared(some, measured(evaluators, upright, [np.ascontiguousarray(one[::-1]) for one in upright]))
    assert turned["points68_difference"] > 4 * floor["points68_difference"]
    assert turned["age_change"] > 2 * floor["age_change"] and turned["skin_color"] > 2 * floor["skin_color"]
