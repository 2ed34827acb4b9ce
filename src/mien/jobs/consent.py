"""People who agreed to stay as they are, known by their reference photos."""

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
    """Reference vectors of the people who agreed.

    Attributes:
        names: file names of the references. judged: [N, 128]. identities: [N, 128]. fingerprint: of the files.
    """

    names: list[str] = field(default_factory=list)
    judged: Floats = field(default_factory=lambda: np.zeros((0, 128), np.float32))
    identities: Floats = field(default_factory=lambda: np.zeros((0, 128), np.float32))
    fingerprint: str = ""

    def matches(self, networks: Networks, photo: Photo, faces: list[Face]) -> list[str]:
        """For each face the reference it belongs to, or ""."""
        if not self.names or not faces:
            return [""] * len(faces)
        judged, identities = _vectors(networks, photo, faces)
        distance = np.linalg.norm(judged[:, None] - self.judged[None], axis=2)
        cosine = identities @ self.identities.T
        same = (distance < JUDGE_DISTANCE) & (cosine > COSINE)
        best = np.where(same, distance, np.inf).argmin(axis=1)
        return [self.names[b] if row.any() else "" for row, b in zip(same, best, strict=True)]


def load_consent(networks: Networks, folder: Path) -> Consent:
    """Read reference photos, one person each: the largest face counts.

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
            raise UsageError(f"--keep-person: {name}: {error.message}") from error
        if not faces:
            raise UsageError(f"--keep-person: no face in {name}", "give another photo of this person")
        largest = max(faces, key=lambda face: face.area)
        vectors = _vectors(networks, photo, [largest])
        names.append(PurePosixPath(name).name)
        judged.append(vectors[0][0])
        identities.append(vectors[1][0])
        digest.update((folder / name).read_bytes())
    if not names:
        raise UsageError(f"--keep-person: no photos in {folder}")
    return Consent(names, np.stack(judged), np.stack(identities), digest.hexdigest())


def _vectors(networks: Networks, photo: Photo, faces: list[Face]) -> tuple[Floats, Floats]:
    judged = networks.judge.embed(photo.pixels, np.stack([face.points for face in faces]))
    targets = faces_of(networks, faces, [align(photo.pixels, face) for face in faces])
    return judged, targets.identity.cpu().numpy()
