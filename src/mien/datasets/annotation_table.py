"""Annotation files: a row a photo, kept byte for byte, and written again with the rows of chosen photos alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from mien.errors import UsageError
from mien.images.formats import PHOTO_SUFFIXES, printable

Signs = npt.NDArray[np.int8]  # -1 or 1

BOM = b"\xef\xbb\xbf"
KEY_TITLE = "image_id"  # of the first column; the line of titles may leave it out
SPLITS = {b"0": "train", b"1": "val", b"2": "test"}
MOST_DIGITS = 18
_NUMBER = re.compile(rb"[-+]?\d+(\.\d*)?")
_PATTERNS = {"sign": re.compile(rb"-?1"), "split": re.compile(rb"[012]"), "word": re.compile(rb"\S+( \S+)*"),
             "number": re.compile(rb"[-+]?\d+(\.\d*)?( [-+]?\d+(\.\d*)?)*")}


@dataclass(frozen=True)
class Form:
    """How the lines of an annotation file read; files named .csv have commas, a line of titles and no count.

    Attributes:
        row: a row in words, for errors. values: what may follow the key: "sign" -1 or 1, "split" 0, 1 or 2, a
            "number", or any "word". width: how many; 0: as many as the titles name.
        counted: whether the first line says how many rows there are. titled: whether a line names the columns.
        index: whether the key is a number rather than a file's name.
    """

    row: str
    values: Literal["sign", "split", "number", "word"]
    width: int = 1
    counted: bool = False
    titled: bool = False
    index: bool = False


@dataclass
class Table:
    """One annotation file.

    Attributes:
        name: where it lies, relative to the dataset. start: the byte order mark, where there is one.
        lines: all of them with their line ends. titles: of the values' columns.
        at: key -> place in `lines`. values: key -> its values, separated by single spaces; signs are packed, one
            byte each, 0 for -1 and b"1" for 1.
    """

    name: str
    form: Form
    start: bytes
    lines: list[bytes]
    titles: list[str] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    count_at: int | None = None

    def signs(self) -> Signs:
        """[N, width] int8, -1 or 1, in the rows' order."""
        packed = np.frombuffer(b"".join(self.values.values()), np.uint8)
        return np.where(packed == ord("1"), 1, -1).astype(np.int8).reshape(len(self.values), len(self.titles))

    def only(self, keys: Mapping[str, str]) -> bytes:
        """The file with nothing but the rows of `keys` (key -> key to write), its count corrected."""
        lines: list[bytes] = list(self.lines)
        for key, place in self.at.items():
            new = keys.get(key)
            if new is None:
                lines[place] = b""
            elif new != key:
                lines[place] = lines[place].replace(_escaped(key), _escaped(new), 1)
        if self.count_at is not None:
            lines[self.count_at] = with_number(lines[self.count_at], len(keys.keys() & self.at.keys()))
        return self.start + b"".join(lines)


def parse(name: str, data: bytes, form: Form) -> Table:
    """Read an annotation file.

    Raises:
        UsageError: it is not of this form, naming file, line and what was expected.
    """
    start, lines = split_lines(name, data, form.row)
    filled = [place for place, line in enumerate(lines) if line.strip()]  # the others are kept and mean nothing
    table, commas = Table(name, form, start, lines), name.lower().endswith(".csv")
    head, count = 0, None
    if form.counted and not commas:
        table.count_at, head = filled[0], 1
        count = number_in(name, filled[0], lines[filled[0]], "the number of rows")
    width = form.width
    if form.titled or commas:
        place = filled[head] if head < len(filled) else filled[-1] + 1
        line = lines[place] if place < len(lines) else b""
        table.titles = _titles(name, place, line, form, commas)
        width, head = len(table.titles), head + 1
    for place in filled[head:]:
        _add(table, place, commas, width)
    if count is not None and count != len(table.at):
        raise wrong(name, filled[0], f"it promises {count} rows, there are {len(table.at)}")
    return table


