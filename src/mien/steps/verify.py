"""The verify step: the judge's distances between two photos, or between the new and the real faces of a folder."""

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

BOX = (0.25, 0.25, 0.5, 0.6)  # typical detection in an FFHQ crop, in parts of its side: x, y, width, height


def verify_photos(first: Path, second: Path, context: StepContext) -> None:
    """Prints the judge's distance between every face of one photo and every face of another.

    Finding no face in the second photo is not an error: then no identity is left in it.

    Raises:
        PhotoError: a photo cannot be read, or no face is found in the first one.
    """
    vectors: list[Floats] = []  # [N, 128] each
    for photo in [read_photo(path, str(path)) for path in (first, second)]:
        faces = detect(context.networks, photo)
        if not faces and not vectors:
            raise PhotoError(f"{printable(photo.name)}: no face found", "give a photograph with a face first")
        if not faces:
            context.say(f"{printable(photo.name)}: no face found, so none can verify")
            return
        vectors.append(embed(context.networks, photo.pixels, faces))
    table = context.networks.judge.distance(vectors[0][:, None], vectors[1][None])
    for (a, b), distance in np.ndenumerate(table):
        tell(a=str(first), face_a=a, b=str(second), face_b=b, distance=float(distance),
             same=bool(distance < context.recipe.verify.threshold))


def verify_folder(folder: Path, context: StepContext) -> None:
    """Prints the judge's distance between every result's picture and its original, and records it in the JSON file.

    Raises:
        UsageError: the folder has no rendered results.
        VerificationError: after all faces, if some still verify as their originals.
    """
    face_folder = FaceFolder(folder)
    names = face_folder.names()
    drawn = [name for name in names if face_folder.has(name, RESULT_PICTURE)]
    if not drawn:
        face_folder.require(names, RESULT_PICTURE, "rendered results", "render")
    face_folder.require(drawn, CROP, "crop", "align PHOTO")
    known = []
    for name in drawn:
        record = face_folder.record(name)
        crop, face = face_folder.crop(name, record), record.as_face()
        original = embed(context.networks, crop.pixels, [face_in_crop(crop, face, SIZE)])
        distance = result_distance(context.networks, original, crop, face, face_folder.picture(name))
        same = distance < context.recipe.verify.threshold
        tell(face=name, distance=distance, same=same)
        face_folder.keep(name, record.model_copy(update={"judge_distance": distance}))
        if same:
            known.append(name)
    if len(drawn) < len(names):
        left = listed([name for name in names if name not in drawn])
        context.say(f"{left}: no rendered results; run: mien steps render {folder}")
    if known:
        raise VerificationError(
            f"{len(known)} of {len(drawn)} results still verify as their originals: {listed(known)}",
            f"run: mien steps optimize --again {folder}, with a lower optimize.margin or more optimize.layers; "
            "`mien steps blend` would blur them")


def result_distance(networks: Networks, original: Floats, crop: Crop, face: Face, picture: Pixels) -> float:
    """Measures the judge's distance between a new face, rendered as a whole crop [S, S, 3], and a vector [1, 128]."""
    there = [face_in_crop(crop, face, len(picture))]
    return float(distances(networks, original, picture, there, find_again(networks.detector, picture, there))[0])


def face_in_crop(crop: Crop, face: Face, side: int) -> Face:
    """Maps a face from its photo to a picture of its crop that is `side` pixels wide."""
    points = map_points(from_photo(crop.quad, SIZE), face.points)
    x, y, width, height = (side * part for part in BOX)
    return Face((x, y, width, height), ((points + 0.5) * (side / SIZE) - 0.5).astype(np.float32), 1.0)
