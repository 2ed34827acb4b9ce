"""The steps on whole photos: read, detect, align and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mien.anonymizer.align_ffhq import ALIGNERS, Aligner
from mien.anonymizer.detect import detect
from mien.datasets.registry import open_dataset
from mien.errors import PhotoError, UsageError
from mien.images.decode import read_photo
from mien.images.encode import encode_photo
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext, check_format, check_out, check_png, tell
from mien.steps.face_folder import CROP, RECORD, FaceFolder, Record, stem_of, write_picture
from mien.types import Face, Photo
from mien.util.files import write_file

REPORT_EVERY = 100  # photos between two lines of progress


def read_upright(photo: Path, out: Path) -> None:
    """Writes a photo's upright RGB pixels as PNG.

    Raises:
        UsageError: OUT is the photo itself or not named as a PNG. PhotoError, OutputError: see `mien.errors`.
    """
    check_png(out)
    check_out(photo, out)
    write_picture(out, read_photo(photo, str(photo)).pixels)


def export_photo(photo: Path, out: Path) -> None:
    """Writes a photo again without its metadata; its pixels stay the same.

    Raises:
        UsageError: OUT is the photo itself, or its suffix belongs to another format.
        PhotoError, OutputError: see `mien.errors`.
    """
    check_out(photo, out)
    content = read_photo(photo, str(photo))
    data, appended = encode_photo(content, content.pixels, np.zeros(content.pixels.shape[:2], dtype=bool))
    check_format(content, appended, out)
    write_file(out, data)


def detect_photos(paths: list[Path], context: StepContext) -> None:
    """Prints the detected faces of photos. Photos that cannot be read are reported and skipped.

    Raises:
        PhotoError: after all photos, if any was skipped.
    """
    errors = []
    for path in paths:
        try:
            photo = read_photo(path, str(path))
            faces = detect(context.networks, photo)
        except PhotoError as error:
            errors.append(error)
            context.say(f"skipped {error.message}")
            continue
        for i, face in enumerate(faces):
            tell(file=str(path), face=i, box=face.box, points=face.points.tolist(), score=face.score)
        if not faces:
            context.say(f"{path}: no face found")
    if errors:
        raise errors[0] if len(paths) == 1 else PhotoError(
            f"{len(errors)} of {len(paths)} photos could not be searched, first {errors[0].message}")


def align_photo(path: Path, folder: Path, context: StepContext, again: bool, largest: bool = False) -> None:
    """Writes the aligned crops of a photo's faces to a face folder. Crops that exist already are kept.

    Args:
        again: delete all files of this photo's faces first.
        largest: crop the largest face only.

    Raises:
        UsageError: the folder has faces of another photo of that stem, or other faces of this photo.
        PhotoError, OutputError: see `mien.errors`.
    """
    face_folder = FaceFolder(folder)
    known = face_folder.by_photo().get(path.stem, [])
    found, made = _align(path, path.stem, face_folder, known, context, again, largest)
    context.say(f"{path}: {found} faces found, {made} crops written to {folder}")


def align_dataset(src: Path, folder: Path, context: StepContext, again: bool, largest: bool, layout: str,
                  subset: str | None) -> None:
    """Does the same for all photos of a dataset, in its subfolders. Photos that fail are reported and skipped.

    Raises:
        UsageError: the dataset does not match its layout, or FOLDER is inside it. OutputError: see `mien.errors`.
    """
    if src.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f"{folder} is inside {src}: its crops would be taken for photographs of the dataset",
                         "give a FOLDER outside SRC")
    dataset, face_folder = open_dataset(src, layout, subset).require_files(), FaceFolder(folder)
    names, known = dataset.names(), face_folder.by_photo()
    faces = crops = faceless = skipped = 0
    owners: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        stem = stem_of(name)
        try:
            if owners.setdefault(stem, name) != name:
                raise UsageError(f"its faces would have the names of those of {owners[stem]}",
                                 "rename one of the photos")
            found, made = _align(dataset.root / name, stem, face_folder, known.get(stem, []), context, again,
                                 largest)
        except (PhotoError, UsageError) as error:
            skipped += 1
            context.say(f"skipped {name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
            continue
        faces, crops, faceless = faces + found, crops + made, faceless + (found == 0)
        if number % REPORT_EVERY == 0:
            context.say(f"align: {number}/{len(names)}")
    context.say(f"{len(names)} photos: {faces} faces found, {crops} crops written to {folder}, {faceless} photos "
                f"without a face, {skipped} skipped")


def _align(path: Path, stem: str, face_folder: FaceFolder, known: list[str], context: StepContext, again: bool,
           largest: bool) -> tuple[int, int]:
    """Aligns one photo; gives the numbers of faces and of crops written. `known`: the folder's faces by its stem."""
    photo = read_photo(path, str(path))
    digest = sha256_of(path)
    _refuse_namesake(face_folder, known, stem, path, digest, again)
    faces = detect(context.networks, photo)
    face_folder.create(stem)
    if again:
        face_folder.clear(stem)
    chosen = set(sorted(range(len(faces)), key=lambda i: -faces[i].area)[: 1 if largest else None])
    made, min_size = 0, context.recipe.detect.min_size
    for i, face in enumerate(faces):
        if i in chosen and min(face.box[2:]) < min_size:
            context.say(f"{path}: face {i} is smaller than {min_size} pixels: `mien steps blend` will blur it")
        elif i in chosen:
            source = {"file": str(path.absolute()), "sha256": digest, "face": i}
            made += _cut(face_folder, f"{stem}.{i}", photo, face, source, ALIGNERS[context.recipe.detect.alignment])
    return len(faces), made


def _cut(face_folder: FaceFolder, name: str, photo: Photo, face: Face, source: dict[str, Any], align: Aligner) -> int:
    """Writes a face's crop and JSON where missing; gives the number of crops written, 0 or 1."""
    height, width = photo.pixels.shape[:2]
    crop = align(photo.pixels, face)
    record = Record.model_validate(source | {
        "photo_size": (width, height), "box": tuple(float(value) for value in face.box),
        "points": face.points.tolist(), "score": float(face.score), "quad": crop.quad.tolist()})
    there = face_folder.has(name, RECORD)
    if there and not np.allclose(face_folder.record(name).points, record.points, atol=0.5):
        raise UsageError(f"{face_folder.path(name, RECORD)} is another face of the photo than is detected now",
                         "give the --recipe that detected it, give --again, or give another FOLDER")
    if there and face_folder.has(name, CROP):
        return 0
    write_picture(face_folder.path(name, CROP), crop.pixels)
    if not there:
        face_folder.keep(name, record)
    return 1


def _refuse_namesake(face_folder: FaceFolder, known: list[str], stem: str, path: Path, digest: str,
                     again: bool) -> None:
    """Raises an error if the folder holds faces of another photo, or of another version of this one, by this stem."""
    for name in known:
        try:
            record = face_folder.record(name)
        except UsageError:
            if not again:  # with --again the damaged record is replaced
                raise
            continue
        if record.sha256 == digest:
            continue
        if Path(record.file) != path.absolute():
            raise UsageError(f"{face_folder.folder} holds the faces of another photo named {stem}",
                             "give another FOLDER, or rename the photo")
        if not again:
            raise UsageError(f"{path} has changed since its faces were aligned",
                             "give --again to replace them")
