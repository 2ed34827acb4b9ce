"""Tables come back byte for byte, lose just the rows they should, and say where they are wrong."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.datasets.annotation_table import BOM, Form, bare_name, parse_table
from mien.datasets.layouts.celeba import ATTRIBUTE_FORM, BOX_FORM, IDENTITY_FORM, LANDMARK_FORM, PARTITION_FORM
from mien.datasets.layouts.celebahq import MAPPING_FORM
from mien.errors import UsageError

FORMS = {"attributes": ATTRIBUTE_FORM, "partition": PARTITION_FORM, "identity": IDENTITY_FORM,
         "landmarks": LANDMARK_FORM, "boxes": BOX_FORM, "mapping": MAPPING_FORM}
VALUES = {"sign": st.sampled_from(["1", "-1"]), "split": st.sampled_from("012"),
          "number": st.integers(-999, 999).map(str), "word": st.text("abc019_.é", min_size=1, max_size=5)}
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, Form, list[str]]:
    """A valid file: name, content, form and its keys."""
    form, commas, end = draw(st.sampled_from(list(FORMS.values()))), draw(st.booleans()), draw(ENDS)
    stems = st.integers(0, 10**6).map(str) if form.index else st.text("ab 0é-", min_size=1).map(str.strip).filter(bool)
    keys = draw(st.lists(stems, min_size=1, max_size=8, unique=True))
    keys = keys if form.index else [f"{key}.jpg" for key in keys]
    width = form.width or draw(st.integers(1, 6))
    rows = [[key, *draw(st.lists(VALUES[form.values], min_size=width, max_size=width))] for key in keys]
    titles = ["image_id", *(f"t{i}" for i in range(width))]
    if not commas and form.titled and draw(st.booleans()):
        titles = titles[1:]
    head = [[draw(st.sampled_from(["", " "])) + str(len(rows))]] if form.counted and not commas else []
    head += [titles] if form.titled or commas else []
    gap = "," if commas else draw(st.sampled_from([" ", "\t", "   "]))
    lines = [gap.join(row) + draw(st.sampled_from(["", " "])) + end for row in head + rows]
    for number in sorted(draw(st.lists(st.integers(0, len(lines)), max_size=2)), reverse=True):
        lines.insert(number, end)
    text = "".join(lines)
    text = text[: -len(end)] if draw(st.booleans()) and text.strip() and not text.endswith(end * 2) else text
    return "t.csv" if commas else "t.txt", (BOM if draw(st.booleans()) else b"") + text.encode(), form, keys


@settings(deadline=None)
@given(files())
def test_what_is_written_is_what_was_read(file: tuple[str, bytes, Form, list[str]]) -> None:
    name, data, form, keys = file
    table = parse_table(name, data, form)
    assert list(table.line_of) == keys
    assert table.filtered({key: key for key in keys}) == data


@settings(deadline=None)
@given(files(), st.data())
def test_rows_that_go_leave_a_valid_file(file: tuple[str, bytes, Form, list[str]], data: st.DataObject) -> None:
    name, content, form, keys = file
    kept = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    table = parse_table(name, content, form)
    again = parse_table(name, table.filtered({key: key for key in kept}), form)
    assert set(again.line_of) == set(kept) and again.titles == table.titles
    assert again.values == {key: value for key, value in table.values.items() if key in kept}
    lines = set(content.removeprefix(BOM).splitlines())
    assert all(again.lines[number].rstrip(b"\r\n") in lines for number in again.line_of.values())


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.text("1-1 02\n\r\t,\"a.jpg\0", max_size=60).map(str.encode)),
       st.sampled_from(list(FORMS.values())), st.sampled_from(["t.txt", "t.csv"]))
def test_any_bytes_are_read_or_refused(data: bytes, form: Form, name: str) -> None:
    try:
        table = parse_table(name, data, form)
    except UsageError as error:
        assert error.message.startswith("t.")
    else:
        assert table.filtered({key: key for key in table.line_of}) == data


@settings(deadline=None, max_examples=300)
@given(files(), st.data())
def test_damaged_files_are_read_or_refused(file: tuple[str, bytes, Form, list[str]], data: st.DataObject) -> None:
    name, content, form, _ = file
    at = data.draw(st.integers(0, len(content)))
    damaged = content[:at] + data.draw(st.binary(max_size=3)) + content[at + data.draw(st.integers(0, 4)) :]
    try:
        parse_table(name, damaged, form)
    except UsageError as error:
        assert error.message.startswith("t.")


def test_signs_are_numbers() -> None:
    table = parse_table("t.txt", b"2\nYoung Male Bald\na.jpg -1  1 1\nb.jpg 1 -1 -1\n", ATTRIBUTE_FORM)
    assert table.titles == ["Young", "Male", "Bald"]
    assert table.signs().dtype == np.int8 and table.signs().tolist() == [[-1, 1, 1], [1, -1, -1]]


def test_a_photo_of_another_name_takes_its_row_along() -> None:
    data = b"2\r\nYoung Male\r\n a.jpg  1 -1\r\nb.jpg 1  1\r\n"
    table = parse_table("t.txt", data, ATTRIBUTE_FORM)
    assert table.filtered({"a.jpg": "a.jpg.png", "b.jpg": "b.jpg"}) == data.replace(b"a.jpg", b"a.jpg.png")
    quoted = parse_table("t.csv", b'image_id,x\n"a ""b"", c.jpg",1\n', PARTITION_FORM)
    assert quoted.filtered({'a "b", c.jpg': 'a "b", c.jpg.png'}) == b'image_id,x\n"a ""b"", c.jpg.png",1\n'


@pytest.mark.parametrize(("form", "name", "data", "words"), [
    (PARTITION_FORM, "p.txt", b"", "p.txt is empty: expected a photo's name and 0 (train)"),
    (PARTITION_FORM, "p.txt", BOM + b"\n \r\n", "p.txt is empty"),
    (PARTITION_FORM, "p.txt", b"a.jpg 0\nb.jpg 5\n", "p.txt, line 2: expected a photo's name and 0 (train)"),
    (PARTITION_FORM, "p.txt", b"a.jpg 0\n\nb.jpg\n", "p.txt, line 3: expected"),
    (PARTITION_FORM, "p.txt", b"a.jpg 0 1\n", "p.txt, line 1: expected"),
    (PARTITION_FORM, "p.txt", b"a.jpg 0\nc.jpg 1\na.jpg 0\n", "p.txt, line 3: 'a.jpg' is in line 1 already"),
    (PARTITION_FORM, "p.txt", b"a.jpg 0\r\nb\xff.jpg 1\r\n", "p.txt, line 2: it is not text (byte 0xff)"),
    (PARTITION_FORM, "p.txt", b"a.jpg 0\nb.jpg\0 1\n", "p.txt, line 2: it is not text (byte 0x00)"),
    (PARTITION_FORM, "p.txt", "a.jpg 0\n".encode("utf-16"), "p.txt, line 1: it is not text"),
    (PARTITION_FORM, "p.csv", b"a.jpg,0\nb.jpg,1\n", "p.csv, line 1: expected the names of 1 columns"),
    (PARTITION_FORM, "p.csv", b'image_id,partition\n"a.jpg,0\n', "p.csv, line 2: expected"),
    (ATTRIBUTE_FORM, "t.txt", b"A B\na.jpg 1 1\n", "t.txt, line 1: expected the number of rows, found 'A B'"),
    (ATTRIBUTE_FORM, "t.txt", b"3\nA B\na.jpg 1 1\nb.jpg 1 1\n", "t.txt, line 1: it promises 3 rows, there are 2"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\na.jpg 1 1\nb.jpg 1 1\n", "t.txt, line 1: it promises 1 rows, there are 2"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\na.jpg 1 0\n", "t.txt, line 3: expected a photo's name, then 1 or -1"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\na.jpg 1 -\n", "t.txt, line 3: expected"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\na.jpg - 1\n", "t.txt, line 3: expected"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\na.jpg 1-1 1\n", "t.txt, line 3: expected"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\na.jpg 1 1 1\n", "t.txt, line 3: expected"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA B\n1 1\n", "t.txt, line 3: expected"),
    (ATTRIBUTE_FORM, "t.txt", b"1\nA A\na.jpg 1 1\n", "t.txt, line 2: two columns have the same name"),
    (ATTRIBUTE_FORM, "t.txt", b"2\na.jpg 1 1\nb.jpg 1 -1\n", "t.txt, line 2: expected the names of the columns"),
    (ATTRIBUTE_FORM, "t.txt", b"0\n", "t.txt, line 2: expected the names of the columns"),
    (ATTRIBUTE_FORM, "t.txt", b"9" * 5000, "t.txt, line 1: expected the number of rows"),
    (MAPPING_FORM, "m.txt", b"idx orig_idx orig_file\n0.jpg 1 2.jpg\n", "m.txt, line 2: expected idx, orig_idx"),
    (MAPPING_FORM, "m.txt", b"idx orig\n0 2.jpg\n", "m.txt, line 2: expected idx, orig_idx and orig_file"),
    (BOX_FORM, "b.txt", b"1\nimage_id x y width height\na.jpg 1 2 3 wide\n", "found the value 'wide'"),
])
def test_what_is_wrong_is_named_with_its_line(form: Form, name: str, data: bytes, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_table(name, data, form)
    assert words in caught.value.message


def test_names_with_spaces_are_names() -> None:
    table = parse_table("p.txt", b"my photo 1.jpg 0\n  b.PNG\t2\n", PARTITION_FORM)
    assert table.values == {"my photo 1.jpg": b"0", "b.PNG": b"2"}


@pytest.mark.parametrize(("name", "stem"), [
    ("data/000001.jpg", "000001"), ("a.b.PNG", "a.b"), ("a.jpg.png", "a"), (".jpg", ".jpg"), ("readme", "readme"),
    ("a.txt", "a.txt"), ("", ""),
])
def test_bare_names(name: str, stem: str) -> None:
    assert bare_name(name) == stem


def test_200_000_rows_are_read_at_once() -> None:
    row = " ".join(["-1", " 1"] * 20)
    titles = " ".join(f"A{i}" for i in range(40))
    data = "".join([f"200000\n{titles}\n", *(f"{i:06d}.jpg {row}\n" for i in range(200000))])
    begun = time.process_time()
    table = parse_table("t.txt", data.encode(), ATTRIBUTE_FORM)
    assert table.signs().shape == (200000, 40)
    assert time.process_time() - begun < 6, "about one second on an idle core"
