"""LFW's lists come back byte for byte, stay true to their counts, and say where they are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.datasets.layouts.lfw_lists import Shot, parse_attributes, parse_pairs, parse_people
from mien.errors import UsageError

PEOPLE = ["Anna_Ek", "Bo Li", "Cleo-Ma", "Dan_O'Neil", "Éva_N"]
SHOTS: dict[str, Shot] = {f"data/{who}/{who}_{i:04d}.jpg": (who, i) for who in PEOPLE for i in range(1, 4)}
ALL = {photo: photo for photo in SHOTS}
SOME = st.sets(st.sampled_from(list(SHOTS)), min_size=1).map(lambda photos: {photo: photo for photo in photos})
ENDS = st.sampled_from(["\n", "\r\n"])


@st.composite
def pairs(draw: st.DrawFn) -> bytes:
    folds, size, end = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(ENDS)
    number = st.integers(1, 3)
    head = f"{size}" if folds == 1 and draw(st.booleans()) else f"{folds}\t{size}"
    lines = [head]
    for _ in range(folds):
        lines += [f"{draw(st.sampled_from(PEOPLE))}\t{draw(number)}\t{draw(number)}" for _ in range(size)]
        two = st.permutations(PEOPLE)
        for _ in range(size):
            first, second, *_ = draw(two)
            lines.append(f"{first}\t{draw(number)}\t{second}\t{draw(number)}")
    return "".join(line + end for line in lines).encode()


@settings(deadline=None)
@given(pairs(), SOME)
def test_pairs_stay_true_to_their_first_line(data: bytes, outputs: dict[str, str]) -> None:
    listed = parse_pairs("pairs.txt", data, SHOTS)
    assert listed.filtered(ALL) == (data, "")
    rest, note = listed.filtered(outputs)
    if not rest:
        assert note
        return
    again = parse_pairs("pairs.txt", rest, SHOTS)
    there = {SHOTS[photo] for photo in outputs}
    assert all(there.issuperset(pair) for pair in again.pairs.values())
    assert set(rest.splitlines()[1:]) <= set(data.splitlines())
    assert again.filtered(outputs) == (rest, "")


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from(PEOPLE)), min_size=1, max_size=3), ENDS, SOME, st.booleans())
def test_people_are_counted_anew(groups: list[set[str]], end: str, outputs: dict[str, str], sets: bool) -> None:
    seen: set[str] = set()
    lines = [str(len(groups))] if sets else []
    for group in groups if sets else groups[:1]:
        fresh = sorted(group - seen)
        seen |= group
        lines += [str(len(fresh)), *(f"{who}\t3" for who in fresh)]
    data = "".join(line + end for line in lines).encode()
    listed = parse_people("people.txt", data, SHOTS, counted=True, sets=sets)
    assert listed.filtered(ALL)[0] == (data if seen & set(listed.numbers) else b"")
    rest, _ = listed.filtered(outputs)
    if rest:
        again = parse_people("people.txt", rest, SHOTS, counted=True, sets=sets)
        there = [SHOTS[photo][0] for photo in outputs]
        assert again.numbers == {who: there.count(who) for who in listed.numbers if who in there}


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.text("12 \t\n\rAB_#", max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (lambda: parse_people("l", data, SHOTS, counted=False), lambda: parse_pairs("l", data, SHOTS),
                  lambda: parse_people("l", data, SHOTS, counted=True, sets=True),
                  lambda: parse_attributes("l", data, SHOTS)):
        try:
            parse().filtered(ALL)
        except UsageError as error:
            assert error.message.startswith("l")


def test_scores_lose_the_rows_of_photos_that_are_gone() -> None:
    data = "#\tperson\timagenum\tMale\nAnna Ek\t1\t0.5\nAnna Ek\t2\t-1.5\nÉva N\t3\t0\n".encode()
    listed = parse_attributes("a.txt", data, SHOTS)
    assert listed.filtered(ALL) == (data, "")
    kept = {photo: photo for photo, shot in SHOTS.items() if shot != ("Anna_Ek", 1)}
    assert listed.filtered(kept) == (data.replace(b"Anna Ek\t1\t0.5\n", b""), "")
    assert listed.filtered({"data/Bo Li/Bo Li_0001.jpg": "x"}) == (b"", "")


@pytest.mark.parametrize("huge", ["9" * 30, "9" * 5000])
def test_numbers_without_measure_are_refused(huge: str) -> None:
    for text in (huge, f"1\n{huge}\n", f"{huge}\t{huge}\n"):
        with pytest.raises(UsageError):
            parse_pairs("l", text.encode(), SHOTS)
        with pytest.raises(UsageError):
            parse_people("l", text.encode(), SHOTS, counted=True, sets=True)
