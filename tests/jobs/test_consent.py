"""Whose face stays, who is who, and which faces the owner names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from helpers import fake_run
from helpers.fake_run import TINY, changed, photos_in, pixels_of, save
from mien.anonymizer.detect import overlap
from mien.anonymizer.invert import Inversion
from mien.anonymizer.load import Loaded
from mien.anonymizer.optimize import Optimized
from mien.errors import UsageError
from mien.jobs.consent import load_consent
from mien.jobs.identities import PersonGallery
from mien.jobs.owner_lists import read_labels, read_regions
from mien.models.detection.s3fd_fan import LandmarkDetector
from mien.models.recognition.sface import SFace
from mien.recipe import Recipe
from mien.types import Face, Pixels

# The judge is easily content here: these tests ask which new face is chosen, not how good it is.
PER_PHOTO = TINY.with_changes({"verify.threshold": 0.3})
PER_PERSON = PER_PHOTO.with_changes({"identity": "per-person"})
KEY = b"0123456789abcdef"


@pytest.mark.parametrize(("text", "words"), [
    ("", "no|columns|empty"), ("file,x,y,width\na,1,2,3\n", "line 2: no height"),
    ("file,x,y,width,height\na,1,2,three,4\n", "line 2: could not convert"),
    ("file,x,y,width,height\na,1,2,3,4\nb,1,2,3,\n", "line 3: no height"),
    ("file,x,y,width,height\na,1,2,0,4\n", "line 2: width and height"),
    ("file,x,y,width,height\na,1,2,-3,4\n", "line 2: width and height"),
    ("file,x,y,width,height\na,nan,2,3,4\n", "line 2: width and height"),
    ("file,x,y,width,height\na,inf,2,3,4\n", "line 2: width and height"),
    ("x;y\n1;2\n", "line 2: no file"),
])
def test_regions_that_cannot_be_read_name_their_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "regions.csv"
    file.write_text(text)
    if not text:
        assert read_regions(file) == []
        return
    with pytest.raises(UsageError, match=words):
        read_regions(file)


def test_regions_as_spreadsheets_write_them(tmp_path: Path) -> None:
    file = tmp_path / "regions.csv"
    file.write_bytes("\ufefffile,y,x,width,height,note\r\n\"sub/a, b.jpg\",2,-1.5,3,4,me\r\n".encode())
    (region,) = read_regions(file)
    assert region.file == "sub/a, b.jpg" and region.box == (-1.5, 2, 3, 4)


def test_labels_come_in_two_forms(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("person,file\nAnna Smith,sub/a.jpg\nBert,b.jpg\n")
    assert read_labels(tmp_path / "a.csv") == {"sub/a.jpg": "Anna Smith", "b.jpg": "Bert"}
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n\n000002.jpg 2937\n")
    assert read_labels(tmp_path / "identity_CelebA.txt") == {"000001.jpg": "2880", "000002.jpg": "2937"}


@pytest.mark.parametrize("data", [b"name,person\na,b\n", b"one two three\n", b"\xff\xfe\x00", b"alone\n"])
def test_labels_that_are_none_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "labels").write_bytes(data)
    with pytest.raises(UsageError, match="labels"):
        read_labels(tmp_path / "labels")
    with pytest.raises(UsageError, match="cannot read"):
        read_labels(tmp_path / "missing")


def test_faces_join_the_nearest_person() -> None:
    rng = np.random.RandomState(0)
    anna, bert = (vector / np.linalg.norm(vector) for vector in rng.randn(2, 128).astype(np.float32))
    gallery = PersonGallery(SFace.same_person)
    assert [gallery.assign(v) for v in (anna, bert, anna)] == ["person-1", "person-2", "person-1"]
    near = anna + 0.1 * bert
    assert gallery.assign((near / np.linalg.norm(near)).astype(np.float32)) == "person-1"
    assert gallery.assign(-anna) == "person-3"


def brighter(photo: Pixels) -> Pixels:
    """Another photo of the same person: lighter, and cut a little differently."""
    return np.clip(photo[4:, :-6].astype(int) + 14, 0, 255).astype(np.uint8)


@pytest.fixture
def friends(portraits: list[Pixels], tmp_path: Path) -> Path:
    return save(tmp_path / "friends" / "Grandma Rosa.png", brighter(portraits[0])).parent


def test_people_who_agreed_stay_and_are_not_named(ready: Loaded, portraits: list[Pixels], friends: Path,
                                                  tmp_path: Path) -> None:
    photo = np.concatenate(portraits[:2], axis=1)
    save(tmp_path / "src" / "a.png", photo)
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready, keep_person=friends)
    kept, other = sorted(summary.outcomes, key=lambda row: row.box[0])
    assert kept.status == "kept" and other.status in ("anonymized", "blurred")
    after = pixels_of(tmp_path / "dst" / "a.png")
    x, y, width, height = (int(v) for v in kept.box)
    assert (after[y : y + height, x : x + width] == photo[y : y + height, x : x + width]).all()
    assert changed(photo, after, other.box)
    for path in (tmp_path / "dst").iterdir():
        assert b"Rosa" not in path.read_bytes(), path.name
    row = next(row for row in fake_run.rows_in(tmp_path / "dst") if row["status"] == "kept")
    assert row["reason"].startswith("agreed") and "person" not in row


def test_nobody_else_stays(hasty: None, ready: Loaded, portraits: list[Pixels], friends: Path,
                           tmp_path: Path) -> None:
    for i, portrait in enumerate(portraits[1:]):
        save(tmp_path / "src" / f"{i}.png", portrait)
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready, keep_person=friends)
    assert summary.statuses["kept"] == 0 and summary.faces == len(portraits) - 1


def test_other_friends_are_another_question(hasty: None, ready: Loaded, portraits: list[Pixels], friends: Path,
                                            tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", portraits[0])
    fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready, keep_person=friends)
    save(friends / "b.png", portraits[1])
    with pytest.raises(UsageError, match="another keep_person"):
        fake_run.run(tmp_path / "src", tmp_path / "dst", ready=ready, keep_person=friends)


def test_a_reference_without_a_face_is_an_error(ready: Loaded, tmp_path: Path) -> None:
    """Silence would anonymize a friend, or worse, leave the owner believing that it works."""
    folder = tmp_path / "friends"
    with pytest.raises(UsageError, match="is no folder"):
        load_consent(ready.networks, folder)
    folder.mkdir()
    with pytest.raises(UsageError, match="no photos in"):
        load_consent(ready.networks, folder)
    save(folder / "tree.png", fake_run.ground(200, 200))
    with pytest.raises(UsageError, match=r"no face in tree\.png"):
        load_consent(ready.networks, folder)
    (folder / "tree.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"tree\.png: not an image"):
        load_consent(ready.networks, folder)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real detection, recognition, pairing and judging; gray in place of new faces, which costs nothing."""

    def invert(networks: Any, faces: Any, *_: Any) -> Inversion:
        return Inversion(torch.zeros(len(faces), 16, 512), torch.zeros(len(faces)), 1)

    def optimize(networks: Any, faces: Any, inverted: torch.Tensor, *_: Any) -> Optimized:
        none = torch.zeros(len(faces))
        return Optimized(inverted, none, none, none.long())

    def render(networks: Any, codes: torch.Tensor, stretch: bool) -> list[Pixels]:
        return [np.full((1024, 1024, 3), 127, np.uint8) for _ in codes]

    for stand_in in (invert, optimize, render):
        monkeypatch.setattr(f"mien.anonymizer.pipeline.{stand_in.__name__}", stand_in)


