"""The collect step: writes the new faces as a dataset of whole generated pictures, as FALCO publishes them.

No pixels of photographs are written: only pictures that `mien steps render` made, each judged against its photograph as
it is now. Photos without such a picture are left out; pictures that still verify as the original are blurred, and left
out if a face is found even then. Both are listed in the manifest.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from mien.anonymizer.conceal import conceal
from mien.anonymizer.verify import embed
from mien.datasets.dataset import Dataset
from mien.datasets.registry import open_dataset
from mien.errors import OutputError, PhotoError, UsageError
from mien.images.decode import decode_pixels, read_photo
from mien.images.formats import printable
from mien.jobs.request import check_folders
from mien.jobs.run import versions
from mien.jobs.state import JobState
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext
from mien.steps.face_folder import RESULT, RESULT_PICTURE, FaceFolder, Record, stem_of
from mien.steps.verify import face_in_crop, result_distance
from mien.types import Crop, FaceOutcome, Pixels, Skipped
from mien.util.files import write_errors, write_file

QUALITY, REFERENCE_QUALITY = 95, 75  # of JPEGs; the second is that of FALCO's code
MARK = "collected"  # a file in the face folder that names the DST it was collected into


@dataclass
class Collected:
    """The collected photos: names in DST by source photo, one outcome a face, and the photos left out with reasons."""

    outputs: dict[str, str] = field(default_factory=dict)
    outcomes: list[FaceOutcome] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class _LeftOut(Exception):
    """A photo cannot be collected; the text is the reason."""


def collect_dataset(src: Path, folder: Path, dst: Path, context: StepContext, layout: str, subset: str | None) -> None:
    """Writes the rendered picture of each photo's largest face under the photo's name, the tables, and the manifest.

    Raises:
        UsageError: the dataset does not match its layout, none of its photos has a new face in the folder, or one of
            the three folders is inside another. OutputError: DST is not empty, or cannot be written.
    """
    check_folders(src, dst, folder, "FOLDER")
    dataset, face_folder = open_dataset(src, layout, subset).require_files(), FaceFolder(folder)
    names = face_folder.names()
    if not any(face_folder.has(name, RESULT_PICTURE) for name in names):
        face_folder.require(names, RESULT_PICTURE, "rendered results", "render")
    _refuse_filled(dst, face_folder)
    known, done = face_folder.by_photo(), Collected()
    for number, photo in enumerate(dataset.names(), 1):
        _collect(dataset, photo, face_folder, known.get(stem_of(photo), []), dst, context, done)
        if number % 100 == 0:
            context.say(f"collect: {number}/{len(dataset.names())}")
    _withdraw(dataset, dst, done)
    for skipped in done.skipped:
        context.say(f"left out {skipped.file}: {skipped.reason}")
    if not done.outputs:
        reasons = Counter(skipped.reason for skipped in done.skipped).most_common(3)
        listed = "; ".join(f"{count} x {reason}" for reason, count in reasons)
        raise UsageError(f"no photograph of {src} has a new face in {folder} to collect: {listed}",
                         f"give the SRC that was aligned into {folder}")
    with write_errors(dst):
        notes = [*dataset.notes, *dataset.write_annotations(dst, done.outputs)]
    JobState(dst, folder).write_manifest(done.outcomes, _record(dataset, done, notes, context), context.recipe.hash)
    blurred = sum(outcome.status == "blurred" for outcome in done.outcomes)
    context.say("\n".join([*notes, f"{dst}: {len(done.outputs)} pictures, {blurred} of them blurred; "
                           f"{len(done.skipped)} photos left out"]))


def _refuse_filled(dst: Path, face_folder: FaceFolder) -> None:
    """Raises an error unless DST is empty or was collected from this face folder before; creates and marks it."""
    mark, place = face_folder.folder / MARK, str(dst.resolve()).encode("utf-8", "surrogateescape")
    with write_errors(dst):
        if dst.exists() and any(dst.iterdir()) and not (mark.exists() and mark.read_bytes() == place):
            raise OutputError(f"{dst} is not empty", "give a new folder as DST")
        dst.mkdir(parents=True, exist_ok=True)
    write_file(mark, place)


def _collect(dataset: Dataset, photo: str, face_folder: FaceFolder, names: list[str], dst: Path, context: StepContext,
             done: Collected) -> None:
    """Writes one photo's picture, or notes why it is left out."""
    try:
        written = _written(dataset, photo)
        name, record = _chosen(face_folder, names, dataset.root / photo)
        picture = _drawn(face_folder, name, record)
        data, outcome = _judged(context, dataset, photo, record, picture, face_folder.crop(name, record), written)
    except _LeftOut as left:
        done.skipped.append(Skipped(photo, str(left)))
        return
    except (PhotoError, UsageError) as error:
        context.say(error.message)
        done.skipped.append(Skipped(photo, "the photo, or one of its files in the face folder, is damaged"))
        return
    with write_errors(dst):
        (dst / written).parent.mkdir(parents=True, exist_ok=True)
    write_file(dst / written, data)
    done.outputs[photo] = written
    done.outcomes.append(outcome)


