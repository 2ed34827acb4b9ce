"""Searches a finished photo, conceals what must not be seen, and refuses a photo that stays unsafe (the safety loop).

It is the last step for every photo: `Pipeline`, the worker of a job and `mien steps blend` all call `finish`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.conceal import conceal
from mien.anonymizer.stage_timer import StageTimer
from mien.anonymizer.verify import embed, same_person
from mien.anonymizer.work_item import WorkItem
from mien.errors import FaceError
from mien.models.bundle import Networks
from mien.recipe import Recipe
from mien.types import Face, FaceOutcome, Pixels

SEARCHES = 3  # searches of a finished photo that may still conceal something, before the last one

Decision = Literal["anonymized", "dropped", "refused"]


def finish(networks: Networks, item: WorkItem, recipe: Recipe, encode: Callable[[WorkItem], Pixels],
           timer: StageTimer) -> Decision:
    """Searches a photo as it would leave, conceals what is found, and searches again until nothing is found.

    Args:
        encode: makes the photo as it would leave from `item.pixels`, and gives the pixels [H, W, 3] uint8 that a viewer
            would decode from it. It is called anew after every change.

    Returns:
        "anonymized": the last search found nothing, and the last encoded photo may leave. "dropped": a face could not
        be anonymized and the recipe says on_failure = "drop". "refused": every search found another face. A photo that
        is dropped or refused must not leave.

    Raises:
        FaceError: a face could not be anonymized and the recipe says on_failure = "error".
    """
    for _ in range(SEARCHES + 1):
        decoded = encode(item)
        if not _search(networks, item, recipe, decoded, timer):
            dropped = any(row.status == "dropped" for row in item.outcomes)
            return "dropped" if dropped else "anonymized"
    return "refused"


def compose(item: WorkItem) -> None:
    """Draws the photo anew from the original: concealed faces, then new faces; fills `pixels` and `changed`."""
    pixels, changed = conceal(item.photo.pixels, [face for face, _ in item.concealed])
    # New faces go in after: a concealed neighbor must not cover them.
    patches = [Patch(s.crop, s.picture) for s in item.subjects if s.picture is not None]
    pixels, blended = blend(pixels, patches, item.photo.pixels)
    item.pixels, item.changed = pixels, changed | blended


def conceal_failed(item: WorkItem, recipe: Recipe, reason: str) -> None:
    """Conceals the subjects that did not pass, with their reason, and draws the photo anew.

    Raises:
        FaceError: there is one, and the recipe says on_failure = "error".
    """
    failed = [s for s in item.subjects if not s.passed]
    for subject in failed:
        subject.outcome.status, subject.outcome.reason = "blurred", reason
        subject.outcome.judge_distance = None
        item.subjects.remove(subject)
        item.concealed.append((subject.face, subject.outcome))
    if failed or item.pixels is None:
        compose(item)
    if failed:
        _apply_on_failure(item, recipe, failed[0].outcome)


def _search(networks: Networks, item: WorkItem, recipe: Recipe, decoded: Pixels, timer: StageTimer) -> bool:
    """Searches the decoded photo; conceals new faces that verify as an original, and faces that were missed before.

    Returns:
        Whether anything was concealed, so that the photo has to be encoded and searched again.
    """
    with timer.timed("verify"):
        found = networks.detector.detect(decoded)
        guilty = _guilty(networks, item, decoded, found, recipe.verify.threshold)
    known = [*(s.face for s in item.subjects), *(face for face, _ in item.concealed), *(face for face, _ in item.left)]
    missed = [face for face in found if not _is_at(face, known)]
    for i in guilty:
        item.subjects[i].passed = False
    conceal_failed(item, recipe, "verifies as the original in the finished photo")
    for face in missed:
        outcome = FaceOutcome(item.photo.name, len(item.outcomes), face.box, face.points.tolist(), face.score,
                              "blurred", "found only in the finished photo")
        item.concealed.append((face, outcome))
        _apply_on_failure(item, recipe, outcome)
    if missed:
        compose(item)
    return bool(guilty or missed)


def _guilty(networks: Networks, item: WorkItem, decoded: Pixels, found: list[Face], threshold: float) -> set[int]:
    """Finds the numbers of the subjects that the judge still takes for an original, at their old or their new place."""
    held, originals = [s.face for s in item.subjects], item.originals
    same = same_person(originals, threshold)
    vectors = embed(networks, decoded, found)
    there = embed(networks, decoded, held)
    guilty: set[int] = set()
    for face, vector in zip(found, vectors, strict=True):
        if _is_at(face, [left for left, _ in item.left]):
            continue  # the owner wants it as it is
        # It is no leak that the face happens to resemble a neighbor, as strangers do; but a double of the person is.
        alike = np.linalg.norm(originals - vector, axis=1) < threshold
        guilty.update(i for i, one in enumerate(held) if _is_at(face, [one]) and (alike & same[i]).any())
    # A face that cannot be judged has NaN, which no comparison passes: it is guilty.
    guilty.update(i for i, vector in enumerate(there)
                  if not np.linalg.norm(vector - originals[same[i]], axis=1).min() >= threshold)
    return guilty


def _apply_on_failure(item: WorkItem, recipe: Recipe, outcome: FaceOutcome) -> None:
    """Does what the recipe asks for where a face could not be anonymized."""
    if recipe.on_failure == "error":
        raise FaceError(f"{outcome.file}: face {outcome.face} could not be anonymized: {outcome.reason}",
                        "run with --on-failure blur to have such faces blurred")
    if recipe.on_failure == "drop":
        for row in item.outcomes:
            row.status, row.reason = "dropped", row.reason or f"face {outcome.face} of this photo failed"


def _is_at(face: Face, others: list[Face]) -> bool:
    """Tells whether a face's center is in the box of one of the others, or the other way round."""
    return any(_holds(face, other) or _holds(other, face) for other in others)


def _holds(outer: Face, inner: Face) -> bool:
    x, y, w, h = outer.box
    cx, cy = inner.box[0] + inner.box[2] / 2, inner.box[1] + inner.box[3] / 2
    return x <= cx <= x + w and y <= cy <= y + h
