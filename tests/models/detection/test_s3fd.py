"""S3FD's boxes, on made-up outputs."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mien.models.detection.s3fd import LEVELS, OVERLAP, S3FD, suppress


class Scripted(S3FD):
    """One confident place on one level."""

    def __init__(self, level: int, y: int, x: int, offsets: list[float]) -> None:
        super().__init__()
        self.place = level, y, x, offsets

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        levels = []
        for i in range(len(LEVELS)):
            side = 256 // (4 * 2**i)
            scores, deltas = torch.zeros(1, 2, side, side), torch.zeros(1, 4, side, side)
            scores[:, 0] = 20
            if i == self.place[0]:
                _, y, x, offsets = self.place
                scores[0, 1, y, x] = 25
                deltas[0, :, y, x] = torch.tensor(offsets)
            levels.append((scores, deltas))
        return levels


def test_a_place_becomes_a_box() -> None:
    # level 2: stride 16, prior of 64 px centered on 16 * 5 + 8 = 88, 16 * 3 + 8 = 56
    box, = Scripted(2, 3, 5, [1.0, -0.5, 0.0, 5 * torch.log(torch.tensor(1.5)).item()]).detect(torch.zeros(1, 3, 1, 1))
    x, y, width, height = 88 + 6.4, 56 - 3.2, 64, 96
    expected = torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    assert (box[:4] - expected).abs().max() < 1e-3
    assert box[4] > 0.99


boxes = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40),
                           st.integers(0, 1000)), max_size=12)


@given(boxes)
def test_no_two_kept_boxes_overlap_and_every_other_one_has_a_better(found: list[tuple[int, ...]]) -> None:
    rows = torch.tensor([[x, y, x + w, y + h, s / 1000] for x, y, w, h, s in found]).reshape(-1, 5)
    kept = suppress(rows)
    assert kept[:, 4].tolist() == sorted(kept[:, 4].tolist(), reverse=True)

    def overlap(a: Tensor, b: Tensor) -> Tensor:  # not a Python number: the limit is one of float32 too
        low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:4], b[2:4])
        shared = (high - low + 1).clamp(min=0).prod()
        area = [(r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (a, b)]
        return shared / (area[0] + area[1] - shared)

    for i in range(len(kept)):
        assert all(overlap(kept[i], kept[j]) <= OVERLAP for j in range(i))
    for row in rows:
        assert any(torch.equal(row, one) or (one[4] >= row[4] and overlap(row, one) > OVERLAP) for one in kept)
