"""Surveys and matchings: what is written comes back, what is damaged or of other photos does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mien.anonymizer.pairing import AvailableFaces
from mien.anonymizer.pool import Pool, Traits
from mien.jobs.assignment.assign import assign_people, assign_shards
from mien.jobs.assignment.assignment import Assignment
from mien.jobs.face_index import FaceIndex, FileStates, face_tensors
from mien.recipe import Recipe
from mien.types import Face, Match

SIZE = 40
SECRET = b"s" * 32


def face(x: float, side: float = 30.0) -> Face:
    return Face((x, 4.5, side, side), np.arange(10, dtype=np.float32).reshape(5, 2) + x, 0.75)


def traits(count: int, seed: int = 0) -> Traits:
    rng = torch.Generator().manual_seed(seed)
    return Traits(*(torch.randn(count, n, generator=rng) for n in (6, 3, 4)),
                  torch.nn.functional.normalize(torch.randn(count, 8, generator=rng)))


def face_index(shard: int, faces: list[int], chosen: list[int] | None = None) -> FaceIndex:
    """Of a shard whose photos have so many faces; all of them chosen unless it is said."""
    states: FileStates = {f"{shard}-{i}.png": [shard, i] for i in range(len(faces))}
    photos = [[face(40.0 * i) for i in range(count)] for count in faces]
    picked = list(range(sum(faces))) if chosen is None else chosen
    return FaceIndex(states, list(states), **face_tensors(photos), chosen=torch.tensor(picked, dtype=torch.int64),
                     traits=traits(len(picked), shard), seconds={"read": 0.5}, wall=1.5)


def pool(size: int = SIZE) -> Pool:
    some = traits(size, 99)
    return Pool(torch.zeros(size, 1), some.vectors, some.colors, some.embeddings, some.identities,
                torch.zeros(1), torch.zeros(1, 6), torch.zeros(1, 3))


@pytest.mark.parametrize("faces", [[2, 0, 1], [], [0, 0]])
def test_a_face_index_comes_back_as_it_was(tmp_path: Path, faces: list[int]) -> None:
    made = face_index(3, faces)
    made.write(tmp_path / "s")
    back = FaceIndex.from_file(tmp_path / "s", made.states)
    assert back is not None and back.digest == made.digest
    for place, count in enumerate(faces):
        assert [one.box for one in back.faces(place)] == [face(40.0 * i).box for i in range(count)]
        assert all(np.array_equal(one.points, face(40.0 * i).points) for i, one in enumerate(back.faces(place)))
    assert torch.equal(back.traits.vectors, made.traits.vectors) and back.numbers() == made.numbers()
    assert (back.read, back.seconds, back.wall) == (made.read, made.seconds, made.wall)


def test_a_face_index_of_other_photos_is_none(tmp_path: Path) -> None:
    made = face_index(3, [1, 1])
    made.write(tmp_path / "s")
    for states in (made.states | {"3-0.png": None}, made.states | {"3-1.png": [3, 2]}, {"3-0.png": [3, 0]}, {}):
        assert FaceIndex.from_file(tmp_path / "s", states) is None
        assert replace(made, states=states).digest != made.digest
    assert FaceIndex.from_file(tmp_path / "none", made.states) is None


def test_no_part_of_a_file_passes_for_the_whole(tmp_path: Path) -> None:
    made, assignment = face_index(3, [1, 1]), Assignment.of([(5, [Match(1, 0.5)], [])])
    made.write(tmp_path / "s")
    assignment.write(tmp_path / "m")
    for name in ("s", "m"):
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole), 11):
            (tmp_path / name).write_bytes(whole[:length])
            assert FaceIndex.from_file(tmp_path / name, made.states) is None
            assert Assignment.from_file(tmp_path / name) is None


def test_faces_are_numbered_within_their_photo() -> None:
    assert face_index(0, [2, 0, 3], chosen=[1, 2, 4]).numbers() == [(0, 1), (2, 0), (2, 2)]


def test_a_matching_comes_back_and_knows_its_shards(tmp_path: Path) -> None:
    rows = [(7, [Match(3, 0.5), Match(9, 1.5)], ["b", "a"]), (-1, [], []), (8, [], []), (9, [Match(3, 0.25)], ["b"])]
    Assignment.of(rows).write(tmp_path / "m")
    back = Assignment.from_file(tmp_path / "m")
    assert back is not None
    assert [back.of_shard(i) for i in range(4)] == [(matches, people) for _, matches, people in rows]
    assert back.knows(0, 7) and not back.knows(0, 8) and not back.knows(4, 7)


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=6), st.integers(0, 6))
def test_no_two_faces_get_one_pool_face_however_the_run_is_cut(shards: list[list[int]], before: int) -> None:
    face_indexes = [face_index(i, faces) for i, faces in enumerate(shards)]
    free = AvailableFaces(SIZE)
    first = list(assign_shards(pool(), Recipe(), face_indexes[:before], free, SECRET))
    rest = list(assign_shards(pool(), Recipe(), face_indexes[before:], free, SECRET))
    used = [match.index for matches, _ in first + rest for match in matches]
    assert [len(matches) for matches, _ in first + rest] == [len(one.traits) for one in face_indexes]
    if len(used) <= SIZE:
        assert len(set(used)) == len(used)
    again = list(assign_shards(pool(), Recipe(), face_indexes, AvailableFaces(SIZE), SECRET))
    assert [match.index for matches, _ in again for match in matches] == used


def test_more_faces_than_the_pool_has_share_evenly() -> None:
    matched = assign_shards(pool(10), Recipe(), [face_index(i, [3, 4]) for i in range(5)], AvailableFaces(10),
                            SECRET)
    counts = np.bincount([match.index for matches, _ in matched for match in matches], minlength=10)
    assert counts.min() >= 3 and counts.max() <= 4


def test_what_is_drawn_depends_on_name_and_secret_alone() -> None:
    near = Recipe().with_changes({"pair.unique": False})
    one, other = face_index(1, [1]), replace(face_index(1, [1]), traits=traits(1, 1))
    alone = list(assign_shards(pool(), near, [one], AvailableFaces(SIZE), SECRET))
    behind = list(assign_shards(pool(), near, [face_index(0, [3, 3]), other], AvailableFaces(SIZE), SECRET))
    assert behind[1][0][0].index == alone[0][0][0].index
    drawn = {next(assign_shards(pool(), near, [one], AvailableFaces(SIZE), bytes([i]) * 32))[0][0].index
             for i in range(20)}
    assert len(drawn) > 3


def test_people_keep_their_faces_and_new_ones_get_others() -> None:
    face_indexes = [face_index(0, [1, 1]), face_index(1, [1])]
    who = {"0-0.png": "Anna", "0-1.png": "Bert", "1-0.png": "Anna"}.__getitem__
    known: dict[str, Match] = {}
    first = assign_people(pool(), Recipe(), face_indexes[:1], known, b"key", 0.4, who)
    assert first[0][1] == ["label:Anna", "label:Bert"]
    then = assign_people(pool(), Recipe(), face_indexes, known, b"key", 0.4,
                         lambda name: who(name).replace("Bert", "Aaron"))
    assert then[1][0][0] == then[0][0][0] == first[0][0][0], "Anna is Anna"
    assert len({match.index for match in known.values()}) == 3


def test_people_keep_their_names_when_others_leave() -> None:
    """Or a person's later photos would get the face that somebody else had."""
    one, two, three = (face_index(i, [1]) for i in range(3))
    known: dict[str, Match] = {}
    first = assign_people(pool(), Recipe(), [one, two, three], known, b"key", 0.9, lambda name: "")
    assert [people for _, people in first] == [["person-1"], ["person-2"], ["person-3"]]
    late = face_index(7, [1])
    again = replace(face_index(8, [1]), traits=three.traits)  # another photo of the third
    then = assign_people(pool(), Recipe(), [two, three, again, late], known, b"key", 0.9, lambda name: "",
                        [["person-2"], ["person-3"]])
    assert [people for _, people in then] == [["person-2"], ["person-3"], ["person-3"], ["person-4"]]
    assert then[2][0] == first[2][0] and then[0][0] == first[1][0]


def test_the_largest_face_bears_the_label() -> None:
    photos = [[face(0.0, 20.0), face(50.0, 40.0)]]
    states: FileStates = {"a.png": [1, 1]}
    both = FaceIndex(states, ["a.png"], **face_tensors(photos), chosen=torch.tensor([0, 1]), traits=traits(2))
    matched = assign_people(pool(), Recipe(), [both], {}, b"key", 0.4, lambda name: "Rosa")
    assert matched[0][1] == ["person-1", "label:Rosa"]