def _withdraw(dataset: Dataset, dst: Path, done: Collected) -> None:
    """Deletes the pictures that an earlier call wrote for photos that are left out now."""
    kept = set(done.outputs.values())
    with write_errors(dst):
        for photo in dataset.photos:
            for name in {photo, _name(photo)} - kept:
                (dst / name).unlink(missing_ok=True)


def _name(photo: str) -> str:
    """Gives the name of a photo's new picture: the photo's, with .png appended unless it is a JPEG or PNG."""
    return photo if Path(photo).suffix.lower() in (".jpg", ".jpeg", ".png") else f"{photo}.png"


def _written(dataset: Dataset, photo: str) -> str:
    written = _name(photo)
    if written != photo and (dataset.root / written).exists():
        raise _LeftOut(f"it would be written as {written}, which is another photo: rename one")
    return written


def _chosen(face_folder: FaceFolder, names: list[str], source: Path) -> tuple[str, Record]:
    """Gives the largest face of a photo; raises if the photo changed since it was aligned."""
    records = {name: face_folder.record(name) for name in names}
    if not records or not source.is_file():
        raise _LeftOut("the face folder has no face of it")
    digest = sha256_of(source)
    mine = {name: record for name, record in records.items() if record.sha256 == digest}
    if not mine:
        raise _LeftOut("its faces are another photo's, or it has changed since; run: mien steps align --again")
    return max(mine.items(), key=lambda item: item[1].box[2] * item[1].box[3])


def _drawn(face_folder: FaceFolder, name: str, record: Record) -> Pixels:
    """Reads a face's new picture if it was rendered from its present codes: any other picture could be a photograph."""
    paths = face_folder.path(name, RESULT), face_folder.path(name, RESULT_PICTURE)
    if not all(path.is_file() for path in paths):
        raise _LeftOut("its largest face has no rendered result")
    if record.drawn != tuple(sha256_of(path) for path in paths):
        raise _LeftOut("its picture was not rendered from its present codes; run: mien steps render --again")
    return face_folder.picture(name)


def _judged(context: StepContext, dataset: Dataset, photo: str, record: Record, picture: Pixels, crop: Crop,
            written: str) -> tuple[bytes, FaceOutcome]:
    """Encodes the picture, judges the decoded file against the photo, and blurs it if it still verifies."""
    face = record.as_face()
    original = embed(context.networks, read_photo(dataset.root / photo, photo).pixels, [face])
    outcome = FaceOutcome(photo, record.face, face.box, face.points.tolist(), face.score, "anonymized", attempts=1,
                          steps=record.steps or 0, similarity=record.similarity,
                          attribute_distance=record.attribute_distance)
    quality = REFERENCE_QUALITY if context.recipe.optimize.reference else QUALITY
    data = _encoded(picture, written, quality)
    distance = result_distance(context.networks, original, crop, face, decode_pixels(data))
    if distance >= context.recipe.verify.threshold:
        outcome.judge_distance = distance
        return data, outcome
    faces = [*context.networks.detector.detect(picture), face_in_crop(crop, face, len(picture))]
    data = _encoded(conceal(picture, faces)[0], written, quality)
    if context.networks.detector.detect(decode_pixels(data)):
        raise _LeftOut("it still verifies as the original, and a face is still found after blurring")
    outcome.status, outcome.reason = "blurred", "still verifies as the original"
    return data, outcome


def _encoded(picture: Pixels, name: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    if Path(name).suffix.lower() == ".png":
        Image.fromarray(picture).save(buffer, "PNG")
    else:
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0, progressive=True)
    return buffer.getvalue()


def _record(dataset: Dataset, done: Collected, notes: list[str], context: StepContext) -> dict[str, Any]:
    """Gives the content of `mien.json`: everything that decided the result, and counts. It names no people."""
    recipe = context.recipe
    statuses = [outcome.status for outcome in done.outcomes]
    return {"pictures": "whole generated faces", "recipe": recipe.model_dump(mode="json"), "recipe_hash": recipe.hash,
            "weights_sha256": context.weights, **versions(),
            **dataset.record(done.outputs), "notes": notes, "photos": len(done.outputs), "faces": len(done.outcomes),
            "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
            "skipped": [{"file": printable(one.file), "reason": one.reason} for one in done.skipped]}
