"""No photo leaves in whose last search a face was found, whichever way it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from helpers import face_folders, fake_run
from helpers.fake_run import TINY
from mien.anonymizer.align import align
from mien.anonymizer.finish import SEARCHES, compose, finish
from mien.anonymizer.stage_timer import StageTimer
from mien.anonymizer.work_item import Subject, WorkItem
from mien.errors import FaceError
from mien.steps.blend import blend_photo
from mien.types import Encoding, Face, Photo, Pixels


class MoreAtEachLook(fake_run.RestlessNetworks):
    """Sees one more face at each search of the finished photo, `more` times."""


class MoreAtEachSearch(face_folders.Networks):
    """The same for the networks of the steps."""

    more = 0

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        found = super().detect(photo, lying)
        extra = range(min(self.searches - 1, self.more))
        return found + [face_folders.face_at(4 + 14 * i, 4, 12) for i in extra]


def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> bool:
    """Whether `mien.anonymize` gives an image back."""
    networks: Any = MoreAtEachLook(more)
    monkeypatch.setattr("mien.api._loaded", lambda *_: replace(fake_run.square_ready(), networks=networks))
    try:
        return len(mien.anonymize(fake_run.ground(96, 128), TINY).faces) == more
    except FaceError:
        return False


def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> bool:
    """Whether a job writes the photo."""
    fake_run.save(tmp_path / "src" / "a.png", fake_run.ground(96, 128))
    networks: Any = MoreAtEachLook(more)
    fake_run.run(tmp_path / "src", tmp_path / "dst", ready=replace(fake_run.square_ready(), networks=networks))
    return (tmp_path / "dst" / "a.png").exists()


def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> bool:
    """Whether `mien steps blend` writes the photo."""
    monkeypatch.undo()  # a step blends for real
    face = face_folders.face_at(110, 60)
    photo, folder = face_folders.aligned(tmp_path, [face])
    face_folders.draw(folder, "photo.0", 255)
    networks = MoreAtEachSearch([face])
    networks.more = more
    try:
        blend_photo(photo, folder.folder, tmp_path / "out.png", face_folders.step_context(networks))
    except FaceError as error:
        assert "every search of the finished photo finds another face" in error.message
    return (tmp_path / "out.png").exists()


DOORS: list[Callable[[Path, pytest.MonkeyPatch, int], bool]] = [image, dataset, step]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("more", [0, 1, SEARCHES, SEARCHES + 1, SEARCHES + 2, 100])
def test_a_photo_leaves_only_after_a_search_that_finds_nothing(
    brush: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: Callable[..., bool], more: int
) -> None:
    # Without new faces to judge, the two looks of a run are one; of a step the first search is the second look.
    most = SEARCHES if door is step else SEARCHES + 1
    assert door(tmp_path, monkeypatch, more) == (more <= most)


class Finds:
    """A detector that finds what it is told, search by search; its judge takes all faces for different people."""

    def __init__(self, *searches: list[Face]) -> None:
        self.searches = list(searches)

    @property
    def detector(self) -> Finds:
        return self

    @property
    def judge(self) -> Finds:
        return self

    def detect(self, photo: Pixels, lying: bool = True) -> list[Face]:
        return self.searches.pop(0) if self.searches else []

    def embed(self, photo: Pixels, points: Any) -> Any:
        return np.pad(points.reshape(len(points), -1), ((0, 0), (0, 118)))


def item() -> WorkItem:
    photo = Photo("a.png", face_folders.waves(100, 120), Encoding("PNG", "RGB"))
    return WorkItem(photo, pixels=photo.pixels.copy(), changed=np.zeros((100, 120), bool))


@pytest.mark.parametrize(("on_failure", "decision"), [("blur", "anonymized"), ("drop", "dropped")])
def test_it_encodes_again_after_every_change_and_the_last_one_is_what_was_searched(on_failure: str,
                                                                                   decision: str) -> None:
    seen: list[Pixels] = []

    def encode(work: WorkItem) -> Pixels:
        assert work.pixels is not None
        seen.append(work.pixels.copy())
        return seen[-1]

    work, face = item(), face_folders.face_at(40, 40, 20)
    networks: Any = Finds([face], [])
    recipe = TINY.with_changes({"on_failure": on_failure})
    assert finish(networks, work, recipe, encode, StageTimer()) == decision
    assert len(seen) == 2 and (seen[0] != seen[1]).any() and work.pixels is not None and (seen[1] == work.pixels).all()
    assert [row.reason for row in work.outcomes] == ["found only in the finished photo"]


class Knows(Finds):
    """The same with a judge who goes by the brightness around a face's middle."""

    def embed(self, photo: Pixels, points: Any) -> Any:
        out = np.zeros((len(points), 128), np.float32)
        for i, (x, y) in enumerate(points.mean(axis=1).round().astype(int)):
            out[i, 0] = photo[y - 2 : y + 3, x - 2 : x + 3].mean() / 50
        return out


