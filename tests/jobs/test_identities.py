from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import UsageError
from mien.jobs.identities import PersonGallery
from mien.jobs.owner_lists import read_labels, read_regions
from mien.models.recognition.sface import SFace
from mien.types import Floats

HEADER = "file,x,y,width,height\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def unit(seed: int) -> Floats:
    vector = np.random.RandomState(seed).standard_normal(128).astype(np.float32)
    return vector / np.linalg.norm(vector)


def near(vector: Floats, cosine: float, seed: int) -> Floats:
    """A unit vector of a given cosine to another."""
    side = unit(seed) - (unit(seed) @ vector) * vector
    mixed = cosine * vector + np.sqrt(1 - cosine**2) * side / np.linalg.norm(side)
    return np.asarray(mixed, dtype=np.float32)


def test_labels_from_csv(tmp_path: Path) -> None:
    path = write(tmp_path, 'file,person\na.jpg,Anna\n"b, c.jpg",Bert\nsub/d.png,Anna\n')
    assert read_labels(path) == {"a.jpg": "Anna", "b, c.jpg": "Bert", "sub/d.png": "Anna"}


def test_labels_with_more_columns_in_another_order(tmp_path: Path) -> None:
    path = write(tmp_path, "age,person,file\n30,Anna,a.jpg\n40,Bert,b.jpg\n")
    assert read_labels(path) == {"a.jpg": "Anna", "b.jpg": "Bert"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_labels_of_celeba(tmp_path: Path, newline: str) -> None:
    path = write(tmp_path, newline.join(["000001.jpg 2880", "000002.jpg 2937", "", "000003.jpg  8692 "]))
    assert read_labels(path) == {"000001.jpg": "2880", "000002.jpg": "2937", "000003.jpg": "8692"}


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, b"\xef\xbb\xbffile,person\na.jpg,1\n")) == {"a.jpg": "1"}
    assert read_labels(write(tmp_path, b"\xef\xbb\xbf000001.jpg 2880\n")) == {"000001.jpg": "2880"}
    assert read_regions(write(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"a.jpg,1,2,3,4\n"))[0].file == "a.jpg"


@pytest.mark.parametrize("text", ["file,name\na.jpg,1\n", "a.jpg,1\nb.jpg,2\n", "photo;person\na;b\nc d e\n",
                                  "000001.jpg 1\n000002.jpg\n", "one two three\n"])
def test_what_is_neither_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"columns file and person|line \d"):
        read_labels(write(tmp_path, text))


def test_the_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 3: expected a file name and a person, found 'oops'"):
        read_labels(write(tmp_path, "000001.jpg 1\n000002.jpg 2\noops\n"))


@pytest.mark.parametrize("row", ["b.jpg", "b.jpg,", ",Bert"])
def test_a_row_without_a_person_or_a_file_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(UsageError, match="line 3"):
        read_labels(write(tmp_path, f"file,person\na.jpg,Anna\n{row}\n"))


def test_a_missing_or_binary_file_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path, write(tmp_path, b"\xff\xfe\x00\x01")):
        with pytest.raises(UsageError, match="cannot read the labels"):
            read_labels(path)
        with pytest.raises(UsageError, match="cannot read the regions"):
            read_regions(path)


def test_regions(tmp_path: Path) -> None:
    regions = read_regions(write(tmp_path, HEADER + 'a.jpg,1,2,30,40\n"b, c.jpg",-5.5,0,1e2,0.5\na.jpg,7,8,9,10\n'))
    assert [(r.file, r.box) for r in regions] == [
        ("a.jpg", (1, 2, 30, 40)), ("b, c.jpg", (-5.5, 0, 100, 0.5)), ("a.jpg", (7, 8, 9, 10))]


