"""The figures that the page shows of the estimators are those of a measurement, and are read whole."""

from __future__ import annotations

from mien.evaluation.look.accuracy import read_accuracies


def test_what_comes_along_is_measured_on_many_faces() -> None:
    found = {one.what: one for one in read_accuracies()}
    assert len(found) == len(read_accuracies()) >= 8
    for word in ("sex", "ethnic group", "age", "under 13", "happy", "open mouth", "glasses"):
        assert any(word in what for what in found), word
    for one in found.values():
        assert one.faces >= 300
        assert 0 <= one.value <= 1 if one.unit == "%" else 1 < one.value < 10
    assert found["ethnic group, UTKFace"].value > 0.8 and found["sex, CelebA-HQ"].value > 0.95
