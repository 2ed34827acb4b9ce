"""Reads how often estimators of the look are right, as `benchmarks/estimators.py` measured it where labels allow."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mien.evaluation.look.compare import CHILD, OLD

# What a share of right answers may be of: each has a label on the photographs that it is measured on.
LABELED = ("sex", "ethnic group", f"under {CHILD} or not", f"over {OLD} or not", "happy as Smiling",
           "open mouth as Mouth_Slightly_Open", "glasses")
ERROR = "mean error"  # how the name of an error ends
ACCURACY_FILE = Path(str(resources.files("mien").joinpath("weights", "look_accuracy.json")))


@dataclass(frozen=True)
class Accuracy:
    """How often an estimator is right, or by how much it is wrong, on labeled photographs.

    Attributes:
        what: one of `LABELED`, then who and which photographs; it ends in "mean error" where it is an error.
        faces: of which something was told. value: a share of right answers, or a mean error in `unit`.
        untold: faces of which nothing was told, which are not counted; null where this was not counted either.

    Raises:
        ValueError: it is neither, such as a share of faces that are called something.
    """

    what: str
    faces: int
    value: float
    unit: str = "%"
    untold: int | None = None

    def __post_init__(self) -> None:
        error = self.what.endswith(ERROR)
        if error == (self.unit == "%") or not (error or self.what.split(",")[0] in LABELED):
            raise ValueError(f"{self.what!r} in {self.unit!r} is neither a share of right answers nor an error")
        if not 0 <= self.value <= (math.inf if error else 1) or math.isinf(self.value):
            raise ValueError(f"{self.what!r} cannot be {self.value}")


def read_accuracies() -> list[Accuracy]:
    """Reads the file that comes with the package."""
    return [Accuracy(**one) for one in json.loads(ACCURACY_FILE.read_text("utf-8"))]
