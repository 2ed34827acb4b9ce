"""Finds the faces that are still most like their originals or lost most attributes, for the owner's eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import PhotoError
from mien.evaluation.evaluate import EvaluationConfig, measure_originals_and_new
from mien.evaluation.evaluators import load_detector
from mien.evaluation.judges.face_judges import judge_name
from mien.evaluation.measure_face import largest_face
from mien.images.decode import read_photo
from mien.images.formats import printable
from mien.models.features.attribute_network import ATTRIBUTES
from mien.report.before_after import cut_out

SHOWN = 12  # of each kind


@dataclass(frozen=True)
class WorstCase:
    """One face before and after, as data URIs, and why it is shown."""

    name: str
    why: str
    before: str
    after: str


def worst_cases(config: EvaluationConfig) -> list[WorstCase]:
    """Shows the faces nearest to their originals by the first judge, and those whose attributes changed most.

    The measurements are those that `evaluate` has kept in the private folder.

    Raises:
        UsageError, FetchError, ModelError, OutputError: as `evaluate`.
    """
    pairs, original, new = measure_originals_and_new(config)
    chosen: dict[int, str] = {}
    if config.judges:
        name = judge_name(config.judges[0])
        a, b = (one.columns[f"vector_{name}"] for one in (original, new))
        distances = np.linalg.norm(a - b, axis=1)
        judged = np.flatnonzero(np.isfinite(distances))
        for place in judged[np.argsort(distances[judged])][:SHOWN].tolist():
            chosen[place] = f"distance to the original {distances[place]:.2f} by {name}"
    lost = ((original.columns["attributes"] > 0) != (new.columns["attributes"] > 0)).sum(axis=1)
    for place in np.argsort(-lost)[:SHOWN].tolist():
        words = f"{lost[place]} of {len(ATTRIBUTES)} attributes changed"
        chosen[place] = f"{chosen[place]}; {words}" if place in chosen else words
    detector, cases = load_detector(), []
    for place, why in chosen.items():
        row = int(original.rows[place])
        try:
            before = read_photo(pairs.root / pairs.names[row], pairs.names[row]).pixels
            after = read_photo(pairs.new[row], pairs.new[row].name).pixels
        except PhotoError:
            continue
        face = largest_face(detector, before)
        if face is not None:
            cases.append(WorstCase(printable(pairs.names[row]), why,
                                   cut_out(before, face.box), cut_out(after, face.box)))
    return cases
