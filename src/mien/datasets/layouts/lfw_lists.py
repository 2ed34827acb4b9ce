"""LFW's lists of people, pairs and attributes, written again for the photos that are there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mien.datasets.annotation_table import MOST_DIGITS, found, number_in, split_lines, with_number, wrong
from mien.errors import UsageError

Shot = tuple[str, int]  # person, number of the photo
PERSON = "a person's name and the number of photographs"
PAIR = "a name and two numbers, or a name and a number twice"


@dataclass
class PeopleList:
    """`lfw-names.txt`, `people.txt`, `peopleDevTrain.txt`, `peopleDevTest.txt`.

    Attributes:
        shots: photo -> which person's which photo it is. counts: (line, lines of the people it counts).
        people: line -> person. numbers: person -> how many photos the list promises.
    """

    name: str
    lines: list[bytes]
    start: bytes
    shots: Mapping[str, Shot]
    counts: list[tuple[int, list[int]]] = field(default_factory=list)
    people: dict[int, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def only(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        there = Counter(shot[0] for photo in outputs if (shot := self.shots.get(photo)))
        lines = list(self.lines)
        for place, person in self.people.items():
            lines[place] = with_number(lines[place], there[person], last=True) if there[person] else b""
        for place, members in self.counts:
            lines[place] = with_number(lines[place], sum(1 for one in members if lines[one]))
        kept = any(there[person] for person in self.people.values())
        return (self.start + b"".join(lines) if kept else b"", "")


def parse_people(name: str, data: bytes, shots: Mapping[str, Shot], counted: bool, sets: bool = False) -> PeopleList:
    """Read a list of people: as it stands, after a line with their count, or in sets that have such a line each.

    Raises:
        UsageError: it is none, naming file, line and what was expected.
    """
    start, lines = split_lines(name, data, PERSON)
    listed = PeopleList(name, lines, start, shots)
    filled = [place for place, line in enumerate(lines) if line.strip()]
    at, groups = 0, 1
    if sets:
        groups, at = number_in(name, filled[0], lines[filled[0]], "the number of sets"), 1
    for _ in range(groups if counted or sets else 0):
        if at >= len(filled):
            raise wrong(name, len(lines) - 1, "the file ends early")
        size = number_in(name, filled[at], lines[filled[at]], "the number of people")
        members = filled[at + 1 : at + 1 + size]
        if len(members) != size:
            raise wrong(name, filled[at], f"it promises {size} people, there are {len(members)}")
        listed.counts.append((filled[at], members))
        at += 1 + size
        for place in members:
            _add_person(listed, place)
    rest = filled[at:]
    if listed.counts and rest:
        raise wrong(name, rest[0], f"{len(rest)} more lines than the counts promise")
    for place in rest:
        _add_person(listed, place)
    return listed


def _add_person(listed: PeopleList, place: int) -> None:
    parts = _parts(listed.lines[place])
    if len(parts) != 2 or not _is_number(parts[1]):
        raise wrong(listed.name, place, f"expected {PERSON}, found {found(listed.lines[place])}")
    person = parts[0].decode()
    if person in listed.numbers:
        raise wrong(listed.name, place, f"{person!r} stands there already")
    listed.people[place], listed.numbers[person] = person, int(parts[1])


@dataclass
class PairsList:
    """`pairs.txt`, `pairsDevTrain.txt`, `pairsDevTest.txt`: folds of as many pairs of one person as of two.

    Attributes:
        folds: lines of the pairs of one person, and of two people. pairs: line -> the two photos.
    """

    name: str
    lines: list[bytes]
    start: bytes
    shots: Mapping[str, Shot]
    head: int
    folds: list[tuple[list[int], list[int]]]
    pairs: dict[int, tuple[Shot, Shot]]

    def only(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        there = {shot for photo in outputs if (shot := self.shots.get(photo))}
        whole = {place for place, pair in self.pairs.items() if there.issuperset(pair)}
        folds = [tuple([one for one in half if one in whole] for half in fold) for fold in self.folds]
        folds = [fold for fold in folds if all(fold)]
        # the first line gives one size for all halves of all folds
        size = min((len(half) for fold in folds for half in fold), default=0)
        kept = {one for fold in folds for half in fold for one in half[:size]}
        lines = [b"" if place in self.pairs and place not in kept else line for place, line in enumerate(self.lines)]
        numbers = iter([len(folds), size] if len(self.lines[self.head].split()) == 2 else [size])
        lines[self.head] = re.sub(rb"\d+", lambda _: str(next(numbers)).encode(), lines[self.head])
        note = ""
        if len(kept) < len(self.pairs):
            note = (f"{self.name}: {len(kept):,} of {len(self.pairs):,} pairs (without a photograph: "
                    f"{len(self.pairs) - len(whole):,}; left out so that all folds stay equally large: "
                    f"{len(whole) - len(kept):,})")
        return (self.start + b"".join(lines) if kept else b"", note)


def parse_pairs(name: str, data: bytes, shots: Mapping[str, Shot]) -> PairsList:
    """Read a list of pairs.

    Raises:
        UsageError: it is none, naming file, line and what was expected.
    """
    start, lines = split_lines(name, data, PAIR)
    filled = [place for place, line in enumerate(lines) if line.strip()]
    numbers = lines[filled[0]].split()
    if not 1 <= len(numbers) <= 2 or not all(map(_is_number, numbers)):
        raise wrong(name, filled[0], f"expected the number of folds and of pairs, found {found(lines[filled[0]])}")
    size, rest = int(numbers[-1]), filled[1:]
    folds = int(numbers[0]) if len(numbers) == 2 else 1
    if len(rest) != 2 * size * folds:
        raise wrong(name, filled[0], f"it promises {2 * size * folds} pairs, there are {len(rest)}")
    halves = [rest[at : at + size] for at in range(0, len(rest), size)] if size else []
    pairs = {}
    for number, half in enumerate(halves):
        for place in half:
            pairs[place] = _pair(name, place, lines[place], same=number % 2 == 0)
    return PairsList(name, lines, start, shots, filled[0], list(zip(halves[::2], halves[1::2], strict=True)), pairs)


def _pair(name: str, place: int, line: bytes, same: bool) -> tuple[Shot, Shot]:
    parts = _parts(line)
    numbers = parts[1:] if same else parts[1::2]
    if len(parts) != (3 if same else 4) or not all(map(_is_number, numbers)):
        expected = "one person's name and two numbers" if same else "two people's names, each with a number"
        raise wrong(name, place, f"expected {expected}, found {found(line)}")
    first, second = (int(number) for number in numbers)
    other = parts[0] if same else parts[2]
    return (parts[0].decode(), first), (other.decode(), second)


@dataclass
class AttributeList:
    """`lfw_attributes.txt`: scores of 73 attributes, a row a photo. rows: line -> photo."""

    name: str
    lines: list[bytes]
    start: bytes
    shots: Mapping[str, Shot]
    rows: dict[int, Shot]

    def only(self, outputs: Mapping[str, str]) -> tuple[bytes, str]:
        there = {shot for photo in outputs if (shot := self.shots.get(photo))}
        lines = [b"" if place in self.rows and self.rows[place] not in there else line
                 for place, line in enumerate(self.lines)]
        return (self.start + b"".join(lines) if there & set(self.rows.values()) else b"", "")


def parse_attributes(name: str, data: bytes, shots: Mapping[str, Shot]) -> AttributeList:
    """Read the scores of attributes.

    Raises:
        UsageError: it is no such file, naming file, line and what was expected.
    """
    start, lines = split_lines(name, data, "a person, a number and scores, with tabs between them")
    rows: dict[int, Shot] = {}
    width = 0
    for place, line in enumerate(lines):
        if line.startswith(b"#") or not line.strip():
            continue
        parts = line.rstrip(b"\r\n").split(b"\t")
        width = width or len(parts)
        if len(parts) < 3 or len(parts) != width or not _is_number(parts[1].strip()):
            raise wrong(name, place, f"expected a person, a number and {max(width - 2, 1)} scores, found {found(line)}")
        rows[place] = (parts[0].strip().decode().replace(" ", "_"), int(parts[1]))
    if not rows:
        raise UsageError(f"{name} has no rows: expected a person, a number and scores")
    return AttributeList(name, lines, start, shots, rows)


def _parts(line: bytes) -> list[bytes]:
    """Names may hold spaces where tabs stand between the columns."""
    return [part.strip() for part in line.strip().split(b"\t")] if b"\t" in line.strip() else line.split()


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= MOST_DIGITS
