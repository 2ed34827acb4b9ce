"""Decides which faces of a photo are anonymized, from the owner's lists and the people who agreed to stay."""

from __future__ import annotations

import numpy as np

from mien.anonymizer.detect import overlap
from mien.anonymizer.work_item import WorkItem
from mien.jobs.consent import Consent, load_consent
from mien.jobs.owner_lists import Box
from mien.jobs.request import Request
from mien.models.bundle import Networks
from mien.types import Face, FaceOutcome, Photo

REGION_OVERLAP = 0.2  # intersection over union from which a region of the owner's means a face


class Selection:
    """What the owner of the photographs wants of which face.

    Attributes:
        consent: the people whose faces stay.
    """

    def __init__(self, request: Request, networks: Networks) -> None:
        self.networks = networks
        self.only = request.only.of if request.only else None
        self.exclude = request.exclude.of if request.exclude else {}
        self.consent = load_consent(networks, request.keep_person) if request.keep_person else Consent()

    def regions_without_face(self, photo: Photo, faces: list[Face]) -> list[Face]:
        """Regions of `--only` in which no face was found, as faces: they are concealed."""
        if self.only is None:
            return []
        regions = self.only.get(photo.name, [])
        return [_region_face(box) for box in regions if not any(_meets(box, face) for face in faces)]

    def conceal_regions(self, item: WorkItem, regions: list[Face]) -> None:
        """Adds regions without a face to the faces to conceal."""
        for i, face in enumerate(regions, len(item.found)):
            outcome = FaceOutcome(item.photo.name, i, face.box, face.points.tolist(), face.score, "blurred",
                                  "named by the owner, no face found there")
            item.concealed.append((face, outcome))

    def leave(self, item: WorkItem) -> None:
        """Takes the faces that the owner excludes, and those of people who agreed, out of the faces to anonymize."""
        name = item.photo.name
        agreed = self.consent.matches(self.networks, item.photo, [s.face for s in item.subjects])
        stay = []
        for subject, person in zip(item.subjects, agreed, strict=True):
            chosen = self.only is None or any(_meets(box, subject.face) for box in self.only.get(name, []))
            outcome = subject.outcome
            if not chosen or any(_meets(box, subject.face) for box in self.exclude.get(name, [])):
                outcome.status, outcome.reason = "excluded", "left out by the owner's list"
            elif person:
                outcome.status, outcome.reason, outcome.person = "kept", "agreed", person
            else:
                stay.append(subject)
                continue
            item.left.append((subject.face, outcome))
        item.subjects = stay


def _meets(box: Box, face: Face) -> bool:
    x, y, width, height = face.box
    inside = box[0] <= x + width / 2 <= box[0] + box[2] and box[1] <= y + height / 2 <= box[1] + box[3]
    return inside or overlap(box, face.box) >= REGION_OVERLAP


def _region_face(box: Box) -> Face:
    """A region as a face: points where a frontal face in that box would have them."""
    x, y, width, height = box
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.78], [0.65, 0.78]])
    return Face(box, (places * [width, height] + [x, y]).astype(np.float32), 0.0)
