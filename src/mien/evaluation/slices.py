"""Parts of the data that figures are computed for separately: a mean hides for whom a method fails."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mien.evaluation.confidence import are_few
from mien.evaluation.look.compare import CHILD, MONOCHROME, OLD, has_facial_hair
from mien.evaluation.metrics import Reference
from mien.evaluation.people import People
from mien.models.features.attribute_network import ATTRIBUTES
from mien.models.features.look_judge import GROUPS

SMALL = 30  # faces; a figure of fewer is a hint
TURNED = 15.0  # degrees
Flags = npt.NDArray[np.bool_]  # [N]


# Parts that no two of share a face: what all have less what the others have is what one of them has.
APART = (("men", "women"), (f"under {CHILD}", f"{CHILD} to {OLD}", f"over {OLD}"), GROUPS)


def telling_parts(rows: Mapping[str, npt.NDArray[np.int64]], people: People) -> set[str]:
    """Finds the parts by whose figures those of too few faces could be computed, as what is left of all.

    Args:
        rows: of all parts, see `slice_rows`. people: [N] of all faces.
    """
    telling = set()
    for names in (*APART, *((name,) for name in rows)):
        shown = sorted((name for name in names if name in rows and not are_few(people[rows[name]])),
                       key=lambda name: len(rows[name]))
        while shown:
            rest = np.delete(people, np.concatenate([rows[name] for name in shown]))
            if not len(rest) or not are_few(rest):
                break
            telling.add(shown.pop(0))
    return telling


def slice_rows(original: Reference) -> dict[str, npt.NDArray[np.int64]]:
    """Finds the rows of every part that has faces, by what the judges tell of the originals.

    Glasses and hats are taken from the originals' labels, where there are some.
    """
    columns, truth = original.measurements.columns, original.truth()
    man, age = columns["look_man"], columns["look_age"]
    group = np.where(np.isfinite(columns["look_group"]).all(axis=1), columns["look_group"].argmax(axis=1), -1)
    turn = np.abs(columns["pose"][:, 0])
    masks: dict[str, Flags] = {
        "men": man > 0.5, "women": man <= 0.5,
        f"under {CHILD}": age < CHILD, f"{CHILD} to {OLD}": (age >= CHILD) & (age <= OLD), f"over {OLD}": age > OLD,
        **{name: group == number for number, name in enumerate(GROUPS)},
        "with glasses": truth[:, ATTRIBUTES.index("Eyeglasses")],
        "with a hat": truth[:, ATTRIBUTES.index("Wearing_Hat")], "with facial hair": has_facial_hair(columns),
        f"turned by {TURNED:.0f} degrees or more": turn >= TURNED,
        "black and white": columns["chroma"] < MONOCHROME,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}
