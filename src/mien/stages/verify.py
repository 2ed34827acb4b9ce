"""Verify: does the judge, who took no part, still take a face for its original?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.models.networks import Networks
from mien.records import Face, Floats, Pixels
from mien.stages.detect import overlap

NEAR = 0.3  # overlap from which a face found in the new photo is taken for the one that was there


def embed(networks: Networks, photo: Pixels, faces: list[Face]) -> Floats:
    """The judge's vectors [N, 128] of faces in a photo [H, W, 3] uint8 RGB; NaN where it cannot judge."""
    out = np.full((len(faces), 128), np.nan, dtype=np.float32)
    for i, face in enumerate(faces):
        try:
            out[i] = networks.judge.embed(photo, face.points[None])[0]
        except ValueError:  # points that no face could have
            continue
    return out


def nothing(networks: Networks) -> Floats:
    """The judge's vector [128] of a black picture: what it says where there is nothing to see."""
    points = np.array([[90, 110], [166, 110], [128, 150], [98, 190], [158, 190]], dtype=np.float32)
    black = np.zeros((256, 256, 3), dtype=np.uint8)
    return np.asarray(embed(networks, black, [Face((60, 60, 136, 160), points, 1.0)])[0], dtype=np.float32)


def find_again(networks: Networks, photo: Pixels, faces: list[Face]) -> list[Face | None]:
    """For each face of the original photo the one that the detector finds in its place in the new photo."""
    found = networks.detector.detect(photo)
    out: list[Face | None] = []
    for face in faces:
        near = [(overlap(face.box, other.box), i) for i, other in enumerate(found)]
        best = max(near, default=(0.0, -1))
        out.append(found[best[1]] if best[0] >= NEAR else None)
    return out


def distances(networks: Networks, originals: Floats, photo: Pixels, faces: list[Face],
              found: list[Face | None]) -> npt.NDArray[np.float64]:
    """The judge's distance [N] of each face in the new photo to its original; below 0.6 they are one person.

    A face is judged at the points that the detector finds now and at those it found in the original, and the
    smaller distance counts: neither a shifted landmark nor a missed face may hide a likeness. What cannot be
    judged counts as 0.
    """
    there = np.linalg.norm(embed(networks, photo, faces) - originals, axis=1)
    now = embed(networks, photo, [new or old for new, old in zip(found, faces, strict=True)])
    both = np.minimum(there, np.linalg.norm(now - originals, axis=1))
    return np.asarray(np.nan_to_num(both.astype(np.float64), nan=0.0))
