"""Reads annotation tables, one row for each photo, and writes them again with the rows of chosen photos alone.

Rows are kept byte for byte.
"""

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
KEY_TITLE = "image_id"  # the first column's title, which the line of titles may leave out
SPLITS = {b"0": "train", b"1": "val", b"2": "test"}
MOST_DIGITS = 18
_NUMBER = re.compile(rb"[-+]?\d+(\.\d*)?")
_PATTERNS = {"sign": re.compile(rb"-?1"), "split": re.compile(rb"[012]"), "word": re.compile(rb"\S+( \S+)*"),
             "number": re.compile(rb"[-+]?\d+(\.\d*)?( [-+]?\d+(\.\d*)?)*")}


@dataclass(frozen=True)
class Form:
    """The format of an annotation file; files named .csv have commas, a line of titles and no count.

    Attributes:
        row: a row in words, for errors.
        values: what may follow the key: "sign" (-1 or 1), "split" (0, 1 or 2), "number", or any "word".
        width: how many values a row has; 0: as many as there are titles.
        counted: whether the first line says how many rows there are.
        titled: whether a line names the columns.
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
        name: its path in the dataset.
        bom: the byte order mark, or nothing.
        lines: all lines with their line ends.
        titles: the titles of the values' columns.
        line_of: key -> index of its row in `lines`.
        values: key -> its values, separated by single spaces; signs are packed, one byte each, 0 for -1 and b"1" for 1.
        count_line: index of the line with the number of rows, if there is one.
    """

    name: str
    form: Form
    bom: bytes
    lines: list[bytes]
    titles: list[str] = field(default_factory=list)
    line_of: dict[str, int] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    count_line: int | None = None

    def signs(self) -> Signs:
        """Returns the values, [N, width] int8, -1 or 1, in the order of the rows."""
        packed = np.frombuffer(b"".join(self.values.values()), np.uint8)
        return np.where(packed == ord("1"), 1, -1).astype(np.int8).reshape(len(self.values), len(self.titles))

    def filtered(self, keys: Mapping[str, str]) -> bytes:
        """Returns the file with the rows of `keys` (key -> key to write) alone, its count corrected."""
        lines: list[bytes] = list(self.lines)
        for key, number in self.line_of.items():
            new = keys.get(key)
            if new is None:
                lines[number] = b""
            elif new != key:
                lines[number] = lines[number].replace(_escaped(key), _escaped(new), 1)
        if self.count_line is not None:
            lines[self.count_line] = replace_number(lines[self.count_line], len(keys.keys() & self.line_of.keys()))
        return self.bom + b"".join(lines)


def parse_table(name: str, data: bytes, form: Form) -> Table:
    """Parses an annotation file.

    Raises:
        UsageError: it does not have this form; the message names file, line and what was expected.
    """
    bom, lines = split_lines(name, data, form.row)
    filled = [number for number, line in enumerate(lines) if line.strip()]  # empty lines are kept and mean nothing
    table, commas = Table(name, form, bom, lines), name.lower().endswith(".csv")
    head, count = 0, None
    if form.counted and not commas:
        table.count_line, head = filled[0], 1
        count = parse_number(name, filled[0], lines[filled[0]], "the number of rows")
    width = form.width
    if form.titled or commas:
        number = filled[head] if head < len(filled) else filled[-1] + 1
        line = lines[number] if number < len(lines) else b""
        table.titles = _titles(name, number, line, form, commas)
        width, head = len(table.titles), head + 1
    for number in filled[head:]:
        _add(table, number, commas, width)
    if count is not None and count != len(table.line_of):
        raise line_error(name, filled[0], f"it promises {count} rows, there are {len(table.line_of)}")
    return table