@pytest.mark.parametrize(("row", "words"), [
    ("a.jpg,1,2,3", "no height"),
    ("a.jpg,1,2,,4", "no width"),
    (",1,2,3,4", "no file"),
    ("a.jpg,one,2,3,4", "one"),
    ("a.jpg,nan,2,3,4", "positive"),
    ("a.jpg,1,inf,3,4", "positive"),
    ("a.jpg,1,2,nan,4", "positive"),
    ("a.jpg,1,2,3,-inf", "positive"),
    ("a.jpg,1,2,-3,4", "positive"),
    ("a.jpg,1,2,3,0", "positive"),
])
def test_a_wrong_region_is_refused_by_line(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"line 3.*{words}"):
        read_regions(write(tmp_path, HEADER + f"good.jpg,1,2,3,4\n{row}\n"))


@pytest.mark.parametrize("text", ["file,x,y,w,h\n", "a.jpg,1,2,3,4\n"])
def test_regions_without_their_columns_are_refused(tmp_path: Path, text: str) -> None:
    """A list without its header must not quietly mean nobody."""
    with pytest.raises(UsageError, match="columns"):
        read_regions(write(tmp_path, text))


@pytest.mark.parametrize("text", [HEADER, ""])
def test_regions_may_be_none(tmp_path: Path, text: str) -> None:
    assert read_regions(write(tmp_path, text)) == []


@given(people=st.integers(1, 12), photos=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_gallery_joins_one_person_s_photos_and_keeps_people_apart(people: int, photos: int, seed: int) -> None:
    gallery = PersonGallery(SFace.same_person)
    rng = np.random.RandomState(seed)
    order = rng.permutation(np.repeat(np.arange(people), photos))
    names: dict[int, set[str]] = {}
    for count, person in enumerate(order):
        vector = near(unit(int(person)), 0.85, 5000 + count)
        names.setdefault(int(person), set()).add(gallery.assign(vector))
    assert all(len(given_) == 1 for given_ in names.values())
    assert len({next(iter(given_)) for given_ in names.values()}) == people
    assert len(gallery.names) == people


def test_the_threshold_decides() -> None:
    for cosine, same in ((SFace.same_person + 0.01, True), (SFace.same_person - 0.01, False)):
        gallery = PersonGallery(SFace.same_person)
        first = gallery.assign(unit(1))
        assert (gallery.assign(near(unit(1), cosine, 2)) == first) is same


def test_the_nearest_person_is_joined_not_the_first() -> None:
    gallery = PersonGallery(SFace.same_person)
    gallery.assign(unit(1))
    second = gallery.assign(near(unit(1), 0.3, 2))
    assert gallery.assign(near(near(unit(1), 0.3, 2), 0.9, 3)) == second


def test_names_say_nothing_but_the_order() -> None:
    gallery = PersonGallery(SFace.same_person)
    assert [gallery.assign(unit(i)) for i in range(3)] == ["person-1", "person-2", "person-3"]


def test_a_gallery_does_not_keep_the_caller_s_array() -> None:
    gallery = PersonGallery(SFace.same_person)
    vector = unit(1)
    gallery.assign(vector)
    vector[:] = 0
    assert gallery.assign(unit(1)) == "person-1"


def test_thousands_of_people_are_told_apart_in_seconds() -> None:
    vectors = np.random.default_rng(0).standard_normal((5000, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery, begun = PersonGallery(SFace.same_person), time.process_time()
    first = [gallery.assign(vector) for vector in vectors]
    for name, vector in zip(first, vectors, strict=True):
        gallery.join(name, vector)
    assert [gallery.assign(vector) for vector in vectors] == first
    assert len(set(first)) > 4900 and time.process_time() - begun < 200  # hours, were they stacked anew for each face


def test_people_known_by_name_come_before_new_ones() -> None:
    gallery = PersonGallery(SFace.same_person)
    gallery.join("person-7", unit(1))
    gallery.join("person-7", near(unit(1), 0.9, 2))
    assert gallery.assign(unit(1)) == "person-7" and gallery.assign(unit(3)) == "person-8"
