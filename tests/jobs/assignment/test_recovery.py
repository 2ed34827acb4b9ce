"""A matching that is gone or damaged is made again from what finished shards left; nobody gets another one's face."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from helpers import fake_run
from helpers.fake_run import ANNA, BERT, CLEO, STUBBORN, TINY, photos_in, save, squares
from mien.errors import OutputError
from mien.jobs.assignment.assignment import Assignment

PER_PERSON = {"recipe": TINY.with_changes({"identity": "per-person"}), "key": b"k" * 16}


@pytest.fixture(autouse=True)
def small_shards(brush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.jobs.run.SHARD", 2)
    monkeypatch.setattr(fake_run.SquareNetworks, "same_person", 0.97)  # all squares are blue


def lose(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:40])


def new_faces(work: Path) -> dict[str, int]:
    """Shard, photo's place and face's number -> pool face."""
    return {f"{file.stem}.{name.removesuffix('.pair')}": int(value)
            for file in (work / "latents").iterdir() for name, value in load_file(file).items() if "pair" in name}


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_no_new_face_is_given_twice(tmp_path: Path, how: str) -> None:
    """Shards that are finished do not have the faces that they would get now: the first had more of them once."""
    src, dst, work = tmp_path / "src", tmp_path / "dst", tmp_path / "dst.work"
    for i, people in enumerate([(ANNA, BERT, CLEO), (ANNA,), (BERT, STUBBORN), (CLEO,)]):
        save(src / f"{i}.png", squares(*people, seed=i))
    fake_run.run(src, dst)
    save(src / "0.png", squares(seed=9))
    fake_run.run(src, dst)
    before = new_faces(work)
    lose(work / "assignment.safetensors", how)
    for i in range(4, 7):
        save(src / f"{i}.png", squares(ANNA, BERT, CLEO, seed=i))
    fake_run.run(src, dst)
    after = new_faces(work)
    assert before.items() <= after.items() and len(after) == len(before) + 9
    assert max(Counter(after.values()).values()) == 1
    assignment = Assignment.from_file(work / "assignment.safetensors")
    assert assignment is not None and len(set(assignment.indices.tolist())) == len(assignment.indices) == 13


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_people_keep_their_new_faces(tmp_path: Path, how: str) -> None:
    """Anna was the second person, and would be the first now."""
    src, dst, work = tmp_path / "src", tmp_path / "dst", tmp_path / "dst.work"
    for i, people in enumerate([(BERT,), (BERT, STUBBORN), (ANNA,), (ANNA, CLEO)]):
        save(src / f"{i}.png", squares(*people, seed=i))
    fake_run.run(src, dst, **PER_PERSON)
    for name in ("0.png", "1.png"):
        save(src / name, squares(seed=9))
    fake_run.run(src, dst, **PER_PERSON)
    before = new_faces(work)
    assert before["000001.0.0"] == before["000001.1.0"] != before["000001.1.1"]
    lose(work / "assignment.safetensors", how)
    save(src / "4.png", squares(ANNA, BERT, CLEO))
    done = fake_run.run(src, dst, **PER_PERSON)
    after = new_faces(work)
    assert before.items() <= after.items()
    assert after["000002.0.0"] == before["000001.0.0"] and after["000002.0.2"] == before["000001.1.1"]
    assert after["000002.0.1"] not in before.values()
    people = {(row.file, row.face): row.person for row in done.outcomes}
    assert people["4.png", 0] == people["2.png", 0] == people["3.png", 0] != people["4.png", 1]


@pytest.mark.parametrize("asked", [{}, PER_PERSON])
def test_a_shard_that_is_done_again_gets_what_it_had(tmp_path: Path, asked: dict[str, Any]) -> None:
    src, dst, work = fake_run.album(tmp_path / "src", 8), tmp_path / "dst", tmp_path / "dst.work"
    fake_run.run(src, dst, **asked)
    photos, faces = photos_in(dst), new_faces(work)
    lose(work / "assignment.safetensors", "damaged")
    save(src / "9.png", squares(ANNA))
    fake_run.run(src, dst, **asked)
    (dst / next(iter(photos))).unlink()
    fake_run.run(src, dst, **asked)
    assert photos.items() <= photos_in(dst).items() and faces.items() <= new_faces(work).items()


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_what_cannot_be_known_any_more_is_refused(tmp_path: Path, how: str) -> None:
    src, dst, work = fake_run.album(tmp_path / "src", 8), tmp_path / "dst", tmp_path / "dst.work"
    fake_run.run(src, dst)
    before = photos_in(dst)
    lose(work / "assignment.safetensors", how)
    lose(work / "latents" / "000001.safetensors", how)
    assert fake_run.run(src, dst).photos == 8, "nothing is missing"
    save(src / "9.png", squares(ANNA))
    with pytest.raises(OutputError, match="which face has which pool face is not known any more") as caught:
        fake_run.run(src, dst)
    assert "000001.safetensors" in caught.value.message and "another DST" in caught.value.hint
    assert photos_in(dst) == before


def test_face_indexes_that_are_gone_too_are_made_again(tmp_path: Path) -> None:
    src, dst, work = fake_run.album(tmp_path / "src", 8), tmp_path / "dst", tmp_path / "dst.work"
    fake_run.run(src, dst)
    lose(work / "assignment.safetensors", "gone")
    for file in (work / "faces").iterdir():
        file.unlink()
    save(src / "9.png", squares(ANNA))
    fake_run.run(src, dst)
    assert max(Counter(new_faces(work).values()).values()) == 1 and len(photos_in(dst)) == 9
