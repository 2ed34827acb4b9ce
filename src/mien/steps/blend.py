"""`mien steps blend`: puts the new faces of a folder into their photo and has the finished photo searched."""

from __future__ import annotations

from pathlib import Path

from mien.anonymizer.detect import detect, overlap
from mien.anonymizer.finish import compose, finish
from mien.anonymizer.stage_timer import StageTimer
from mien.anonymizer.verify import NEAR, distances, embed, find_again, same_person
from mien.anonymizer.work_item import Subject, WorkItem
from mien.errors import FaceError, UsageError
from mien.images.decode import decode_pixels, read_photo
from mien.images.encode import encode_photo
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext, check_format, check_out, tell
from mien.steps.face_folder import CROP, RESULT_PICTURE, FaceFolder, Record
from mien.types import Face, FaceOutcome, Photo, Pixels, Status
from mien.util.files import write_file


def blend_photo(path: Path, folder: Path, out: Path, context: StepContext) -> None:
    """Puts the new faces of a folder into their photo and writes it without metadata.

    The photo is searched as it will be seen. Faces that have no picture in the folder, that still verify as their
    originals or that were missed before are blurred. One JSON line a face is printed: face, status, reason, distance
    to the original by the judge, box.

    Raises:
        UsageError: the folder has no faces or no pictures of this photo, or OUT's name says another format.
        FaceError: every search of the finished photo found another face, or a face could not be anonymized and the
            recipe does not blur such faces: nothing is written.
        PhotoError, OutputError: see `mien.errors`.
    """
    check_out(path, out)
    face_folder = FaceFolder(folder)
    names = face_folder.names()
    photo = read_photo(path, str(path))
    item, named = _work_item(face_folder, names, photo, sha256_of(path), context)
    compose(item)
    data, appended = b"", ""

    def encoded(item: WorkItem) -> Pixels:
        nonlocal data, appended
        assert item.pixels is not None and item.changed is not None
        data, appended = encode_photo(photo, item.pixels, item.changed)
        return decode_pixels(data)

    decision = finish(context.networks, item, context.recipe, encoded, StageTimer())
    if decision != "anonymized":
        reason = next((row.reason for row in item.outcomes if row.status == "dropped"),
                      "every search of the finished photo finds another face")
        raise FaceError(f"{photo.name} is not written: {reason}", "leave this photo out")
    check_format(photo, appended, out)
    write_file(out, data)
    _measure(item, decode_pixels(data), context)
    for row in item.outcomes:
        tell(face=named.get(row.face, ""), status=row.status, reason=row.reason, distance=row.judge_distance,
             box=row.box)
    context.say(f"{out}: {len(item.subjects)} new faces, {len(item.concealed)} blurred")


def _work_item(face_folder: FaceFolder, names: list[str], photo: Photo, digest: str,
               context: StepContext) -> tuple[WorkItem, dict[int, str]]:
    """The photo with its new faces and those to blur, and the name in the folder of each face's number."""
    records = {name: face_folder.record(name) for name in names}
    mine = {name: record for name, record in records.items() if record.sha256 == digest}
    if not mine:
        raise UsageError(f"{face_folder.folder} holds no faces of {photo.name}, as the file is now",
                         f"run: mien steps align {photo.name} {face_folder.folder}")
    drawn = [name for name in mine if face_folder.has(name, RESULT_PICTURE)]
    if not drawn:
        face_folder.require(mine, RESULT_PICTURE, f"rendered results of {photo.name}", "render")
    face_folder.require(drawn, CROP, "crop", "align PHOTO")
    item = WorkItem(photo)
    judged = embed(context.networks, photo.pixels, [mine[name].as_face() for name in drawn])
    for name, vector in zip(drawn, judged, strict=True):
        face, record = mine[name].as_face(), mine[name]
        item.subjects.append(Subject(face, face_folder.crop(name, record), _outcome(item, face, "anonymized"),
                                     judged=vector, picture=face_folder.picture(name), passed=True))
    for name in mine:
        if name not in drawn:
            _conceal(item, mine[name].as_face(), "no rendered result")
    named = dict(enumerate([*drawn, *(name for name in mine if name not in drawn)]))
    for face in detect(context.networks, photo):
        if not _is_known(face, mine):
            _conceal(item, face, "no crop of it")
    return item, named


def _conceal(item: WorkItem, face: Face, reason: str) -> None:
    outcome = _outcome(item, face, "blurred")
    outcome.reason = reason
    item.concealed.append((face, outcome))


def _outcome(item: WorkItem, face: Face, status: Status) -> FaceOutcome:
    return FaceOutcome(item.photo.name, len(item.outcomes), face.box, face.points.tolist(), face.score, status)


def _measure(item: WorkItem, decoded: Pixels, context: StepContext) -> None:
    """Notes the judge's distance of each new face, as it is seen in the written photo, to its original."""
    faces, originals = [s.face for s in item.subjects], item.originals
    found = find_again(context.networks.detector, decoded, faces)
    same = same_person(originals, context.recipe.verify.threshold)
    measured = distances(context.networks, originals, decoded, faces, found, same)
    for subject, distance in zip(item.subjects, measured, strict=True):
        subject.outcome.judge_distance = float(distance)


def _is_known(face: Face, records: dict[str, Record]) -> bool:
    return any(overlap(face.box, record.box) >= NEAR for record in records.values())
