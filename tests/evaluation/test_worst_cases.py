"""The worst cases that the owner is shown are faces that were judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.evaluation import worst_cases as module
from mien.evaluation.evaluate import EvaluationConfig
from mien.evaluation.measurements import Measurements
from mien.evaluation.pairs import find_pairs
from mien.evaluation.worst_cases import worst_cases


def test_a_face_that_was_not_judged_has_no_distance(source: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer judged faces than are shown, the others came with "distance nan"."""
    pairs = find_pairs(source, source, "lfw")
    count = len(pairs.names)
    vectors, attributes = np.zeros((count, 4), np.float32), np.ones((count, 40), np.float32)
    before = Measurements(np.arange(count), {"vector_dlib": vectors, "attributes": attributes}, [])
    after = Measurements(np.arange(count), {"vector_dlib": vectors + np.arange(count)[:, None] / 10,
                                            "attributes": attributes}, [])
    after.columns["vector_dlib"][::2] = np.nan
    monkeypatch.setattr(module, "measure_originals_and_new", lambda _: (pairs, before, after))
    cases = worst_cases(EvaluationConfig(source, source, tmp_path / "work", judges=("dlib",)))
    assert len(cases) == count and not any("nan" in case.why for case in cases)
    judged = [case for case in cases if "distance" in case.why]
    assert [case.name for case in judged] == pairs.names[1::2]  # the nearest first
    assert judged[0].why.startswith("distance to the original 0.20 by dlib")
