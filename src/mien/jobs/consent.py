"""Recognizes people who agreed to stay as they are, by reference photos."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from mien.anonymizer.align import align
from mien.anonymizer.detect import detect
from mien.anonymizer.losses import faces_of
from mien.datasets.scan import scan
from mien.errors import PhotoError, UsageError
from mien.images.decode import read_photo
from mien.models.bundle import Networks
from mien.types import Face, Floats, Photo

# Stricter than either recognizer's usual threshold, and both must agree: a stranger left unchanged is worse than a
# friend anonymized.
JUDGE_DISTANCE = 0.5
COSINE = 0.45


@dataclass(frozen=True)
class Consent:
    """Holds the reference vectors of the people who agreed.

    Attributes:
        names: file names of the reference photos. judged: the judge's vectors [N, 128].
        identities: the loss recognizer's unit vectors [N, D]. fingerprint: SHA-256 of all reference files.
    """

    names: list[str] = field(default_factory=list)
    judged: Floats = field(default_factory=lambda: np.zeros((0, 128), np.float32))
    identities: Floats = field(default_factory=lambda: np.zeros((0, 128), np.float32))
    fingerprint: str = ""

    def matches(self, networks: Networks, photo: Photo, faces: list[Face]) -> list[str]:
        """Returns for each face the name of the reference photo that shows the same person, or ""."""
        if not self.names or not faces:
            return [""] * len(faces)
        judged, identities = _vectors(networks, photo, faces)
        distance = np.linalg.norm(judged[:, None] - self.judged[None], axis=2)
        cosine = identities @ self.identities.T
        same = (distance < JUDGE_DISTANCE) & (cosine > COSINE)
        best = np.where(same, distance, np.inf).argmin(axis=1)
        return [self.names[b] if row.any() else "" for row, b in zip(same, best, strict=True)]


def load_consent(networks: Networks, folder: Path) -> Consent:
    """Reads the reference photos in a folder; in each the largest face counts.

    Raises:
        UsageError: there is no folder, no photo, or a photo without a face (a silent miss would anonymize a friend).
    """
    if not folder.is_dir():
        raise UsageError(f"--keep-person: {folder} is no folder", "give a folder of reference photos")
    names, judged, identities, digest = [], [], [], hashlib.sha256()
    for name in scan(folder):
        try:
            photo = read_photo(folder / name, name)
            faces = detect(networks, photo)
        except PhotoError as error:
            raise UsageError(f"--keep-person: {name}: {error.message}",
                             "take the file out of the folder, or give another photo of this person") from error
        if not faces:
            raise UsageError(f"--keep-person: no face in {name}", "give another photo of this person")
        largest = max(faces, key=lambda face: face.area)
        vectors = _vectors(networks, photo, [largest])
        names.append(PurePosixPath(name).name)
        judged.append(vectors[0][0])
        identities.append(vectors[1][0])
        digest.update((folder / name).read_bytes())
    if not names:
        raise UsageError(f"--keep-person: no photos in {folder}",
                         "give a folder with a photo of each person who agreed")
    return Consent(names, np.stack(judged), np.stack(identities), digest.hexdigest())


def _vectors(networks: Networks, photo: Photo, faces: list[Face]) -> tuple[Floats, Floats]:
    """Computes the judge's vectors [N, 128] and the loss recognizer's unit vectors [N, D] of faces."""
    judged = networks.judge.embed(photo.pixels, np.stack([face.points for face in faces]))
    targets = faces_of(networks, faces, [align(photo.pixels, face) for face in faces])
    return judged, targets.identity.cpu().numpy()