def split_lines(name: str, data: bytes, expected: str) -> tuple[bytes, list[bytes]]:
    """Splits a file into the byte order mark, or nothing, and the lines with their ends.

    Raises:
        UsageError: the file is empty or is not text in UTF-8.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise line_error(name, _line_of(data, error.start), f"it is not text (byte {byte:#04x})") from error
    if b"\0" in data:
        raise line_error(name, _line_of(data, data.index(b"\0")), "it is not text (byte 0x00)")
    bom = BOM if data.startswith(BOM) else b""
    lines = data[len(bom) :].splitlines(keepends=True)
    if not any(line.strip() for line in lines):
        raise UsageError(f"{printable(name)} is empty: expected {expected}")
    return bom, lines


def line_error(name: str, number: int, what: str) -> UsageError:
    """Returns an error about line `number`, counted from 0."""
    return UsageError(f"{printable(name)}, line {number + 1}: {what}")


def shown(line: bytes) -> str:
    """Returns the start of a line, for errors."""
    text = printable(line.strip().decode("utf-8", "backslashreplace"))
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def parse_number(name: str, number: int, line: bytes, what: str) -> int:
    """Returns the number that line `number` consists of.

    Raises:
        UsageError: it is none.
    """
    text = line.strip()
    if not text.isdigit() or len(text) > MOST_DIGITS:
        raise line_error(name, number, f"expected {what}, found {shown(line)}")
    return int(text)


def replace_number(line: bytes, number: int, last: bool = False) -> bytes:
    """Returns the line with its first (or last) number replaced."""
    pattern = rb"\d+(?=\s*$)" if last else rb"\d+"
    return re.sub(pattern, str(number).encode(), line, count=1)


def bare_name(name: str) -> str:
    """Returns a photo's name without folders and suffixes: `000001` for `data/000001.jpg.png`."""
    name = name.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    while stem and dot + suffix.lower() in PHOTO_SUFFIXES:
        name = stem
        stem, dot, suffix = name.rpartition(".")
    return name


def _titles(name: str, number: int, line: bytes, form: Form, commas: bool) -> list[str]:
    titles = [part.strip().decode() for part in (line.split(b",") if commas else line.split())]
    with_key = titles[:1] == [KEY_TITLE] if form.width == 0 else len(titles) == form.width + 1
    titles = titles[1:] if commas or with_key else titles
    if not titles or "" in titles or (form.width and len(titles) != form.width) or _is_data(line, form, commas):
        columns = f"{form.width} columns" if form.width else "the columns"
        raise line_error(name, number, f"expected the names of {columns}, found {shown(line)}")
    if len(set(titles)) != len(titles):
        raise line_error(name, number, "two columns have the same name")
    return titles


def _is_data(line: bytes, form: Form, commas: bool) -> bool:
    """Tells whether a line that should hold titles is a row: it ends in a number, or begins with a row's key."""
    parts = [part.strip() for part in (line.split(b",") if commas else line.split())]
    return bool(parts) and bool(_NUMBER.fullmatch(parts[-1]) or (form.index and parts[0].isdigit()))


def _add(table: Table, number: int, commas: bool, width: int) -> None:
    line, form = table.lines[number], table.form
    parts = _fields(line) if commas else line.rsplit(None, width)
    key = parts[0].strip().decode() if parts else ""
    if len(parts) != width + 1 or not key or not _is_key(key, form, commas):
        raise line_error(table.name, number, f"expected {_row(form, width)}, found {shown(line)}")
    if key in table.line_of:
        raise line_error(table.name, number, f"{printable(key)!r} is in line {table.line_of[key] + 1} already")
    table.values[key] = _packed(table.name, number, parts[1:], form)
    table.line_of[key] = number


def _packed(name: str, number: int, values: list[bytes], form: Form) -> bytes:
    """Returns the values as they are kept. They are tested together: one by one takes three times as long."""
    if form.values == "sign":
        packed = b"".join(values).replace(b"-1", b"\0")
        if len(packed) == len(values) and not packed.strip(b"\x001"):
            return packed
    else:
        packed = b" ".join(values)
        if _PATTERNS[form.values].fullmatch(packed):
            return packed
    bad = next(value for value in values if not _PATTERNS[form.values].fullmatch(value))
    raise line_error(name, number, f"expected {form.row}, found the value {shown(bad)}")


def _fields(line: bytes) -> list[bytes]:
    """Splits a line at its commas; a line that is quoted wrongly has no fields."""
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
    return commas or len(key.split(None, 1)) == 1 or bare_name(key) != key


def _row(form: Form, width: int) -> str:
    return form.row if form.width else f"{form.row} ({width} of them)"


def _escaped(key: str) -> bytes:
    return key.replace('"', '""').encode()


def _line_of(data: bytes, offset: int) -> int:
    return len(data[:offset].splitlines()) - (not data[:offset].endswith((b"\n", b"\r"))) if offset else 0