def subject(work: WorkItem, face: Face, before: float, after: int) -> Subject:
    """A face that was `before` to the judge, and whose picture is of one gray now."""
    crop = align(work.photo.pixels, face)
    outcome = mien.FaceOutcome("a.png", len(work.outcomes), face.box, face.points.tolist(), 0.9, "anonymized")
    judged = np.zeros(128, np.float32)
    judged[0] = before
    made = Subject(face, crop, outcome, judged=judged, picture=np.full((256, 256, 3), after, np.uint8), passed=True)
    work.subjects.append(made)
    return made


def shown(work: WorkItem) -> Pixels:
    assert work.pixels is not None
    return work.pixels


def judged_now(work: WorkItem, face: Face) -> float:
    """What the judge says of a face in the photo as it stands."""
    return float(Knows().embed(shown(work), face.points[None])[0, 0])


LEFT, RIGHT = face_folders.face_at(10, 30, 40), face_folders.face_at(70, 30, 40)


@pytest.mark.parametrize("guilty", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("known", ["like the original", "not at all"])
def test_a_face_that_still_verifies_is_concealed_and_no_other(guilty: tuple[int, ...], known: str) -> None:
    work = item()
    made = [subject(work, LEFT, 99.0, 200), subject(work, RIGHT, 99.0, 120)]
    compose(work)
    for i in guilty:
        now = judged_now(work, made[i].face)
        made[i].judged[0] = now if known == "like the original" else np.nan  # what cannot be judged is guilty
    networks: Any = Knows([LEFT, RIGHT], [LEFT, RIGHT], [LEFT, RIGHT])
    assert finish(networks, work, TINY, shown, StageTimer()) == "anonymized"
    assert [row.status for row in work.outcomes] == ["blurred" if i in guilty else "anonymized" for i in range(2)]


@pytest.mark.parametrize(("apart", "statuses"), [
    (0.3, ["blurred", "anonymized"]),  # two pictures of one person: neither may look like either
    (5.0, ["anonymized", "anonymized"])])  # a neighbor whom it resembles, as strangers do
def test_a_face_may_look_like_a_stranger_but_not_like_its_own_double(apart: float, statuses: list[str]) -> None:
    work = item()
    first, second = subject(work, LEFT, 0.0, 200), subject(work, RIGHT, 0.0, 60)
    compose(work)
    second.judged[0] = judged_now(work, LEFT) + 0.4  # the first is the second's original to the judge, nearly
    first.judged[0] = second.judged[0] + apart
    networks: Any = Knows([LEFT, RIGHT], [LEFT, RIGHT], [LEFT, RIGHT])
    finish(networks, work, TINY, shown, StageTimer())
    assert [row.status for row in work.outcomes] == statuses


def test_it_stops_where_the_owner_wants_it() -> None:
    networks: Any = Finds([face_folders.face_at(40, 40, 20)])
    with pytest.raises(FaceError, match="found only in the finished photo"):
        finish(networks, item(), TINY.with_changes({"on_failure": "error"}), lambda work: work.photo.pixels,
               StageTimer())


def test_a_face_that_the_owner_leaves_is_not_concealed() -> None:
    work, face = item(), face_folders.face_at(40, 40, 20)
    work.left.append((face, fake_outcome(face)))
    networks: Any = Finds([face])
    assert finish(networks, work, TINY, lambda one: one.photo.pixels, StageTimer()) == "anonymized"
    assert work.concealed == []


def fake_outcome(face: Face) -> mien.FaceOutcome:
    return mien.FaceOutcome("a.png", 0, face.box, face.points.tolist(), 0.9, "excluded")


def test_what_it_does_is_timed() -> None:
    timer, networks = StageTimer(), Finds()
    finish(networks, item(), TINY, lambda work: work.photo.pixels, timer)  # type: ignore[arg-type]
    assert timer.seconds["verify"] > 0
