"""The blend command: new faces into their photo, and nothing out that the judge or the detector minds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.anonymizer.blend import Patch, blend
from mien.anonymizer.conceal import conceal
from mien.anonymizer.detect import detect, overlap
from mien.anonymizer.verify import NEAR, distances, embed, find_again, same_person
from mien.errors import UsageError
from mien.images.decode import decode_pixels, read_photo
from mien.images.encode import encode_photo, write_bytes
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext, check_format, check_out, tell
from mien.steps.face_folder import CROP, RESULT_PICTURE, FaceFolder
from mien.types import Face, Floats, Photo

ROUNDS = 3  # of searching the finished photo before everything in it is blurred


@dataclass
class _New:
    """A face that gets a new one; `original`: the judge's vector [128]."""

    name: str
    face: Face
    patch: Patch
    original: Floats
    distance: float = 0.0


@dataclass
class _Hidden:
    """A face that is blurred; `name` is empty where the folder has no crop of it."""

    name: str
    face: Face
    reason: str


def blend_photo(path: Path, folder: Path, out: Path, kit: StepContext) -> None:
    """Put the new faces of a folder into their photo, judge it as it will be seen, write it without metadata.

    Faces of the photo that have no picture in the folder are blurred, and so are those that still verify as
    their originals. Prints one JSON line a face: face, status, reason, distance.

    Raises:
        UsageError: the folder has no faces or no pictures of this photo, or OUT's name tells another format.
        PhotoError, OutputError: see `mien.errors`.
    """
    check_out(path, out)
    tray = FaceFolder(folder)
    names = tray.names()
    photo = read_photo(path, str(path))
    new, hidden = _gather(tray, names, photo, sha256_of(path), kit)
    data, appended = _searched(photo, new, hidden, kit)
    check_format(photo, appended, out)
    write_bytes(out, data)
    for row in new:
        tell(face=row.name, status="anonymized", reason="", distance=row.distance, box=row.face.box)
    for gone in hidden:
        tell(face=gone.name, status="blurred", reason=gone.reason, distance=None, box=gone.face.box)
    kit.say(f"{out}: {len(new)} new faces, {len(hidden)} blurred")


def _gather(tray: FaceFolder, names: list[str], photo: Photo, digest: str,
            kit: StepContext) -> tuple[list[_New], list[_Hidden]]:
    records = {name: tray.record(name) for name in names}
    mine = {name: record for name, record in records.items() if record.sha256 == digest}
    if not mine:
        raise UsageError(f"{tray.folder} holds no faces of {photo.name}, as the file is now",
                         f"run: mien align {photo.name} {tray.folder}")
    drawn = [name for name in mine if tray.has(name, RESULT_PICTURE)]
    if not drawn:
        tray.missing(mine, RESULT_PICTURE, f"rendered results of {photo.name}", "render")
    tray.missing(drawn, CROP, "crop", "align PHOTO")
    patches = [Patch(tray.crop(name, mine[name]), tray.picture(name)) for name in drawn]
    faces = [mine[name].as_face() for name in drawn]
    originals = embed(kit.networks, photo.pixels, faces)
    new = [_New(*row) for row in zip(drawn, faces, patches, originals, strict=True)]
    hidden = [_Hidden(name, mine[name].as_face(), "no rendered result") for name in mine if name not in drawn]
    boxes = [record.box for record in mine.values()]
    others = [face for face in detect(kit.networks, photo) if not _near(face, boxes)]
    hidden += [_Hidden("", face, "no crop of it") for face in others]
    return new, hidden


def _encoded(photo: Photo, new: list[_New], hidden: list[_Hidden]) -> tuple[bytes, str]:
    """The photo as a file, and the suffix to append; new faces go in last, so that blurring covers none."""
    pixels, changed = conceal(photo.pixels, [row.face for row in hidden])
    pixels, blended = blend(pixels, [row.patch for row in new], photo.pixels)
    return encode_photo(photo, pixels, changed | blended)


def _searched(photo: Photo, new: list[_New], hidden: list[_Hidden], kit: StepContext) -> tuple[bytes, str]:
    """Encode, decode and judge; blur what is still known or was overlooked, and look again."""
    for _ in range(ROUNDS):
        encoded = _encoded(photo, new, hidden)
        known, missed = _minded(encoded[0], new, hidden, kit)
        if not known and not missed:
            return encoded
        _hide(new, hidden, known, "still verifies as the original")
        hidden += [_Hidden("", face, "found only in the finished photo") for face in missed]
    _hide(new, hidden, list(new), "the finished photo could not be verified")
    return _encoded(photo, new, hidden)


def _minded(data: bytes, new: list[_New], hidden: list[_Hidden], kit: StepContext) -> tuple[list[_New], list[Face]]:
    """New faces that the judge takes for an original, and faces that nobody knew of."""
    decoded, threshold = decode_pixels(data), kit.recipe.verify.threshold
    faces = [row.face for row in new]
    originals = np.stack([row.original for row in new]) if new else np.zeros((0, 128), np.float32)
    found = find_again(kit.networks.detector, decoded, faces)
    measured = distances(kit.networks, originals, decoded, faces, found, same_person(originals, threshold))
    everybody = kit.networks.detector.detect(decoded)
    for row, distance in zip(new, measured, strict=True):
        row.distance = float(distance)
    boxes = [face.box for face in faces] + [row.face.box for row in hidden]
    missed = [face for face in everybody if not _near(face, boxes)]
    return [row for row in new if row.distance < threshold], missed


def _hide(new: list[_New], hidden: list[_Hidden], rows: list[_New], reason: str) -> None:
    gone = {row.name for row in rows}
    hidden += [_Hidden(row.name, row.face, reason) for row in new if row.name in gone]
    new[:] = [row for row in new if row.name not in gone]


def _near(face: Face, boxes: list[tuple[float, float, float, float]]) -> bool:
    return any(overlap(face.box, box) >= NEAR for box in boxes)
