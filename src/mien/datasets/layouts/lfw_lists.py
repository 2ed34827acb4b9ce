"""Parses LFW's lists of people, pairs and attributes, and writes them again for the photos that are kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mien.datasets.annotation_table import MOST_DIGITS, line_error, parse_number, replace_number, shown, split_lines
from mien.errors import UsageError

Shot = tuple[str, int]  # person, number of the photo
PERSON = "a person's name and the number of photographs"
PAIR = "a name and two numbers, or a name and a number twice"


@dataclass
class PeopleList:
    """A list of people: `lfw-names.txt`, `people.txt`, `peopleDevTrain.txt` or `peopleDevTest.txt`.

    Attributes:
        shots: photo -> its person and its number.
        counts: for each line with a count, its index and those of the people it counts.
        people: index of a line -> person.
        numbers: person -> how many photos the list promises.
    """

    name: str
    lines: list[bytes]
    bom: bytes
    shots: Mapping[str, Shot]
    counts: list[tuple[int, list[int]]] = field(default_factory=list)
    people: dict[int, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def filtered(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        there = Counter(shot[0] for photo in outputs if (shot := self.shots.get(photo)))
        lines = list(self.lines)
        for number, person in self.people.items():
            lines[number] = replace_number(lines[number], there[person], last=True) if there[person] else b""
        for number, members in self.counts:
            lines[number] = replace_number(lines[number], sum(1 for one in members if lines[one]))
        kept = any(there[person] for person in self.people.values())
        return (self.bom + b"".join(lines) if kept else b"", "")


def parse_people(name: str, data: bytes, shots: Mapping[str, Shot], counted: bool, sets: bool = False) -> PeopleList:
    """Parses a list of people.

    Args:
        counted: whether a line with their count precedes them.
        sets: whether there are several sets of them, each with such a line, after a line with the number of sets.

    Raises:
        UsageError: it is no such list; the message names file, line and what was expected.
    """
    bom, lines = split_lines(name, data, PERSON)
    people = PeopleList(name, lines, bom, shots)
    filled = [number for number, line in enumerate(lines) if line.strip()]
    at, groups = 0, 1
    if sets:
        groups, at = parse_number(name, filled[0], lines[filled[0]], "the number of sets"), 1
    for _ in range(groups if counted or sets else 0):
        if at >= len(filled):
            raise line_error(name, len(lines) - 1, "the file ends early")
        size = parse_number(name, filled[at], lines[filled[at]], "the number of people")
        members = filled[at + 1 : at + 1 + size]
        if len(members) != size:
            raise line_error(name, filled[at], f"it promises {size} people, there are {len(members)}")
        people.counts.append((filled[at], members))
        at += 1 + size
        for number in members:
            _add_person(people, number)
    rest = filled[at:]
    if people.counts and rest:
        raise line_error(name, rest[0], f"{len(rest)} more lines than the counts promise")
    for number in rest:
        _add_person(people, number)
    return people


def _add_person(people: PeopleList, number: int) -> None:
    parts = _parts(people.lines[number])
    if len(parts) != 2 or not _is_number(parts[1]):
        raise line_error(people.name, number, f"expected {PERSON}, found {shown(people.lines[number])}")
    person = parts[0].decode()
    if person in people.numbers:
        raise line_error(people.name, number, f"{person!r} is in the list already")
    people.people[number], people.numbers[person] = person, int(parts[1])


@dataclass
class PairsList:
    """A list of pairs: `pairs.txt`, `pairsDevTrain.txt` or `pairsDevTest.txt`.

    Each fold has as many pairs of photos of one person as of two people.

    Attributes:
        shots: photo -> its person and its number.
        head: index of the line with the number of folds and pairs.
        folds: for each fold the indices of the lines with pairs of one person, and with pairs of two people.
        pairs: index of a line -> the two photos.
    """

    name: str
    lines: list[bytes]
    bom: bytes
    shots: Mapping[str, Shot]
    head: int
    folds: list[tuple[list[int], list[int]]]
    pairs: dict[int, tuple[Shot, Shot]]

    def filtered(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        there = {shot for photo in outputs if (shot := self.shots.get(photo))}
        whole = {number for number, pair in self.pairs.items() if there.issuperset(pair)}
        folds = [tuple([one for one in half if one in whole] for half in fold) for fold in self.folds]
        folds = [fold for fold in folds if all(fold)]
        # the first line gives one size for all halves of all folds
        size = min((len(half) for fold in folds for half in fold), default=0)
        kept = {one for fold in folds for half in fold for one in half[:size]}
        lines = [b"" if number in self.pairs and number not in kept else line for number, line in enumerate(self.lines)]
        numbers = iter([len(folds), size] if len(self.lines[self.head].split()) == 2 else [size])
        lines[self.head] = re.sub(rb"\d+", lambda _: str(next(numbers)).encode(), lines[self.head])
        note = ""
        if len(kept) < len(self.pairs):
            note = (f"{self.name}: {len(kept):,} of {len(self.pairs):,} pairs (without a photograph: "
                    f"{len(self.pairs) - len(whole):,}; left out so that all folds stay equally large: "
                    f"{len(whole) - len(kept):,})")
        return (self.bom + b"".join(lines) if kept else b"", note)


def parse_pairs(name: str, data: bytes, shots: Mapping[str, Shot]) -> PairsList:
    """Parses a list of pairs.

    Raises:
        UsageError: it is no such list; the message names file, line and what was expected.
    """
    bom, lines = split_lines(name, data, PAIR)
    filled = [number for number, line in enumerate(lines) if line.strip()]
    numbers = lines[filled[0]].split()
    if not 1 <= len(numbers) <= 2 or not all(map(_is_number, numbers)):
        raise line_error(name, filled[0], f"expected the number of folds and of pairs, found {shown(lines[filled[0]])}")
    size, rest = int(numbers[-1]), filled[1:]
    folds = int(numbers[0]) if len(numbers) == 2 else 1
    if len(rest) != 2 * size * folds:
        raise line_error(name, filled[0], f"it promises {2 * size * folds} pairs, there are {len(rest)}")
    halves = [rest[at : at + size] for at in range(0, len(rest), size)] if size else []
    pairs = {}
    for i, half in enumerate(halves):  # those of one person and of two people in turn
        for number in half:
            pairs[number] = _pair(name, number, lines[number], same=i % 2 == 0)
    return PairsList(name, lines, bom, shots, filled[0], list(zip(halves[::2], halves[1::2], strict=True)), pairs)


def _pair(name: str, number: int, line: bytes, same: bool) -> tuple[Shot, Shot]:
    parts = _parts(line)
    numbers = parts[1:] if same else parts[1::2]
    if len(parts) != (3 if same else 4) or not all(map(_is_number, numbers)):
        expected = "one person's name and two numbers" if same else "two people's names, each with a number"
        raise line_error(name, number, f"expected {expected}, found {shown(line)}")
    first, second = (int(number) for number in numbers)
    other = parts[0] if same else parts[2]
    return (parts[0].decode(), first), (other.decode(), second)


@dataclass
class AttributeList:
    """The scores of 73 attributes, one row for each photo: `lfw_attributes.txt`.

    Attributes:
        shots: photo -> its person and its number.
        rows: index of a line -> photo.
    """

    name: str
    lines: list[bytes]
    bom: bytes
    shots: Mapping[str, Shot]
    rows: dict[int, Shot]

    def filtered(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        there = {shot for photo in outputs if (shot := self.shots.get(photo))}
        lines = [b"" if number in self.rows and self.rows[number] not in there else line
                 for number, line in enumerate(self.lines)]
        return (self.bom + b"".join(lines) if there & set(self.rows.values()) else b"", "")


def parse_attributes(name: str, data: bytes, shots: Mapping[str, Shot]) -> AttributeList:
    """Parses the scores of attributes.

    Raises:
        UsageError: it is no such file; the message names file, line and what was expected.
    """
    bom, lines = split_lines(name, data, "a person, a number and scores, with tabs between them")
    rows: dict[int, Shot] = {}
    width = 0
    for number, line in enumerate(lines):
        if line.startswith(b"#") or not line.strip():
            continue
        parts = line.rstrip(b"\r\n").split(b"\t")
        width = width or len(parts)
        if len(parts) < 3 or len(parts) != width or not _is_number(parts[1].strip()):
            raise line_error(name, number, f"expected a person, a number and {max(width - 2, 1)} scores, "
                             f"found {shown(line)}")
        rows[number] = (parts[0].strip().decode().replace(" ", "_"), int(parts[1]))
    if not rows:
        raise UsageError(f"{name} has no rows: expected a person, a number and scores")
    return AttributeList(name, lines, bom, shots, rows)


def _parts(line: bytes) -> list[bytes]:
    """Splits a line into columns: at its tabs if it has any, as names may hold spaces then, else at spaces."""
    return [part.strip() for part in line.strip().split(b"\t")] if b"\t" in line.strip() else line.split()


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= MOST_DIGITS
