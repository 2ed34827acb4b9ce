"""The collect command: new faces as a dataset, each a whole generated picture, as the paper publishes them.

Nothing of a photograph goes in: only pictures that `mien render` drew, judged against the photograph as it is now. What
has none, or cannot be told from its original, is left out or blurred and listed, never passed through.
"""

from __future__ import annotations

import io
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
from mien.images.encode import write_bytes
from mien.images.formats import printable
from mien.jobs.request import check_folders
from mien.jobs.run import versions
from mien.jobs.state import JobState
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext
from mien.steps.face_folder import RESULT, RESULT_PICTURE, FaceFolder, Record, stem_of
from mien.steps.verify import face_in_crop, result_distance
from mien.types import Crop, FaceOutcome, Pixels, Skipped
from mien.util.files import write_errors

QUALITY, REFERENCE_QUALITY = 95, 75  # of JPEGs; the reference code's is the paper's
MARK = "collected"  # in the folder of faces: which DST it was collected into


@dataclass
class Collected:
    """What went into the dataset: source photo -> name in DST, a row a face; and what did not, with its reason."""

    outputs: dict[str, str] = field(default_factory=dict)
    outcomes: list[FaceOutcome] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class _LeftOut(Exception):
    """A photo of which nothing goes into the dataset, and why."""


def collect_dataset(src: Path, folder: Path, dst: Path, kit: StepContext, layout: str, subset: str | None) -> None:
    """Write the picture of each photo's largest face under the photo's name, the annotation files, and the manifest.

    Raises:
        UsageError: the dataset is not in its layout, none of its photos has a new face in the folder, or folders lie in
            one another. OutputError: DST is not empty, or cannot be written.
    """
    check_folders(src, dst, folder, "FOLDER")
    dataset, tray = open_dataset(src, layout, subset).in_files(), FaceFolder(folder)
    names = tray.names()
    if not any(tray.has(name, RESULT_PICTURE) for name in names):
        tray.missing(names, RESULT_PICTURE, "rendered results", "render")
    _refuse_filled(dst, tray)
    known, done = tray.by_photo(), Collected()
    for number, photo in enumerate(dataset.names(), 1):
        _collect(dataset, photo, tray, known.get(stem_of(photo), []), dst, kit, done)
        if number % 100 == 0:
            kit.say(f"collect: {number}/{len(dataset.names())}")
    _withdraw(dataset, dst, done)
    for skipped in done.skipped:
        kit.say(f"left out {skipped.file}: {skipped.reason}")
    if not done.outputs:
        raise UsageError(f"no photograph of {src} has a new face in {folder} that could go into {dst}",
                         "is it the SRC of mien align? The reasons are listed above")
    with write_errors(dst):
        notes = [*dataset.notes, *dataset.write_annotations(dst, done.outputs)]
    JobState(dst, folder).write_manifest(done.outcomes, _record(dataset, done, notes, kit), kit.recipe.hash)
    blurred = sum(outcome.status == "blurred" for outcome in done.outcomes)
    kit.say("\n".join([*notes, f"{dst}: {len(done.outputs)} pictures, {blurred} of them blurred; {len(done.skipped)} "
                       "photos left out"]))


def _refuse_filled(dst: Path, tray: FaceFolder) -> None:
    """DST is new, or this folder's own from before."""
    mark, place = tray.folder / MARK, str(dst.resolve()).encode("utf-8", "surrogateescape")
    with write_errors(dst):
        if dst.exists() and any(dst.iterdir()) and not (mark.exists() and mark.read_bytes() == place):
            raise OutputError(f"{dst} is not empty", "give a new folder")
        dst.mkdir(parents=True, exist_ok=True)
    write_bytes(mark, place)


def _collect(dataset: Dataset, photo: str, tray: FaceFolder, names: list[str], dst: Path, kit: StepContext,
             done: Collected) -> None:
    try:
        written = _written(dataset, photo)
        name, record = _chosen(tray, names, dataset.root / photo)
        picture = _drawn(tray, name, record)
        data, outcome = _judged(kit, dataset, photo, record, picture, tray.crop(name, record), written)
    except _LeftOut as left:
        done.skipped.append(Skipped(photo, str(left)))
        return
    except (PhotoError, UsageError) as error:
        kit.say(error.message)
        done.skipped.append(Skipped(photo, "it, or what the folder has of it, is damaged"))
        return
    with write_errors(dst):
        (dst / written).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(dst / written, data)
    done.outputs[photo] = written
    done.outcomes.append(outcome)


