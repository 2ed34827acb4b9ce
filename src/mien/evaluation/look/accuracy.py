"""Reads how often the estimators of the look are right, as `benchmarks/estimators.py` measured it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

ACCURACY_FILE = Path(str(resources.files("mien").joinpath("weights", "look_accuracy.json")))


@dataclass(frozen=True)
class Accuracy:
    """How often an estimator is right on labeled photographs that it was not trained on.

    Attributes:
        value: a share, or a mean error in `unit`.
    """

    what: str
    faces: int
    value: float
    unit: str = "%"


def read_accuracies() -> list[Accuracy]:
    """Reads the file that comes with the package."""
    return [Accuracy(**one) for one in json.loads(ACCURACY_FILE.read_text("utf-8"))]
