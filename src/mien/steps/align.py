"""The commands on whole photos: read, detect, align, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mien.anonymizer.align_ffhq import ALIGNERS, Aligner
from mien.anonymizer.detect import detect
from mien.datasets.registry import open_dataset
from mien.errors import PhotoError, UsageError
from mien.images.decode import read_photo
from mien.images.encode import encode_photo, write_bytes
from mien.models.hub.cache import sha256_of
from mien.steps.context import StepContext, check_format, check_out, check_png, tell
from mien.steps.face_folder import CROP, RECORD, FaceFolder, Record, stem_of, write_picture
from mien.types import Face, Photo

SAID = 100  # photos between two lines of progress


def read_upright(photo: Path, out: Path) -> None:
    """Write a photo's upright RGB pixels as PNG.

    Raises:
        UsageError: OUT is the photo or no PNG. PhotoError, OutputError: see `mien.errors`.
    """
    check_png(out)
    check_out(photo, out)
    write_picture(out, read_photo(photo, str(photo)).pixels)


def export_photo(photo: Path, out: Path) -> None:
    """Write a photo again, nothing changed but its metadata gone.

    Raises:
        UsageError: OUT is the photo, or its name tells another format.
        PhotoError, OutputError: see `mien.errors`.
    """
    check_out(photo, out)
    content = read_photo(photo, str(photo))
    data, appended = encode_photo(content, content.pixels, np.zeros(content.pixels.shape[:2], dtype=bool))
    check_format(content, appended, out)
    write_bytes(out, data)


def detect_photos(paths: list[Path], kit: StepContext) -> None:
    """Print the faces of photos. A photo that cannot be read is named, and the others are still done.

    Raises:
        PhotoError: at the end, if there were such photos.
    """
    errors = []
    for path in paths:
        try:
            photo = read_photo(path, str(path))
            faces = detect(kit.networks, photo)
        except PhotoError as error:
            errors.append(error)
            kit.say(f"skipped {error.message}")
            continue
        for i, face in enumerate(faces):
            tell(file=str(path), face=i, box=face.box, points=face.points.tolist(), score=face.score)
        if not faces:
            kit.say(f"{path}: no face found")
    if errors:
        raise errors[0] if len(paths) == 1 else PhotoError(
            f"{len(errors)} of {len(paths)} photos could not be searched, first {errors[0].message}")


def align_photo(path: Path, folder: Path, kit: StepContext, again: bool, largest: bool = False) -> None:
    """Cut the faces of a photo out into a folder; faces that lie there already stay as they are.

    Args:
        largest: its largest face alone.

    Raises:
        UsageError: the folder has faces of another photo of that stem, or other faces of this photo.
        PhotoError, OutputError: see `mien.errors`.
    """
    tray = FaceFolder(folder)
    known = tray.by_photo().get(path.stem, [])
    found, made = _align(path, path.stem, tray, known, kit, again, largest)
    kit.say(f"{path}: {found} faces found, {made} crops written to {folder}")


def align_dataset(src: Path, folder: Path, kit: StepContext, again: bool, largest: bool, layout: str,
                  subset: str | None) -> None:
    """The same for all photos of a dataset, each in its place; a photo that cannot be done is named and skipped.

    Raises:
        UsageError: the dataset is not in its layout, or FOLDER lies inside it. OutputError: see `mien.errors`.
    """
    if src.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f"{folder} lies inside {src}: its crops would be taken for photographs of the dataset",
                         "give a folder beside it")
    dataset, tray = open_dataset(src, layout, subset).in_files(), FaceFolder(folder)
    names, known = dataset.names(), tray.by_photo()
    faces = crops = faceless = skipped = 0
    owners: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        stem = stem_of(name)
        try:
            if owners.setdefault(stem, name) != name:
                raise UsageError(f"its faces would lie where those of {owners[stem]} do: rename one of them")
            found, made = _align(dataset.root / name, stem, tray, known.get(stem, []), kit, again, largest)
        except (PhotoError, UsageError) as error:
            skipped += 1
            kit.say(f"skipped {name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
            continue
        faces, crops, faceless = faces + found, crops + made, faceless + (found == 0)
        if number % SAID == 0:
            kit.say(f"align: {number}/{len(names)}")
    kit.say(f"{len(names)} photos: {faces} faces found, {crops} crops written to {folder}, {faceless} photos without a "
            f"face, {skipped} skipped")


def _align(path: Path, stem: str, tray: FaceFolder, known: list[str], kit: StepContext, again: bool,
           largest: bool) -> tuple[int, int]:
    """Faces found in a photo, and crops written; `known`: the faces that the tray has under its stem."""
    photo = read_photo(path, str(path))
    digest = sha256_of(path)
    _refuse_namesake(tray, known, stem, path, digest, again)
    faces = detect(kit.networks, photo)
    tray.create(stem)
    if again:
        tray.clear(stem)
    chosen = set(sorted(range(len(faces)), key=lambda i: -faces[i].area)[: 1 if largest else None])
    made = 0
    for i, face in enumerate(faces):
        if i in chosen and min(face.box[2:]) < kit.recipe.detect.min_size:
            kit.say(f"{path}: face {i} is smaller than {kit.recipe.detect.min_size} pixels: mien blend will blur it")
        elif i in chosen:
            source = {"file": str(path.absolute()), "sha256": digest, "face": i}
            made += _cut(tray, f"{stem}.{i}", photo, face, source, ALIGNERS[kit.recipe.detect.alignment])
    return len(faces), made


def _cut(tray: FaceFolder, name: str, photo: Photo, face: Face, source: dict[str, Any], align: Aligner) -> int:
    """Write what is missing of a face's crop and JSON; how many were written, 0 or 1."""
    height, width = photo.pixels.shape[:2]
    crop = align(photo.pixels, face)
    record = Record.model_validate(source | {
        "photo_size": (width, height), "box": tuple(float(value) for value in face.box),
        "points": face.points.tolist(), "score": float(face.score), "quad": crop.quad.tolist()})
    there = tray.has(name, RECORD)
    if there and not np.allclose(tray.record(name).points, record.points, atol=0.5):
        raise UsageError(f"{tray.path(name, RECORD)} is another face of the photo than is found now",
                         "found by another recipe? Start the photo anew with --again, or take another folder")
    if there and tray.has(name, CROP):
        return 0
    write_picture(tray.path(name, CROP), crop.pixels)
    if not there:
        tray.keep(name, record)
    return 1


def _refuse_namesake(tray: FaceFolder, known: list[str], stem: str, path: Path, digest: str, again: bool) -> None:
    """Two photos of one stem cannot share a folder."""
    for name in known:
        try:
            record = tray.record(name)
        except UsageError:
            if not again:  # a damaged one is about to be made anew
                raise
            continue
        if record.sha256 == digest:
            continue
        if Path(record.file) != path.absolute():
            raise UsageError(f"{tray.folder} holds the faces of another photo named {stem}",
                             "give another folder, or rename the photo")
        if not again:
            raise UsageError(f"{path} has changed since its faces were cut out", "run: mien align --again")
