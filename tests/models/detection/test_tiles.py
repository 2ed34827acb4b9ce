from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mien.models.detection.tiles import spans


@given(st.integers(1, 20_000), st.integers(64, 2000), st.floats(0.05, 0.5))
def test_spans_cover_a_length_and_share_what_they_should(length: int, tile: int, share: float) -> None:
    overlap = tile * share
    found = spans(length, tile, overlap)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(0 < end - start <= tile for start, end in found)
    for (_, end), (start, _) in pairwise(found):
        assert end - start >= int(overlap) - 1
    assert len(found) == 1 or length > tile
