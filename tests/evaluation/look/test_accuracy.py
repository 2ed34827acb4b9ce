"""The figures that the page shows of the estimators are those of a measurement, and are read whole."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mien.evaluation.look import accuracy
from mien.evaluation.look.accuracy import Accuracy, read_accuracies


def test_what_comes_along_is_measured_on_many_faces() -> None:
    found = {one.what: one for one in read_accuracies()}
    assert len(found) == len(read_accuracies()) >= 8
    for word in ("sex", "ethnic group", "age", "under 13", "happy", "open mouth", "glasses"):
        assert any(word in what for what in found), word
    for one in found.values():
        assert one.faces >= 300
        # Better than the commoner of two answers, or than a guess at an age.
        assert 0.7 < one.value <= 1 if one.unit == "%" else one.what.endswith("mean error") and 1 < one.value < 10
    assert found["ethnic group, UTKFace"].value > 0.8 and found["sex, CelebA-HQ"].value > 0.95


@pytest.mark.parametrize("wrong", [
    {"what": "eyes called closed, CelebA-HQ", "value": 0.001}, {"what": "age, UTKFace", "value": 0.9},
    {"what": "sex, UTKFace", "value": 0.9, "unit": "years"}, {"what": "age, UTKFace, mean error", "value": 4.0},
    {"what": "sex, UTKFace", "value": 88.3}, {"what": "sex, UTKFace", "value": float("nan")},
    {"what": "age, UTKFace, mean error", "value": float("nan"), "unit": "years"}])
def test_what_is_neither_an_accuracy_nor_an_error_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                             wrong: dict[str, object]) -> None:
    """A share of faces that are called something stood among the shares of right answers."""
    monkeypatch.setattr(accuracy, "ACCURACY_FILE", tmp_path / "accuracy.json")
    accuracy.ACCURACY_FILE.write_text(json.dumps([{"faces": 1001} | wrong]))
    with pytest.raises(ValueError, match=str(wrong["what"])):
        read_accuracies()


def test_what_is_not_told_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN > 0.5 is a woman, and the likeliest of five NaN the first group."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    estimators = import_module("estimators")
    man = np.array([0.9, 0.1, np.nan, 0.2], np.float32)
    woman = np.array([False, True, True, False])
    assert estimators.share("sex, UTKFace", man, (man > 0.5) != woman) == Accuracy("sex, UTKFace", 3, 2 / 3, untold=1)
    groups = np.full((3, 5), np.nan, np.float32)
    groups[0] = np.eye(5)[2]
    right = groups.argmax(axis=1) == np.array([2, 0, 0])
    assert estimators.share("ethnic group, UTKFace", groups, right) == Accuracy("ethnic group, UTKFace", 1, 1, untold=2)
    years = np.array([30, np.nan, 50], np.float32)
    found = estimators.mean_error("age, UTKFace, mean error", years, np.array([28, 4, 54]), "years")
    assert found == Accuracy("age, UTKFace, mean error", 2, 3.0, "years", 1)
    assert json.dumps(vars(found), allow_nan=False)
