"""Tells which people look alike by what is kept on purpose: sex, age, ethnic group, hair color."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.evaluation.look.compare import CHILD, OLD
from mien.evaluation.measurements import Columns
from mien.models.features.attribute_network import ATTRIBUTES

AGES = (CHILD, 30, OLD)  # years: where a new band begins
HAIR = ("Gray_Hair", "Blond_Hair", "Brown_Hair", "Black_Hair")  # the first that a face has counts; else other
Codes = npt.NDArray[np.int64]


def kinds_of_people(columns: Columns, truth: npt.NDArray[np.bool_]) -> Codes:
    """Numbers the kinds of people on the originals, at several levels: [N, L], the finest first.

    The levels are sex, age, ethnic group and hair color; then without the hair; then without the group; then the sex
    alone. A face without a value is of a kind of its own.

    Args:
        columns: measurements of the originals: `look_man` [N], `look_age` [N] and `look_group` [N, G] tell sex, age and
            group. truth: [N, 40] their attributes, which tell the hair.
    """
    man, age, groups = columns["look_man"], columns["look_age"], columns["look_group"]
    hair = np.column_stack([*(truth[:, ATTRIBUTES.index(name)] for name in HAIR), np.ones(len(truth), bool)])
    parts = [
        np.where(np.isfinite(man), man > 0.5, 2),
        np.where(np.isfinite(age), np.digitize(np.nan_to_num(age), AGES), len(AGES) + 1),
        np.where(np.isfinite(groups).all(axis=1), np.nan_to_num(groups).argmax(axis=1), groups.shape[1]),
        hair.argmax(axis=1),
    ]
    levels = [parts[0].astype(np.int64)]
    for part in parts[1:]:
        levels.insert(0, levels[0] * (int(part.max(initial=0)) + 1) + part)
    return np.stack(levels, axis=1).astype(np.int64)
