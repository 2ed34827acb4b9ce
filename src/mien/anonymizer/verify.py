"""Verifies new faces: asks the judge, which takes no part in the losses, whether they still are the originals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.anonymizer.detect import overlap
from mien.models.bundle import Detector, Networks
from mien.types import Face, Floats, Pixels

NEAR = 0.3  # intersection over union from which a face found in the new photo is taken for the one that was there


def embed(networks: Networks, photo: Pixels, faces: list[Face]) -> Floats:
    """Computes the judge's vectors [N, 128] of faces in a photo [H, W, 3] uint8 RGB; NaN where it cannot judge."""
    out = np.full((len(faces), 128), np.nan, dtype=np.float32)
    for i, face in enumerate(faces):
        try:
            out[i] = networks.judge.embed(photo, face.points[None])[0]
        except ValueError:  # points that no face could have
            continue
    return out


def embed_black(networks: Networks) -> Floats:
    """Computes the judge's vector [128] of a black picture, to recognize faces in which it sees nothing."""
    points = np.array([[90, 110], [166, 110], [128, 150], [98, 190], [158, 190]], dtype=np.float32)
    black = np.zeros((256, 256, 3), dtype=np.uint8)
    return np.asarray(embed(networks, black, [Face((60, 60, 136, 160), points, 1.0)])[0], dtype=np.float32)


def find_again(detector: Detector, photo: Pixels, faces: list[Face]) -> list[Face | None]:
    """Finds in the new photo, for each face of the original photo, the face in its place, or None.

    Faces keep their pose: the detector's passes for rotated faces, over half of the cost, are skipped unless an
    original face was rotated.
    """
    found = detector.detect(photo, lying=any(face.is_rotated for face in faces))
    out: list[Face | None] = []
    for face in faces:
        near = [(overlap(face.box, other.box), i) for i, other in enumerate(found)]
        best = max(near, default=(0.0, -1))
        out.append(found[best[1]] if best[0] >= NEAR else None)
    return out


def same_person(originals: Floats, threshold: float) -> npt.NDArray[np.bool_]:
    """Tells which of a photo's faces are one person to the judge, [N, N]: each itself, its mirror image or double."""
    between = np.linalg.norm(originals[:, None] - originals[None], axis=2)
    return np.asarray((between < threshold) | np.eye(len(originals), dtype=bool))


def distances(networks: Networks, originals: Floats, photo: Pixels, faces: list[Face], found: list[Face | None],
              same: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float64]:
    """Computes the judge's distance [N] of each face in the new photo to its original; below 0.6 they are one person.

    A face is judged at the points that the detector finds now and at those it found in the original, and the
    smaller distance counts: neither a shifted landmark nor a missed face may hide a likeness. The distance of a face
    that cannot be judged is 0.

    Args:
        found: the faces that were found again in the new photo, see `find_again`.
        same: [N, N], which faces show one person, so that the originals of all of them count; None: each its own only.
    """
    there = embed(networks, photo, faces)
    now = embed(networks, photo, [new or old for new, old in zip(found, faces, strict=True)])
    out = np.zeros(len(faces))
    for i in range(len(faces)):
        own = originals[i : i + 1] if same is None else originals[same[i]]
        out[i] = np.linalg.norm(np.stack([there[i], now[i]])[:, None] - own, axis=2).min()
    return np.nan_to_num(out, nan=0.0)