def _withdraw(dataset: Dataset, dst: Path, done: Collected) -> None:
    """Take out what an earlier call had for photos that have nothing now."""
    kept = set(done.outputs.values())
    with write_errors(dst):
        for photo in dataset.photos:
            for name in {photo, _name(photo)} - kept:
                (dst / name).unlink(missing_ok=True)


def _name(photo: str) -> str:
    """Under which name a photo's new picture is written: its own, if that is one of a format that is written."""
    return photo if Path(photo).suffix.lower() in (".jpg", ".jpeg", ".png") else f"{photo}.png"


def _written(dataset: Dataset, photo: str) -> str:
    written = _name(photo)
    if written != photo and (dataset.root / written).exists():
        raise _LeftOut(f"it would be written as {written}, which is another photo: rename one")
    return written


def _chosen(tray: FaceFolder, names: list[str], source: Path) -> tuple[str, Record]:
    """The largest face of a photo as it is now."""
    records = {name: tray.record(name) for name in names}
    if not records or not source.is_file():
        raise _LeftOut("no face of it in the folder")
    digest = sha256_of(source)
    mine = {name: record for name, record in records.items() if record.sha256 == digest}
    if not mine:
        raise _LeftOut("the folder's faces are of another photo, or it has changed since: mien align --again")
    return max(mine.items(), key=lambda item: item[1].box[2] * item[1].box[3])


def _drawn(tray: FaceFolder, name: str, record: Record) -> Pixels:
    """A face's new picture, if it is what was drawn of its codes as they are now: any other could be a photograph."""
    paths = tray.path(name, RESULT), tray.path(name, RESULT_PICTURE)
    if not all(path.is_file() for path in paths):
        raise _LeftOut("its largest face has no rendered result")
    if record.drawn != tuple(sha256_of(path) for path in paths):
        raise _LeftOut("its picture is not the one that was drawn of its codes: mien render --again")
    return tray.picture(name)


def _judged(kit: StepContext, dataset: Dataset, photo: str, record: Record, picture: Pixels, crop: Crop,
            written: str) -> tuple[bytes, FaceOutcome]:
    """The picture as a file, judged as it will be seen against the photo; blurred if it is still the person."""
    face = record.as_face()
    original = embed(kit.networks, read_photo(dataset.root / photo, photo).pixels, [face])
    outcome = FaceOutcome(photo, record.face, face.box, face.points.tolist(), face.score, "anonymized", attempts=1,
                          steps=record.steps or 0, similarity=record.similarity,
                          attribute_distance=record.attribute_distance)
    quality = REFERENCE_QUALITY if kit.recipe.optimize.reference else QUALITY
    data = _encoded(picture, written, quality)
    distance = result_distance(kit.networks, original, crop, face, decode_pixels(data))
    if distance >= kit.recipe.verify.threshold:
        outcome.judge_distance = distance
        return data, outcome
    faces = [*kit.networks.detector.detect(picture), face_in_crop(crop, face, len(picture))]
    data = _encoded(conceal(picture, faces)[0], written, quality)
    if kit.networks.detector.detect(decode_pixels(data)):
        raise _LeftOut("still the person to the judge, and still a face after it was blurred")
    outcome.status, outcome.reason = "blurred", "still verifies as the original"
    return data, outcome


def _encoded(picture: Pixels, name: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    if Path(name).suffix.lower() == ".png":
        Image.fromarray(picture).save(buffer, "PNG")
    else:
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0, progressive=True)
    return buffer.getvalue()


def _record(dataset: Dataset, done: Collected, notes: list[str], kit: StepContext) -> dict[str, Any]:
    """`mien.json`: everything that decided the result, and the counts. Nothing of who the people are."""
    recipe = kit.recipe
    statuses = [outcome.status for outcome in done.outcomes]
    return {"pictures": "whole generated faces", "recipe": recipe.model_dump(mode="json"), "recipe_hash": recipe.hash,
            "weights_sha256": kit.weights, **versions(),
            **dataset.record(done.outputs), "notes": notes, "photos": len(done.outputs), "faces": len(done.outcomes),
            "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
            "skipped": [{"file": printable(one.file), "reason": one.reason} for one in done.skipped]}
