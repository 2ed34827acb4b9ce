from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.drawn_faces import drawn_face
from helpers.fake_run import save
from mien.errors import UsageError
from mien.evaluation import retraining
from mien.evaluation.pairs import PhotoPairs, find_pairs
from mien.evaluation.retraining import compare_training

COUNT = 36


@pytest.fixture
def pairs(tmp_path: Path) -> PhotoPairs:
    """Faces that are light or dark, which is all 40 attributes; the new ones are all alike."""
    rng = np.random.default_rng(0)
    light = np.arange(COUNT) % 2
    for i in range(COUNT):
        face = drawn_face(200).astype(int) + (60 if light[i] else -60) + rng.integers(-10, 10)
        save(tmp_path / "src" / f"{i:02d}.png", np.clip(face, 0, 255).astype(np.uint8))
        save(tmp_path / "dst" / f"{i:02d}.png", drawn_face(200))
    found = find_pairs(tmp_path / "src", tmp_path / "dst", "folder")
    return replace(found, labels=light[:, None].repeat(40, axis=1).astype(np.int8))


@pytest.mark.slow
def test_who_learns_from_faces_that_are_all_alike_knows_nothing(pairs: PhotoPairs,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "EPOCHS", 30)
    found = compare_training(pairs, replace(pairs, new=[pairs.root / name for name in pairs.names]))
    assert found.trained == found.tested == COUNT
    assert found.originals.value > 0.95 and abs(found.anonymized.value - 0.5) < 0.2
    assert found.difference.value == pytest.approx(found.anonymized.value - found.originals.value, abs=1e-6)
    assert found.constant.value == pytest.approx(0.5) and found.balanced[0] > 0.95


def test_people_on_both_sides_are_said(pairs: PhotoPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "EPOCHS", 0)
    person_names = [f"person {i // 4}" for i in range(COUNT)]
    test = replace(pairs.at(np.arange(COUNT - 8, COUNT)), person_names=["", *["person 8"] * 4, *["person 99"] * 3])

    def notes(trained: list[str], tested: PhotoPairs) -> list[str]:
        return compare_training(replace(pairs, person_names=trained), tested).notes

    (note,) = notes(person_names, test)
    assert note.startswith("1 of the 2 people tested on (on 4 of 8 photographs) were trained on too")
    assert notes([f"another {who}" for who in person_names], test) == []
    (unknown,) = notes([""] * COUNT, test)
    assert "not known who" in unknown


def test_what_cannot_be_learned_from_is_said(pairs: PhotoPairs) -> None:
    with pytest.raises(UsageError, match="40 attributes"):
        compare_training(replace(pairs, labels=None), pairs)
    few = replace(pairs, names=pairs.names[:3], new=pairs.new[:3])
    with pytest.raises(UsageError, match="3 faces to train on"):
        compare_training(few, few)
