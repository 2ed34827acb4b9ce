"""The command with the judge: verify, for two photos or for a folder of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.anonymizer.align import SIZE, from_photo, map_points
from mien.anonymizer.detect import detect
from mien.anonymizer.verify import distances, embed, find_again
from mien.errors import PhotoError, VerificationError
from mien.images.decode import read_photo
from mien.images.formats import printable
from mien.models.bundle import Networks
from mien.steps.context import StepContext, tell
from mien.steps.face_folder import CROP, RESULT_PICTURE, FaceFolder, listed
from mien.types import Crop, Face, Floats, Pixels

BOX = (0.25, 0.25, 0.5, 0.6)  # about where a detector sees the face of an FFHQ crop: x, y, width, height


def verify_photos(first: Path, second: Path, kit: StepContext) -> None:
    """Print the judge's distance of every face of one photo to every face of another.

    A second photo in which no face is left is a good answer, said in words.

    Raises:
        PhotoError: a photo cannot be read, or no face is found in the first.
    """
    vectors: list[Floats] = []  # [N, 128] each
    for photo in [read_photo(path, str(path)) for path in (first, second)]:
        faces = detect(kit.networks, photo)
        if not faces and not vectors:
            raise PhotoError(f"{printable(photo.name)}: no face found")
        if not faces:
            kit.say(f"{printable(photo.name)}: no face found, nobody verifies")
            return
        vectors.append(embed(kit.networks, photo.pixels, faces))
    table = kit.networks.judge.distance(vectors[0][:, None], vectors[1][None])
    for (a, b), distance in np.ndenumerate(table):
        tell(a=str(first), face_a=a, b=str(second), face_b=b, distance=float(distance),
             same=bool(distance < kit.recipe.verify.threshold))


def verify_tray(folder: Path, kit: StepContext) -> None:
    """Print the judge's distance of every result's picture to its original, and keep it in the JSON.

    Raises:
        UsageError: no pictures there. VerificationError: after all, if some still verify as their originals.
    """
    tray = FaceFolder(folder)
    names = tray.names()
    drawn = [name for name in names if tray.has(name, RESULT_PICTURE)]
    if not drawn:
        tray.missing(names, RESULT_PICTURE, "rendered results", "render")
    tray.missing(drawn, CROP, "crop", "align PHOTO")
    known = []
    for name in drawn:
        record = tray.record(name)
        crop, face = tray.crop(name, record), record.as_face()
        original = embed(kit.networks, crop.pixels, [face_in_crop(crop, face, SIZE)])
        distance = result_distance(kit.networks, original, crop, face, tray.picture(name))
        same = distance < kit.recipe.verify.threshold
        tell(face=name, distance=distance, same=same)
        tray.keep(name, record.model_copy(update={"judge_distance": distance}))
        if same:
            known.append(name)
    if len(drawn) < len(names):
        left = listed([name for name in names if name not in drawn])
        kit.say(f"{left}: no rendered results; run: mien render {folder}")
    if known:
        raise VerificationError(
            f"{len(known)} of {len(drawn)} results still verify as their originals: {listed(known)}",
            "optimize them again with a lower margin or more layers; mien blend would blur them")


def result_distance(networks: Networks, original: Floats, crop: Crop, face: Face, picture: Pixels) -> float:
    """The judge's distance of a new face, a picture [S, S, 3] of the whole crop, to its original's vector [1, 128]."""
    there = [face_in_crop(crop, face, len(picture))]
    return float(distances(networks, original, picture, there, find_again(networks.detector, picture, there))[0])


def face_in_crop(crop: Crop, face: Face, side: int) -> Face:
    """A photo's face as it lies in a picture of its crop that is `side` pixels wide."""
    points = map_points(from_photo(crop.quad, SIZE), face.points)
    x, y, width, height = (side * part for part in BOX)
    return Face((x, y, width, height), ((points + 0.5) * (side / SIZE) - 0.5).astype(np.float32), 1.0)