@pytest.fixture(scope="module")
def two_people(portraits: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of one person and one of another."""
    folder = tmp_path_factory.mktemp("people")
    save(folder / "a1.png", portraits[0])
    save(folder / "a2.png", brighter(portraits[0]))
    save(folder / "b.png", portraits[1])
    return folder


def new_faces(src: Path, dst: Path, ready: Loaded, recipe: Recipe = PER_PERSON,
              **asked: Any) -> dict[str, int]:
    """Photo -> the pool face that it was given."""
    fake_run.run(src, dst, recipe, ready, **asked)
    work = dst.with_name(dst.name + ".work")
    names = json.loads((work / "files.json").read_text())
    pairs = load_file(work / "latents" / "000000.safetensors")
    return {name: int(pairs[f"{i}.0.pair"]) for i, name in enumerate(names)}


def test_by_default_nobody_can_be_followed_through_the_photos(hasty: None, ready: Loaded, two_people: Path,
                                                              tmp_path: Path) -> None:
    faces = new_faces(two_people, tmp_path / "dst", ready, PER_PHOTO)
    assert len(set(faces.values())) == 3


def test_a_person_keeps_one_new_face_by_a_key(hasty: None, ready: Loaded, two_people: Path,
                                              tmp_path: Path) -> None:
    first = new_faces(two_people, tmp_path / "first", ready, key=KEY)
    assert first["a1.png"] == first["a2.png"] != first["b.png"]
    assert new_faces(two_people, tmp_path / "again", ready, key=KEY) == first
    others = [new_faces(two_people, tmp_path / f"other{i}", ready, key=KEY + bytes([i])) for i in range(3)]
    for faces in others:
        assert faces["a1.png"] == faces["a2.png"] != faces["b.png"]
    assert any(faces != first for faces in others), "the key has to decide"
    with pytest.raises(UsageError, match="another key"):
        fake_run.run(two_people, tmp_path / "first", PER_PERSON, ready, key=KEY + b"!")
    files = [*(tmp_path / "first").rglob("*.*"), *(tmp_path / "first.work").rglob("*.*")]
    everything = [path.read_bytes() for path in files]
    assert not any(KEY in data or KEY.hex().encode() in data for data in everything)


def test_labels_say_who_is_who(hasty: None, ready: Loaded, two_people: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,person\na1.png,Rosa\na2.png,Marie\nb.png,Rosa\n")
    faces = new_faces(two_people, tmp_path / "dst", ready, key=KEY, labels=labels)
    assert faces["a1.png"] == faces["b.png"] != faces["a2.png"]
    for path in (tmp_path / "dst").iterdir():
        assert b"Rosa" not in path.read_bytes() and b"person-" not in path.read_bytes()


def test_who_is_who_survives_an_interruption(hasty: None, ready: Loaded, two_people: Path, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fake_run.run(two_people, whole, PER_PERSON, ready, key=KEY)
    fake_run.run(two_people, broken, PER_PERSON, ready, key=KEY)
    (broken / "a2.png").unlink()
    fake_run.run(two_people, broken, PER_PERSON, ready, key=KEY)
    assert photos_in(broken) == photos_in(whole)


def test_a_photo_with_two_faces_and_a_label_names_the_larger(
    hasty: None, ready: Loaded, portraits: list[Pixels], tmp_path: Path
) -> None:
    small = np.asarray(Image.fromarray(portraits[1]).resize((160, 160)))
    pair = np.full((256, 416, 3), 128, np.uint8)
    pair[:, :256], pair[:160, 256:] = portraits[0], small
    save(tmp_path / "src" / "pair.png", pair)
    save(tmp_path / "src" / "small.png", portraits[1])
    labels = tmp_path / "labels.csv"
    labels.write_text("file,person\npair.png,Rosa\n")
    summary = fake_run.run(tmp_path / "src", tmp_path / "dst", PER_PERSON, ready, key=KEY, labels=labels)
    people = {(row.file, row.box[2] > 100): row.person for row in summary.outcomes}
    assert people["pair.png", True] == "label:Rosa"
    assert people["pair.png", False] == people["small.png", True] == "person-1"


class YuNetInTwo:
    """YuNet in the roles of S3FD and FAN, whose weights nobody may pass on: boxes first, then 68 points each."""

    def __init__(self, yunet: Any) -> None:
        self.yunet = yunet

    def detect(self, image: torch.Tensor, score: float) -> torch.Tensor:
        faces = self._faces(image[0])
        rows = [[x, y, x + width, y + height, face.score] for face in faces for x, y, width, height in [face.box]]
        found = torch.tensor(rows).reshape(-1, 5)
        return found[found[:, 4] > score]

    def landmarks(self, image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        faces, out = self._faces(image), torch.zeros(len(boxes), 68, 2)
        for points, (x0, y0, x1, y1) in zip(out, boxes.tolist(), strict=True):
            face = max(faces, key=lambda one: overlap(one.box, (x0, y0, x1 - x0, y1 - y0)))
            for place, point in zip((slice(36, 42), slice(42, 48), 30, 48, 54), face.points, strict=True):
                points[place] = torch.from_numpy(point)
        return out

    def _faces(self, image: torch.Tensor) -> list[Face]:
        return self.yunet.detect(np.ascontiguousarray(image.permute(1, 2, 0).numpy().astype(np.uint8)))


def test_people_and_friends_are_known_with_the_published_detector_and_alignment_too(
    hasty: None, ready: Loaded, two_people: Path, portraits: list[Pixels], friends: Path, tmp_path: Path
) -> None:
    """All these faces are of less than 512 px, which the published alignment turns away: mien changes them."""
    parts: Any = YuNetInTwo(ready.networks.detector)
    detector = LandmarkDetector(parts, parts, 0.6)
    published = replace(ready, networks=replace(ready.networks, detector=detector))
    recipe = PER_PERSON.with_changes({"detect.network": "s3fd", "detect.alignment": "published"})
    faces = new_faces(two_people, tmp_path / "people", published, recipe, key=KEY)
    assert faces["a1.png"] == faces["a2.png"] != faces["b.png"]
    for name in faces:
        after, before = pixels_of(tmp_path / "people" / name), pixels_of(two_people / name)
        (face,) = detector.detect(before)
        assert changed(before, after, face.box)
    summary = fake_run.run(two_people, tmp_path / "friends out", recipe, published, key=KEY, keep_person=friends)
    assert {row.file: row.status for row in summary.outcomes} == {
        "a1.png": "kept", "a2.png": "kept", "b.png": "anonymized"}