def split_lines(name: str, data: bytes, expected: str) -> tuple[bytes, list[bytes]]:
    """The byte order mark or nothing, and the lines with their ends.

    Raises:
        UsageError: the file is empty or is not text in UTF-8.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise wrong(name, _line_of(data, error.start), f"it is not text (byte {data[error.start]:#04x})") from error
    if b"\0" in data:
        raise wrong(name, _line_of(data, data.index(b"\0")), "it is not text (byte 0x00)")
    start = BOM if data.startswith(BOM) else b""
    lines = data[len(start) :].splitlines(keepends=True)
    if not any(line.strip() for line in lines):
        raise UsageError(f"{printable(name)} is empty: expected {expected}")
    return start, lines


def wrong(name: str, place: int, what: str) -> UsageError:
    """An error about line `place`, counted from 0."""
    return UsageError(f"{printable(name)}, line {place + 1}: {what}")


def found(line: bytes) -> str:
    """The start of a line, for errors."""
    text = printable(line.strip().decode("utf-8", "backslashreplace"))
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def number_in(name: str, place: int, line: bytes, what: str) -> int:
    """The number that a line consists of.

    Raises:
        UsageError: it is none.
    """
    text = line.strip()
    if not text.isdigit() or len(text) > MOST_DIGITS:
        raise wrong(name, place, f"expected {what}, found {found(line)}")
    return int(text)


def with_number(line: bytes, number: int, last: bool = False) -> bytes:
    """The line with its first (or last) number replaced."""
    pattern = rb"\d+(?=\s*$)" if last else rb"\d+"
    return re.sub(pattern, str(number).encode(), line, count=1)


def bare(name: str) -> str:
    """A photo's name without folders and suffixes: `000001` for `data/000001.jpg.png`."""
    name = name.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    while stem and dot + suffix.lower() in PHOTO_SUFFIXES:
        name = stem
        stem, dot, suffix = name.rpartition(".")
    return name


def _titles(name: str, place: int, line: bytes, form: Form, commas: bool) -> list[str]:
    titles = [part.strip().decode() for part in (line.split(b",") if commas else line.split())]
    with_key = titles[:1] == [KEY_TITLE] if form.width == 0 else len(titles) == form.width + 1
    titles = titles[1:] if commas or with_key else titles
    if not titles or "" in titles or (form.width and len(titles) != form.width) or _is_data(line, form, commas):
        columns = f"{form.width} columns" if form.width else "the columns"
        raise wrong(name, place, f"expected the names of {columns}, found {found(line)}")
    if len(set(titles)) != len(titles):
        raise wrong(name, place, "two columns have the same name")
    return titles


def _is_data(line: bytes, form: Form, commas: bool) -> bool:
    """Whether a line where titles should be is a row: it ends in a number, or begins with a row's key."""
    parts = [part.strip() for part in (line.split(b",") if commas else line.split())]
    return bool(parts) and bool(_NUMBER.fullmatch(parts[-1]) or (form.index and parts[0].isdigit()))


def _add(table: Table, place: int, commas: bool, width: int) -> None:
    line, form = table.lines[place], table.form
    parts = _fields(line) if commas else line.rsplit(None, width)
    key = parts[0].strip().decode() if parts else ""
    if len(parts) != width + 1 or not key or not _is_key(key, form, commas):
        raise wrong(table.name, place, f"expected {_row(form, width)}, found {found(line)}")
    if key in table.at:
        raise wrong(table.name, place, f"{printable(key)!r} stands in line {table.at[key] + 1} already")
    table.values[key] = _packed(table.name, place, parts[1:], form)
    table.at[key] = place


def _packed(name: str, place: int, values: list[bytes], form: Form) -> bytes:
    """The values as they are kept. They are tested together: one by one takes three times as long."""
    if form.values == "sign":
        packed = b"".join(values).replace(b"-1", b"\0")
        if len(packed) == len(values) and not packed.strip(b"\x001"):
            return packed
    else:
        packed = b" ".join(values)
        if _PATTERNS[form.values].fullmatch(packed):
            return packed
    bad = next(value for value in values if not _PATTERNS[form.values].fullmatch(value))
    raise wrong(name, place, f"expected {form.row}, found the value {found(bad)}")


def _fields(line: bytes) -> list[bytes]:
    """Of a line with commas; one that is quoted wrongly has none."""
    key, _, rest = line.partition(b",")
    if b'"' not in line:
        return [key, *(part.strip() for part in rest.split(b","))]
    try:
        return [part.strip().encode() for part in next(csv.reader([line.decode().rstrip("\r\n")], strict=True), [])]
    except csv.Error:
        return []


def _is_key(key: str, form: Form, commas: bool) -> bool:
    if form.index:
        return key.isascii() and key.isdigit()
    # a row with a value too many would otherwise pass for a name with a space
    return commas or len(key.split(None, 1)) == 1 or bare(key) != key


def _row(form: Form, width: int) -> str:
    return form.row if form.width else f"{form.row} ({width} of them)"


def _escaped(key: str) -> bytes:
    return key.replace('"', '""').encode()


def _line_of(data: bytes, offset: int) -> int:
    return len(data[:offset].splitlines()) - (not data[:offset].endswith((b"\n", b"\r"))) if offset else 0
