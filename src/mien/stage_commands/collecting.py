"""The collect command: new faces as a dataset, each a whole generated picture, as the paper publishes them.

Nothing of a photograph goes in: what has no new face, or still verifies as its original, is left out or blurred and
listed, never passed through.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mien.datasets.dataset import Dataset
from mien.datasets.layouts import open_dataset
from mien.errors import OutputError, PhotoError, UsageError
from mien.files import replace_file
from mien.models.cache import sha256_of
from mien.photo_files import printable
from mien.records import Crop, Face, Pixels
from mien.run import check_folders
from mien.stage_commands.kit import Kit
from mien.stage_commands.verdicts import face_in_crop, result_distance
from mien.stages.conceal import conceal
from mien.stages.export import write_bytes
from mien.stages.read import decode_pixels
from mien.store import write_errors
from mien.tray import CROP, RESULT_PICTURE, Tray, stem_of

QUALITY, REFERENCE_QUALITY = 95, 75  # of JPEGs; the reference code's is the paper's
MARK = "collected.json"  # in the folder of faces: which DST it was collected into


@dataclass
class Collected:
    """What went into the dataset: source photo -> name in DST; the judge's distances; what did not, and why."""

    outputs: dict[str, str] = field(default_factory=dict)
    distances: dict[str, float] = field(default_factory=dict)
    blurred: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def collect_dataset(src: Path, folder: Path, dst: Path, kit: Kit, layout: str, subset: str | None) -> None:
    """Write the picture of each photo's largest face under the photo's name, and the annotation files.

    Raises:
        UsageError: the dataset is not in its layout, the folder has no rendered results, or folders lie in one another.
        OutputError: DST is not empty, or cannot be written.
    """
    check_folders(src, dst, folder)
    dataset, tray = open_dataset(src, layout, subset), Tray(folder)
    names = tray.names()
    if not any(tray.has(name, RESULT_PICTURE) for name in names):
        tray.missing(names, RESULT_PICTURE, "rendered results", "render")
    _refuse_filled(dst, tray)
    known, done = tray.by_photo(), Collected()
    for number, photo in enumerate(dataset.names(), 1):
        _collect(dataset, photo, tray, known.get(stem_of(photo), []), dst, kit, done)
        if number % 100 == 0:
            kit.say(f"collect: {number}/{len(dataset.names())}")
    with write_errors(dst):
        notes = dataset.write_annotations(dst, done.outputs)
        replace_file(dst / "mien.json", lambda path: path.write_text(_record(dataset, done, notes, kit), "utf-8"))
    for note in (*dataset.notes, *notes):
        kit.say(note)
    for photo, reason in done.left_out.items():
        kit.say(f"left out {photo}: {reason}")
    kit.say(f"{dst}: {len(done.outputs)} pictures, {len(done.blurred)} of them blurred; {len(done.left_out)} left out")


def _refuse_filled(dst: Path, tray: Tray) -> None:
    """DST is new, or this folder's own from before."""
    mark, place = tray.folder / MARK, json.dumps(str(dst.resolve())).encode()
    with write_errors(dst):
        if dst.exists() and any(dst.iterdir()) and not (mark.exists() and mark.read_bytes() == place):
            raise OutputError(f"{dst} is not empty", "give a new folder")
        dst.mkdir(parents=True, exist_ok=True)
    write_bytes(mark, place)


def _collect(dataset: Dataset, photo: str, tray: Tray, names: list[str], dst: Path, kit: Kit, done: Collected) -> None:
    written = photo if Path(photo).suffix.lower() in (".jpg", ".jpeg", ".png") else f"{photo}.png"
    try:
        name = _chosen(tray, names, dataset.root / photo)
        record = tray.record(name)
        data, distance = _judged(kit, tray.picture(name), tray.crop(name, record), record.as_face(), written)
    except _LeftOut as left:
        done.left_out[photo] = str(left)
    except (PhotoError, UsageError) as error:
        kit.say(error.message)
        done.left_out[photo] = "what the folder has of it is damaged"
    with write_errors(dst):
        if photo in done.left_out:  # an earlier call may have had something for it
            (dst / written).unlink(missing_ok=True)
            return
        (dst / written).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(dst / written, data)
    done.outputs[photo] = written
    if distance is None:
        done.blurred.append(photo)
    else:
        done.distances[photo] = distance


class _LeftOut(Exception):
    """A photo of which nothing goes into the dataset, and why."""


def _chosen(tray: Tray, names: list[str], source: Path) -> str:
    """The largest face of a photo as it is now, if it has a new one."""
    records = {name: tray.record(name) for name in names}
    if not records or not source.is_file():
        raise _LeftOut("no face of it in the folder")
    digest = sha256_of(source)
    mine = {name: record for name, record in records.items() if record.sha256 == digest}
    if not mine:
        raise _LeftOut("the folder's faces are of another photo, or it has changed since")
    name = max(mine, key=lambda one: mine[one].box[2] * mine[one].box[3])
    if not (tray.has(name, RESULT_PICTURE) and tray.has(name, CROP)):
        raise _LeftOut("its largest face has no rendered result")
    return name


def _judged(kit: Kit, picture: Pixels, crop: Crop, face: Face, written: str) -> tuple[bytes, float | None]:
    """The picture as a file, judged as it will be seen; blurred, and without a distance, if it is still the person."""
    quality = REFERENCE_QUALITY if kit.recipe.optimise.reference else QUALITY
    data = _encoded(picture, written, quality)
    distance = result_distance(kit.networks, crop, face, decode_pixels(data))
    if distance >= kit.recipe.verify.threshold:
        return data, distance
    faces = [*kit.networks.detector.detect(picture), face_in_crop(crop, face, len(picture))]
    return _encoded(conceal(picture, faces)[0], written, quality), None


def _encoded(picture: Pixels, name: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    if Path(name).suffix.lower() == ".png":
        Image.fromarray(picture).save(buffer, "PNG")
    else:
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0, progressive=True)
    return buffer.getvalue()


def _record(dataset: Dataset, done: Collected, notes: list[str], kit: Kit) -> str:
    """`mien.json`: everything that a reader of the dataset should know. Nothing of who the people are."""
    distances = np.array(list(done.distances.values()) or [np.nan])
    record = {"pictures": len(done.outputs), "blurred": [printable(name) for name in done.blurred],
              "left_out": {printable(name): reason for name, reason in done.left_out.items()},
              "judge_distance": {"median": float(np.median(distances)), "least": float(distances.min())}
              if done.distances else None,
              "recipe": kit.recipe.model_dump(mode="json"), "recipe_hash": kit.recipe.hash,
              **dataset.record(done.outputs), "notes": [*dataset.notes, *notes]}
    return json.dumps(record, indent=1, sort_keys=True) + "\n"
